"""One ledger, many threads, tasks and processes: who waits for whom, and what is undone, survives and is deleted."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import httpx
import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from tests.support.authorities import SCOPE, Clock
from tests.support.programs import run
from tests.support.waiting import PATIENCE, until
from tests.support.wire import Wire

if TYPE_CHECKING:
    from cycles.local.wire.messages import Request, Response

WORKER = """
import sys, httpx
from cycles.local import LocalAuthority
path, secret, name, count = sys.argv[1:]
ask = {"subject": {"tenant": "acme"}, "action": {"kind": "k", "name": "n"}, "estimate": {"unit": "TOKENS", "amount": 3}}
with LocalAuthority(path) as authority, httpx.Client(
    transport=authority.transport(), base_url="http://test", headers={"X-Cycles-API-Key": secret}
) as http:
    print("ready", flush=True)
    sys.stdin.readline()
    codes = []
    for number in range(int(count)):
        codes.append(http.post("/v1/reservations", json={**ask, "idempotency_key": f"{name}-{number}"}).status_code)
    assert set(codes) <= {200, 409}, codes
    print(codes.count(200))
"""


@pytest.fixture(params=["memory", "file"])
def shared(request, tmp_path):
    with LocalAuthority(None if request.param == "memory" else tmp_path / "ledger.db") as authority:
        authority.budget(SCOPE, tokens(100))
        yield authority


def test_39_five_concurrent_reserves(shared):
    wire, start = Wire(shared, Clock()), threading.Barrier(5)

    def reserve(_: int) -> int:
        start.wait()
        return wire.reserve(30).status_code

    with ThreadPoolExecutor(5) as pool:
        codes = sorted(pool.map(reserve, range(5)))
    assert codes == [200, 200, 200, 409, 409]
    row = shared.balance(SCOPE, "TOKENS")
    assert (row.remaining, row.reserved) == (10, 90)


@pytest.mark.slow
def test_threads_never_oversubscribe(shared):
    """Eight threads reserve, commit, extend and release at random; what is left is what they did not take."""
    wire, spent = Wire(shared, Clock()), []

    def work(worker: int) -> None:
        for number in range(12):
            held = wire.reserve(9, key=f"{worker}-{number}")
            if held.status_code == 409:
                continue
            step = (worker + number) % 3
            if step == 0:
                assert wire.release(held, key="r").is_success
            else:
                assert wire.extend(held, 1, key="e").is_success
                assert wire.commit(held, step, key="c").is_success
                assert wire.commit(held, step, key="c").is_success
                spent.append(step)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    row = shared.balance(SCOPE, "TOKENS")
    assert (row.reserved, row.spent, row.remaining) == (0, sum(spent), 100 - sum(spent))
    assert spent


def test_one_key_in_many_threads_is_one_reservation(shared):
    wire, start = Wire(shared, Clock()), threading.Barrier(8)

    def reserve(_: int) -> str:
        start.wait()
        return wire.reserve(30, key="one").json()["reservation_id"]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(reserve, range(8)))) == 1
    assert shared.balance(SCOPE, "TOKENS").reserved == 30


@pytest.mark.slow
def test_39_processes_never_oversubscribe(tmp_path):
    path = tmp_path / "ledger.db"
    with LocalAuthority(path) as authority:
        authority.budget(SCOPE, tokens(100))
        command = [sys.executable, "-W", "error", "-c", WORKER, str(path), authority.key(tenant="acme")]
        pipe = subprocess.PIPE
        workers = [
            subprocess.Popen([*command, name, "20"], stdin=pipe, stdout=pipe, stderr=pipe, text=True) for name in "abc"
        ]
        for worker in workers:
            assert worker.stdout.readline() == "ready\n", worker.communicate()
        done = [worker.communicate("go\n", timeout=PATIENCE) for worker in workers]
        assert [error for _, error in done if error] == []
        granted = [int(out) for out, _ in done]
        assert sum(granted) == 33
        row = authority.balance(SCOPE, "TOKENS")
        assert (row.reserved, row.remaining) == (99, 1)


@pytest.mark.slow
def test_processes_that_start_at_once_make_one_ledger(tmp_path):
    code = (
        "import sys; from cycles import tokens; from cycles.local import LocalAuthority\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "with LocalAuthority(sys.argv[1]) as authority:\n"
        "    authority.ensure_budget('tenant:acme', tokens(int(sys.argv[2])))"
    )
    pipe = subprocess.PIPE
    for attempt in range(3):
        path = str(tmp_path / f"{attempt}.db")
        starters = [
            subprocess.Popen([sys.executable, "-c", code, path, str(size)], stdin=pipe, stdout=pipe, stderr=pipe)
            for size in (1, 2, 3)
        ]
        for starter in starters:
            assert starter.stdout.readline() == b"ready\n"
        for starter in starters:
            starter.stdin.write(b"go\n")
            starter.stdin.flush()
        assert [starter.communicate(timeout=PATIENCE)[1] for starter in starters] == [b"", b"", b""]
        with LocalAuthority(path) as authority:
            assert len(authority.balances()) == 1


def test_a_request_in_the_middle_of_a_transaction_is_refused(shared):
    """A finalizer may run anywhere, also in the thread that holds the ledger: it must neither wait nor break in."""
    wire = Wire(shared, Clock())
    with shared.store.writing() as books:
        answer = wire.reserve(1)
        assert (answer.status_code, "own transaction" in answer.text) == (500, True)
        assert books.budget(SCOPE, "TOKENS") is not None
    assert wire.reserve(1).is_success


def test_what_nobody_can_ask_for_is_deleted(shared, monkeypatch):
    monkeypatch.setattr("cycles.local.wire.transactions.PURGE_EVERY", 4)
    wire = Wire(shared, Clock())
    monkeypatch.setattr(shared.app.transactions, "clock", wire.clock)
    day = 86_400_000

    def rows() -> tuple[int, int]:
        with shared.store.reading() as books:
            counts = [books.connection.execute(f"SELECT count(*) FROM {name}") for name in ("holds", "replays")]
            return counts[0].fetchone()[0], counts[1].fetchone()[0]

    held = wire.reserve(1, key="r")
    assert wire.extend(held, 1_000, key="x").is_success
    assert wire.commit(held, 1, key="c").is_success
    assert wire.event(1, key="e").is_success
    assert rows() == (1, 3)
    wire.clock.now += day
    again = wire.reserve(1, key="r")
    assert again.json()["reservation_id"] == held.json()["reservation_id"]
    wire.clock.now += 1
    assert wire.reserve(1, key="r").json()["reservation_id"] != held.json()["reservation_id"], "the key is free again"
    assert wire.event(2, key="e").status_code == 409
    wire.clock.now += 6 * day
    assert wire.event(2, key="e").status_code == 201
    wire.clock.now += 23 * day
    assert wire.commit(held, 1, key="c").is_success
    assert wire.extend(held, 1_000, key="x").is_success
    for _ in range(4):
        wire.decide(1)
    assert rows()[0] == 2
    wire.clock.now += 70_000
    for _ in range(8):
        wire.decide(1)
    assert wire.commit(held, 1, key="c").status_code == 404
    assert rows()[0] == 1
    wire.clock.now += 32 * day
    before = rows()[1]
    for _ in range(4):
        wire.decide(1)
    assert rows()[1] < before


def test_another_writer_is_waited_for(tmp_path):
    with LocalAuthority(tmp_path / "ledger.db") as authority:
        authority.budget(SCOPE, tokens(100))
        wire = Wire(authority, Clock())
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)) as other:
            other.execute("BEGIN IMMEDIATE")
            timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
            timer.start()
            assert wire.decide(1).is_success
            timer.join()


def test_a_writer_that_never_ends_is_an_answer(tmp_path, monkeypatch):
    monkeypatch.setattr("cycles.local.store.sqlite.BUSY_TIMEOUT", 0.05)
    with LocalAuthority(tmp_path / "ledger.db") as authority:
        wire = Wire(authority, Clock())
        with closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            response = wire.decide(1)
            assert (response.status_code, response.json()["error"]) == (500, "INTERNAL_ERROR")
            assert "busy" in response.json()["message"]
            assert wire.get("/v1/balances", tenant="acme").is_success, "readers do not wait for writers"


def test_a_full_disk_is_an_answer_that_says_so(tmp_path):
    with LocalAuthority(tmp_path / "ledger.db") as authority:
        authority.budget(SCOPE, tokens(10**6))
        wire = Wire(authority, Clock())
        with authority.store.writing() as books:
            pages = books.connection.execute("PRAGMA page_count").fetchone()[0]
            books.connection.execute(f"PRAGMA max_page_count = {pages}")
        answers = [wire.reserve(1, metadata={"filler": "x" * 1000}) for _ in range(40)]
        response = next(answer for answer in answers if not answer.is_success)
        assert (response.status_code, response.json()["error"]) == (500, "INTERNAL_ERROR")
        assert response.json()["message"] == "the ledger can't be used: its disk is full: make room"
        assert wire.get("/v1/balances", tenant="acme").is_success, "what is there is still read"


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_kill(tmp_path):
    code = """
import os, sys
from cycles import tokens
from cycles.local import LocalAuthority
authority = LocalAuthority(sys.argv[1])
authority.budget("tenant:acme", tokens(100))
with authority.client(tenant="acme") as client:
    client.reserve(tokens(40), action=("k", "n")).commit(tokens(30))
    held = client.reserve(tokens(20), action=("k", "n"))  # dropped, it would be given back
    os._exit(9)
"""
    assert run(code, tmp_path / "ledger.db").returncode == 9
    with LocalAuthority(tmp_path / "ledger.db") as authority:
        row = authority.balance(SCOPE, "TOKENS")
        assert (row.spent, row.reserved, row.remaining) == (30, 20, 50)


def test_a_transaction_that_fails_is_undone(tmp_path):
    with LocalAuthority(tmp_path / "ledger.db") as authority:
        authority.budget(SCOPE, tokens(100))

        def fail() -> None:
            with authority.store.writing() as books:
                row = books.budget(SCOPE, "TOKENS")
                assert row is not None
                books.put_budget(row.__class__(SCOPE, "TOKENS", 5, "acme"))
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fail()
        assert authority.balance(SCOPE, "TOKENS").allocated == 100


def arrivals(authority: LocalAuthority, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Return an event of the running loop, which is set when a request has come to the ledger."""
    arrived, loop, handle = asyncio.Event(), asyncio.get_running_loop(), authority.app.handle

    def handled(request: Request) -> Response:
        loop.call_soon_threadsafe(arrived.set)
        return handle(request)

    monkeypatch.setattr(authority.app, "handle", handled)
    return arrived


def test_a_cancelled_request_is_still_answered_by_the_ledger(tmp_path, monkeypatch):
    """On a file the worker thread ends what it began: cancelled or not, a commit is whole."""

    async def work() -> None:
        arrived = arrivals(authority, monkeypatch)
        async with httpx.AsyncClient(transport=authority.async_transport(), base_url="http://test") as http:
            with authority.store.writing():  # this thread holds the ledger, so the request waits in its own
                headers = {"X-Cycles-API-Key": secret}
                task = asyncio.create_task(http.post("/v1/reservations", json=ask, headers=headers))
                await arrived.wait()
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with LocalAuthority(tmp_path / "ledger.db") as authority:
        authority.budget(SCOPE, tokens(100))
        secret = authority.key(tenant="acme")
        ask = Wire(authority, Clock()).ask(30)
        asyncio.run(work())
        until(lambda: authority.balance(SCOPE, "TOKENS").reserved == 30)


def test_the_loop_runs_on_while_a_file_is_waited_for(tmp_path, monkeypatch):
    async def work() -> None:
        arrived = arrivals(authority, monkeypatch)
        async with httpx.AsyncClient(transport=authority.async_transport(), base_url="http://test") as http:
            task = asyncio.create_task(http.post("/v1/decide", json=ask, headers={"X-Cycles-API-Key": secret}))
            await arrived.wait()
            for _ in range(10):
                await asyncio.sleep(0)
            assert not task.done()
            other.execute("COMMIT")
            assert (await task).is_success

    with (
        LocalAuthority(tmp_path / "ledger.db") as authority,
        closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None, check_same_thread=False)) as other,
    ):
        secret = authority.key(tenant="acme")
        ask = Wire(authority, Clock()).ask(30)
        other.execute("BEGIN IMMEDIATE")
        asyncio.run(work())


def test_an_async_client_in_one_loop_shares_the_ledger(shared):
    secret = shared.key(tenant="acme")

    async def work() -> list[int]:
        ask = Wire(shared, Clock()).ask(30)
        headers = {"X-Cycles-API-Key": secret}
        async with httpx.AsyncClient(
            transport=shared.async_transport(), base_url="http://test", headers=headers
        ) as http:
            answers = await asyncio.gather(
                *(http.post("/v1/reservations", json=ask | {"idempotency_key": str(n)}) for n in range(5))
            )
        return sorted(answer.status_code for answer in answers)

    assert asyncio.run(work()) == [200, 200, 200, 409, 409]
