"""`cycles serve`, in a process of its own where signals matter, else through click's runner."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from click.testing import CliRunner

from cycles import tokens
from cycles.cli.root import cycles as command
from cycles.local import LocalAuthority
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

module = importlib.import_module("cycles.cli.serve")

ASK = {"subject": {"tenant": "acme"}, "action": {"kind": "k", "name": "n"}}


@contextmanager
def serving(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    line = [sys.executable, "-W", "error", "-m", "cycles.cli", "serve", "--port", "0", *arguments]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def ready(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.communicate()
    found: dict[str, str] = json.loads(line)
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="terminate is not a signal there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_until_a_signal(tmp_path, number):
    path = str(tmp_path / "ledger.db")
    with serving("--json", "--db", path, "--budget", "tenant:acme=tokens:100", "--budget", "tenant:b=usd:1") as process:
        said = ready(process)
        assert sorted(said) == ["api_key", "base_url", "page", "tenant"]
        page, _, token = said["page"].partition("#once=")
        assert page == f"{said['base_url']}/"
        assert said["api_key"] not in said["page"]
        exchanged = [
            httpx.post(f"{page}key.json", headers={"X-Cycles-Link": token}, timeout=PATIENCE) for _ in range(2)
        ]
        assert [answer.status_code for answer in exchanged] == [200, 401], "a link is good once"
        headers = {"X-Cycles-API-Key": exchanged[0].json()["api_key"]}
        assert httpx.get(f"{page}status.json", headers=headers, timeout=PATIENCE).json()["tenant"] == "acme"
        assert said["tenant"] == "acme"
        with httpx.Client(base_url=said["base_url"], headers={"X-Cycles-API-Key": said["api_key"]}) as http:
            amount = {"unit": "TOKENS", "amount": 30}
            held = http.post("/v1/reservations", json={**ASK, "idempotency_key": "1", "estimate": amount}).json()
            commit = f"/v1/reservations/{held['reservation_id']}/commit"
            assert http.post(commit, json={"idempotency_key": "1", "actual": amount}).is_success
            process.send_signal(number)
            assert process.wait(timeout=PATIENCE) == 0
        assert process.communicate() == ("", "")
    with LocalAuthority(path) as authority:
        assert authority.balance("tenant:acme", "TOKENS").spent == 30


@pytest.mark.slow
def test_serve_takes_keys_from_elsewhere_and_can_be_lenient(tmp_path, monkeypatch):
    monkeypatch.setenv("CYCLES_ADMIN_KEY", "the-administrator")
    (tmp_path / "key").write_text("my-own-key\n")
    arguments = ["--json", "--budget", "tenant:acme=tokens:100", "--api-key-file", str(tmp_path / "key")]
    with serving(*arguments, "--lenient-permissions") as process:
        said = ready(process)
        assert said["api_key"] == "my-own-key"
        fund = f"{said['base_url']}/v1/admin/budgets/fund?scope=tenant:acme&unit=TOKENS"
        body = {"operation": "CREDIT", "amount": {"unit": "TOKENS", "amount": 1}, "idempotency_key": "k"}
        lenient = httpx.post(fund, headers={"X-Cycles-API-Key": "my-own-key"}, json=body, timeout=PATIENCE)
        assert lenient.json()["new_allocated"]["amount"] == 101
        tenants = f"{said['base_url']}/v1/admin/tenants"
        assert httpx.get(tenants, headers={"X-Admin-API-Key": "the-administrator"}, timeout=PATIENCE).status_code == 200


@pytest.mark.slow
def test_serve_again_keeps_what_was_funded(tmp_path):
    arguments = ["--db", str(tmp_path / "l.db"), "--budget", "tenant:acme=tokens:100", "--api-key", "my-own-key"]
    for _ in range(2):
        with serving(*arguments) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            match = re.fullmatch(
                r"CYCLES_BASE_URL=(http://127\.0\.0\.1:\d+) CYCLES_API_KEY=my-own-key CYCLES_TENANT=acme\n", line
            )
            assert match, (line, process.communicate())
            assert process.stderr is not None
            assert f"{match[1]}/#once=" in process.stderr.readline(), "stdout is for eval"
            with LocalAuthority(tmp_path / "l.db") as authority:
                authority.fund("tenant:acme", "CREDIT", tokens(50))
            answer = httpx.get(
                f"{match[1]}/v1/balances?tenant=acme", headers={"X-Cycles-API-Key": "my-own-key"}, timeout=PATIENCE
            )
    assert answer.json()["balances"][0]["allocated"]["amount"] == 200


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Start `cycles serve` on a ledger file, without a server; return what the ready line says, and stderr."""
    lines = []
    monkeypatch.setattr(module, "run", lambda server, listener, line: lines.append(line))

    def start(*arguments):
        done = CliRunner().invoke(command, ["serve", "--port", "0", "--db", str(tmp_path / "l.db"), *arguments])
        assert done.exit_code == 0, done.output
        found = dict(part.split("=", 1) for part in lines.pop().split())
        return found["CYCLES_API_KEY"], done.stderr

    return start


def test_serve_makes_a_key_file_once_and_has_its_key_again(started, tmp_path):
    file = tmp_path / "serve.key"
    first, told = started("--api-key-file", str(file))
    assert file.read_text() == f"{first}\n"
    assert "new key" not in told
    if os.name == "posix":
        assert file.stat().st_mode & 0o777 == 0o600
    assert started("--api-key-file", str(file))[0] == first
    assert sorted(path.name for path in tmp_path.iterdir() if "key" in path.name) == ["serve.key"]
    with LocalAuthority(tmp_path / "l.db") as authority:
        assert len(authority.keys("default")) == 1


def test_serve_takes_the_environments_key_if_the_ledger_knows_it(started, tmp_path, monkeypatch):
    with LocalAuthority(tmp_path / "l.db") as authority:
        mine, other, gone = (authority.key(tenant=tenant) for tenant in ("default", "other", "default"))
        authority.revoke(gone)
    monkeypatch.setenv("CYCLES_API_KEY", mine)
    assert started()[0] == mine
    assert started("--tenant", "other")[0] != mine
    for unusable in (other, gone, "of-a-server-elsewhere"):
        monkeypatch.setenv("CYCLES_API_KEY", unusable)
        key, told = started()
        assert key not in (mine, other, gone, unusable)
        assert "with --api-key-file FILE each start has the same one" in told


def test_a_key_file_that_cant_be_made(tmp_path):
    missing = tmp_path / "nowhere" / "key"
    done = CliRunner().invoke(command, ["serve", "--port", "0", "--api-key-file", str(missing)])
    assert done.exit_code == 2
    assert "--api-key-file" in done.output
    assert "No such file or directory" in done.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "beyond-loopback"),
        (["--budget", "tenant:acme"], "write it like tenant:acme=usd:1.00"),
        (["--budget", "tenant:acme=1"], "write it like tenant:acme=usd:1.00"),
        (["--budget", "tenant:acme=usd:1/year"], "choose one of hour, day, week, month"),
        (["--budget", "tenant:acme=usd:1/day/Mars"], "write it like 1/day/Europe/Berlin"),
        (["--budget", "tenant:acme=usd:1/day/"], "write it like 1/day/Europe/Berlin"),
        (["--budget", "tenant:acme=euro:1"], "usd, tokens, credits, risk_points"),
        (["--budget", "agent:acme=usd:1"], "write a path such as"),
        (["--db", "/no/such/folder/l.db"], "no folder"),
    ],
)
def test_serve_explains_what_is_wrong(arguments, says):
    result = CliRunner().invoke(command, ["serve", "--port", "0", *arguments])
    assert result.exit_code == 2
    assert says in result.output
    assert "Traceback" not in result.output


def test_a_start_that_fails_leaves_nothing_behind(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(command, ["serve", "--db", str(tmp_path / "l.db"), "--port", port])
    assert result.exit_code == 2
    assert f"port {port}" in result.output
    assert list(tmp_path.iterdir()) == []


# -- the log -----------------------------------------------------------------------------------------------------------
def _logged(tmp_path, *arguments: str) -> list[str]:
    """Serve, ask once with a query and once without a key, and return the log."""
    path = str(tmp_path / "ledger.db")
    with serving(
        "--json", "--db", path, "--budget", "tenant:acme=tokens:100", "--log-level", "info", *arguments
    ) as process:
        said = ready(process)
        with httpx.Client(base_url=said["base_url"], timeout=PATIENCE) as http:
            http.get("/v1/balances?tenant=acme&secret=hidden", headers={"X-Cycles-API-Key": said["api_key"]})
            http.get("/v1/balances")
            Path(path).unlink()
            http.get("/v1/balances?tenant=acme", headers={"X-Cycles-API-Key": said["api_key"]})
        process.kill()
        log = process.communicate()[1]
    assert said["api_key"] not in log
    assert "hidden" not in log
    return log.splitlines()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be deleted there")
def test_the_log_in_words(tmp_path):
    started, allowed, refused, failed = _logged(tmp_path)
    assert re.search(rf" INFO serving {tmp_path}/ledger\.db at http://127\.0\.0\.1:\d+$", started)
    assert re.search(r" INFO GET /v1/balances 200 [0-9.]+ ms tenant=acme request_id=[0-9a-f-]{36}$", allowed)
    assert re.search(r" INFO GET /v1/balances 401 [0-9.]+ ms tenant=None request_id=", refused)
    assert re.search(r" ERROR GET /v1/balances 500 .*request_id=[0-9a-f-]{36}: the ledger .* was deleted", failed)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="an open file can't be deleted there")
def test_the_log_for_programs(tmp_path):
    started, allowed, _, failed = map(json.loads, _logged(tmp_path, "--log-format", "json"))
    assert (started["level"], started["ledger"]) == ("info", f"{tmp_path}/ledger.db")
    assert {name: allowed[name] for name in ("method", "path", "status", "tenant")} == {
        "method": "GET",
        "path": "/v1/balances",
        "status": 200,
        "tenant": "acme",
    }
    assert allowed["ms"] >= 0
    assert (failed["level"], failed["status"], len(failed["request_id"])) == ("error", 500, 36)
    assert "was deleted" in failed["reason"]


@pytest.mark.slow
def test_an_administrators_key_that_ps_shows(tmp_path, monkeypatch):
    monkeypatch.delenv("CYCLES_ADMIN_KEY", raising=False)
    (tmp_path / "admin").write_text("the-administrator\n")
    with serving("--json", "--admin-key-file", str(tmp_path / "admin")) as process:
        said = ready(process)
        headers = {"X-Admin-API-Key": "the-administrator"}
        assert httpx.get(f"{said['base_url']}/v1/admin/tenants", headers=headers, timeout=PATIENCE).status_code == 200
        process.terminate()
        assert process.communicate()[1] == ""
    with serving("--json", "--admin-key", "the-administrator") as process:
        ready(process)
        process.terminate()
        log = process.communicate()[1]
    assert "CYCLES_ADMIN_KEY or --admin-key-file" in log
    assert "the-administrator" not in log


def test_one_administrators_key():
    result = CliRunner().invoke(command, ["serve", "--admin-key", "a", "--admin-key-file", "b"])
    assert (result.exit_code, "not both" in result.output) == (2, True)
