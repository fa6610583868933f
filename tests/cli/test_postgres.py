"""The command on a ledger in PostgreSQL: named by a variable, and its password in no output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import httpx
import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from tests.support.postgres import PASSWORD, empty_ledger, reason_to_skip
from tests.support.processes import ROOT

pytestmark = pytest.mark.skipif(reason_to_skip() is not None, reason=str(reason_to_skip()))


@pytest.fixture
def url():
    with empty_ledger() as made:
        yield made


def ran(*line: str, status: int = 0, **environ: str) -> str:
    """Run the command in a process of its own, and return all that it wrote; the password is not in it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CYCLES_")}
    done = subprocess.run(
        [sys.executable, "-m", "cycles.cli", *line],
        env=kept | environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    assert PASSWORD not in said
    assert "a%20pass" not in said
    return said


@pytest.mark.slow
def test_a_ledger_that_a_variable_names(url):
    assert "CYCLES_BASE_URL='local:postgresql://cycles@/" in ran(
        "local", "init", "--tokens", "100", CYCLES_LOCAL_DB=url
    )
    assert "tenant:default" in ran("local", "budget", "list", CYCLES_LOCAL_DB=url)
    assert "tenant:default" in ran("local", "budget", "list", CYCLES_BASE_URL=f"local:{url}")
    assert "all is well" in ran("local", "check", CYCLES_LOCAL_DB=url)
    assert "on the command line" in ran("local", "check", "--db", url)
    assert "pg_dump" in ran("local", "backup", "copy.db", status=2, CYCLES_LOCAL_DB=url)
    assert "postgresql://cycles@" in ran("doctor", CYCLES_BASE_URL=f"local:{url}")


@pytest.mark.slow
def test_it_serves_and_ends_in_order(url):
    with LocalAuthority(url) as authority:
        authority.budget("tenant:acme", tokens(10))
    environ = {**os.environ, "CYCLES_LOCAL_DB": url}
    line = [
        sys.executable,
        "-m",
        "cycles.cli",
        "serve",
        "--port",
        "0",
        "--json",
        "--tenant",
        "acme",
        "--log-level",
        "info",
    ]
    with subprocess.Popen(
        line, env=environ, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as served:
        assert served.stdout is not None
        ready = json.loads(served.stdout.readline())
        health = httpx.get(f"{ready['base_url']}/actuator/health")
        assert (health.status_code, health.json()["status"]) == (200, "UP")
        served.send_signal(signal.SIGTERM)
        _, log = served.communicate()
    assert served.returncode == 0, log
    assert "postgresql://cycles@" in log
    assert PASSWORD not in log
    assert "a%20pass" not in log


@pytest.mark.slow
def test_a_check_of_a_ledger_with_something_wrong_ends_with_1(url):
    import psycopg  # noqa: PLC0415

    with LocalAuthority(url) as authority:
        authority.budget("tenant:acme", tokens(10))
    with psycopg.connect(url) as beside:
        beside.execute("UPDATE cycles_budgets SET reserved = 7, remaining = 3")
    assert "has 7 tokens reserved" in ran("local", "check", status=1, CYCLES_LOCAL_DB=url)
