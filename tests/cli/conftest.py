"""The command in an environment of the test's own, and authorities to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cycles import tokens, usd
from cycles.local import LocalAuthority
from cycles.local.registry import forget_shared
from cycles.local.server import serve

from .runner import KEY, Cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    """CI may ask for colours everywhere."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def authority(path) -> Iterator[LocalAuthority]:
    """A ledger file with a tenant's budgets."""
    with LocalAuthority(path) as made:
        made.budget("tenant:acme", usd("25"))
        made.budget("tenant:acme", tokens(1_000_000))
        made.budget("tenant:acme/agent:planner", usd("5"))
        made.add_key(KEY, tenant="acme")
        yield made


@pytest.fixture
def served(authority, tmp_path) -> Iterator[Cli]:
    """The command, and the authority over HTTP."""
    with serve(authority) as url:
        yield Cli(_environ(url, tmp_path))


@pytest.fixture(params=["http", "file"])
def cli(request, authority, path, tmp_path) -> Iterator[Cli]:
    """The command, and the authority over HTTP or in the file."""
    if request.param == "http":
        with serve(authority) as url:
            yield Cli(_environ(url, tmp_path))
    else:
        yield Cli(_environ(f"local:{path}", tmp_path))
        forget_shared()


@pytest.fixture
def bare(tmp_path) -> Iterator[Cli]:
    """The command, and no settings but where the journal is."""
    yield Cli({"CYCLES_JOURNAL_DIR": str(tmp_path / "journal"), "CYCLES_RETRY_FLUSH_TIMEOUT": "0"})
    forget_shared()


def _environ(url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "CYCLES_BASE_URL": url,
        "CYCLES_API_KEY": KEY,
        "CYCLES_TENANT": "acme",
        "CYCLES_JOURNAL_DIR": str(tmp_path / "journal"),
        "CYCLES_RETRY_INITIAL_DELAY": "0.01",
        "CYCLES_RETRY_FLUSH_TIMEOUT": "0",
    }


@pytest.fixture
def held(authority) -> Callable[..., str]:
    """Make a reservation that nobody ends, and return its id."""

    def made(agent: str = "planner", amount: str = "0.05", tenant: str = "acme") -> str:
        with authority.client(tenant=tenant) as client:
            return (
                client.api.get_httpx_client()
                .post(  # by hand: a Reservation that is dropped is given back
                    "/v1/reservations",
                    headers={"X-Cycles-API-Key": client.config.api_key or ""},
                    json={
                        "idempotency_key": f"{agent}-{amount}",
                        "subject": {"tenant": tenant, "agent": agent},
                        "action": {"kind": "llm.completion", "name": "gpt-4o"},
                        "estimate": usd(amount).to_dict(),
                        "metadata": {"job": 7},
                    },
                )
                .json()["reservation_id"]
            )

    return made
