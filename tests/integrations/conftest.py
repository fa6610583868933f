"""The world of the adapters' tests. Their files begin with `pytest.importorskip`; `nox -s integrations` has all."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.integrations.world")

import cycles  # noqa: E402 - after the line above
from cycles import usd  # noqa: E402
from cycles.client import DEFAULTS  # noqa: E402
from tests.integrations.world import World  # noqa: E402
from tests.metering.provider import Provider  # noqa: E402
from tests.support.authorities import SCOPE  # noqa: E402
from tests.support.waiting import PATIENCE  # noqa: E402


@pytest.fixture
def provider():
    with Provider() as provider:
        yield provider


@pytest.fixture
def world(provider, server, journal_dir):
    """A provider that bills, and an authority over HTTP that the default clients ask: ten dollars for tenant acme."""
    server.authority.budget(SCOPE, usd("10.00"))
    patient = cycles.Config.from_env({**_environ(server), "CYCLES_JOURNAL_DIR": str(journal_dir)})
    with DEFAULTS.set_aside():
        cycles.configure(patient)
        yield World(provider, server, patient)
        cycles.close()


def _environ(server) -> dict[str, str]:
    """The settings of a client of *server* that waits as long as a busy machine needs."""
    return {
        "CYCLES_BASE_URL": server.url,
        "CYCLES_API_KEY": server.authority.key(tenant="acme"),
        "CYCLES_TENANT": "acme",
        "CYCLES_READ_TIMEOUT": str(PATIENCE),
        "CYCLES_RETRY_INITIAL_DELAY": "0.02",
        "CYCLES_SETTLE_WAIT": str(PATIENCE),
    }
