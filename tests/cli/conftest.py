"""The command through click's runner, in an environment of the test's own, and authorities to ask."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from cycles import tokens, usd
from cycles.cli.root import cycles as command
from cycles.local import LocalAuthority
from cycles.local.registry import forget_shared
from cycles.local.wire.server import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "cyc_live_a-key-of-the-tests-for-acme-only"


class Cli:
    """Runs the command; `environ` is all of CYCLES_* that it sees."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ

    def __call__(self, *arguments: str, code: int = 0, stdin: str | None = None, **changed: str | None) -> Result:
        environ = self.environ | {f"CYCLES_{name.upper()}": value for name, value in changed.items()}
        hidden = {name: None for name in os.environ if name.startswith("CYCLES_")}
        result = CliRunner().invoke(command, arguments, env={**hidden, **environ}, input=stdin)
        assert result.exit_code == code, (result.exit_code, result.output, result.exception)
        assert "Traceback" not in result.output
        assert KEY not in result.output, "a key in the output"
        return result

    def json(self, *arguments: str, code: int = 0, **changed: str | None) -> Any:
        return json.loads(self(*arguments, "--json", code=code, **changed).stdout)


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
