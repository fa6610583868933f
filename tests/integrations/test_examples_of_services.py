"""The examples of services and notebooks, as a user starts them: processes of their own, on the local provider."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from tests.docs.pages import ROOT
from tests.metering.bill import TARIFFS, Tariff
from tests.metering.provider import Turn
from tests.support.waiting import PATIENCE, until

EXAMPLES = ROOT / "examples"


@pytest.fixture
def environ(provider, tmp_path, monkeypatch):
    """A shell with the local provider as OpenAI, at its prices for gpt-4o, and a ledger file of a hundred dollars."""
    monkeypatch.setitem(TARIFFS, "gpt-4o", Tariff("2.50", "1.25", "2.50", "10.00"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CYCLES_", "OPENAI_"))}
    return {
        **kept,
        "OPENAI_BASE_URL": f"{provider.url}/v1",
        "OPENAI_API_KEY": "sk-none",
        "CYCLES_BASE_URL": f"local:{tmp_path / 'ledger.db'}?usd=100",
        "CYCLES_JOURNAL_DIR": str(tmp_path / "journal"),
        "JOBS": str(tmp_path / "jobs"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'generated'}",
    }


def run(environ, *command):
    done = subprocess.run(
        [sys.executable, *command], env=environ, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@contextmanager
def started(environ, log, *command):
    """A process that serves until the block ends; its log is shown."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command], env=environ, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()
            sys.stdout.write(log.read_text("utf-8"))


def spent(tmp_path, scope="tenant:default"):
    from cycles.local import LocalAuthority  # noqa: PLC0415 - the others need the file closed

    with LocalAuthority(tmp_path / "ledger.db") as authority:
        row = authority.balance(scope, "USD_MICROCENTS")
        assert row.reserved == 0
        return row.spent


def test_pydantic_ai_agent(provider, environ, tmp_path):
    pytest.importorskip("pydantic_ai")
    provider.plan(Turn(calls=(("search", {"query": "Vienna"}),)), Turn(calls=()))
    lines = run(environ, str(EXAMPLES / "pydantic_ai_agent.py"), "Why?")
    assert lines[0].startswith("w00 w01")
    assert lines[1].startswith("3 requests and tool calls for $0.00")
    provider.over()
    assert spent(tmp_path) == provider.microcents + 500_000


def test_a_runaway_of_the_pydantic_ai_agent(provider, environ, tmp_path):
    pytest.importorskip("pydantic_ai")
    provider.usual = Turn(calls=(("search", {"query": "Vienna"}),))
    lines = run(environ, str(EXAMPLES / "pydantic_ai_agent.py"))
    assert lines[0].startswith("stopped: limit agent.run/answers: an estimate of $0.0")
    provider.over()
    assert provider.microcents < spent(tmp_path) <= 10_000_000


def test_fastapi_budget_per_customer(provider, environ, tmp_path):
    """Two processes share one ledger file: together they never give a customer more than the twenty cents."""
    pytest.importorskip("fastapi")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = EXAMPLES / "fastapi_budget_per_customer"
    made = ("--db", str(tmp_path / "ledger.db"), "--budget", "tenant:default/workspace:*=usd:0.20/day")
    run(environ, "-m", "cycles.cli", "local", "init", *made)
    environ = {**environ, "CYCLES_BASE_URL": f"local:{tmp_path / 'ledger.db'}"}
    serve = ("-m", "uvicorn", "--app-dir", str(folder), "--workers", "2", "--port", str(port), "app:app")
    with started(environ, tmp_path / "log", *serve), httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:

        def is_up():
            try:
                return client.get("/docs").status_code == 200
            except httpx.TransportError:
                return False

        until(is_up)
        assert client.get("/me", headers={"x-customer": "zoe"}, timeout=PATIENCE).json() == {"microcents": None}
        provider.usual = Turn(output=250)

        def ask(name):
            answer = httpx.get(
                f"{client.base_url}/ask",
                params={"question": "w" * 9000},
                headers={"x-customer": name},
                timeout=PATIENCE,
            )
            if answer.status_code == 402:
                assert 0 < int(answer.headers["retry-after"]) <= 86_400
                assert answer.json()["code"] == "BUDGET_EXCEEDED"
                assert answer.json()["remaining"]["amount"] < 3_000_000
            return name, answer.status_code

        with ThreadPoolExecutor(8) as pool:
            said = Counter(pool.map(ask, ["zoe", "adam"] * 16))
        assert set(said) == {(name, status) for name in ("zoe", "adam") for status in (200, 402)}, said
        provider.over()
        left = {name: client.get("/me", headers={"x-customer": name}).json()["microcents"] for name in ("zoe", "adam")}
    assert all(0 <= amount < 3_000_000 for amount in left.values())
    charged = sum(spent(tmp_path, f"tenant:default/workspace:{name}") for name in left)
    assert charged == provider.microcents == 40_000_000 - sum(left.values())


def test_celery_worker(environ, tmp_path):
    pytest.importorskip("celery")
    folder = EXAMPLES / "celery_worker"
    worker = ("-m", "celery", "--workdir", str(folder), "-A", "tasks", "worker", "--loglevel", "WARNING")
    with started(environ, tmp_path / "log", *worker, "--concurrency", "2", "--without-gossip", "--without-mingle"):
        lines = run(environ, str(folder / "send.py"))
    assert lines[0] == "sent to zoe"
    assert lines[1].startswith("zoe's question: ")
    assert lines[2] == "sent to adam"
    assert lines[4].startswith("tenant:default: ")
    assert 2_000_000 <= spent(tmp_path) <= 20_000_000


def test_notebook():
    """All cells run, and what a reader looks at is a table of amounts that people read."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells), "outputs are made anew by each reader"
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3").execute()
    pages = [output.data for cell in book.cells for output in cell.get("outputs", ()) if "data" in output]
    shown = [data["text/html"] for data in pages if "text/html" in data]
    balances, limit, reservation, settlement, reservations, awaited = shown
    assert "<td>tenant:default</td>" in balances
    assert ">$0.97<" in balances
    assert "<td>agent.run/notebook</td>" in limit
    assert "<td>ACTIVE</td>" in reservation
    assert ">$0.10<" in reservation
    assert "<td>COMMITTED</td><td>commit</td>" in settlement
    assert ">$0.07<" in settlement
    assert ">$0.07<" in reservations
    assert "llm.completion/gpt-4o" in reservations
    assert "<td>tenant:default</td>" in awaited
    (rows,) = [data["text/plain"] for data in pages if data["text/plain"].startswith("[")]
    assert re.fullmatch(r"\[Balance\(tenant:default, \$0\.\d\d of \$1\.00 left\)\]", rows)
