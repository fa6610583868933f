"""An event loop answers from a file where nothing waits, and leaves the rest to threads: nothing is done twice."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing

import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from cycles.local.store import hurry, sqlite
from cycles.local.wire.messages import Request
from tests.support.authorities import ADMIN_KEY, SCOPE, Clock
from tests.support.waiting import PATIENCE
from tests.support.wire import Wire


@pytest.fixture
def wire(path):
    """A ledger file in use, whose log was just moved, with a key that is known."""
    with LocalAuthority(path, clock=Clock(), admin_key=ADMIN_KEY, history=100) as authority:
        authority.budget(SCOPE, tokens(100))
        made = Wire(authority, authority.clock)
        for _ in range(2):
            assert made.event(1).status_code == 201
        yield made


def posted(wire, key="K", path="/v1/reservations", **fields):
    body = wire.ask(10, key=key, ttl_ms=1_000, **fields)
    headers = {"x-cycles-api-key": wire.secret, "x-admin-api-key": ADMIN_KEY}
    return Request("POST", path, "", headers, json.dumps(body).encode())


def at_once(wire, request=None):
    response = wire.authority.app.handle_at_once(request or posted(wire))
    return None if response is None else response.status


def test_a_write_that_waits_for_nothing_is_answered_at_once(wire):
    assert at_once(wire) == 200
    assert at_once(wire, posted(wire, "refused", estimate={"unit": "TOKENS", "amount": 1000})) == 409
    assert wire.authority.balance(SCOPE, "TOKENS").reserved == 10
    assert len(wire.authority.requests) == 4


def test_another_process_that_writes_is_not_waited_for(wire, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert at_once(wire) is None
        other.execute("COMMIT")
    assert at_once(wire) == 200
    assert len(wire.authority.requests) == 3, "what was left was no request"


def test_another_thread_that_writes_is_not_waited_for(wire):
    holds, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with wire.authority.store.writing():
            holds.set()
            assert may_end.wait(PATIENCE)

    thread = threading.Thread(target=write)
    thread.start()
    assert holds.wait(PATIENCE)
    assert at_once(wire) is None
    may_end.set()
    thread.join()
    assert at_once(wire) == 200


def test_what_is_overdue_is_expired_elsewhere(wire):
    assert at_once(wire) == 200
    wire.clock.now += 10_000
    assert at_once(wire, posted(wire, "L")) is None
    assert wire.authority.app.handle(posted(wire, "L")).status == 200
    assert wire.authority.balance(SCOPE, "TOKENS").reserved == 10
    assert at_once(wire, posted(wire, "M")) == 200


def test_the_log_is_moved_elsewhere(wire, monkeypatch):
    """Of each so many writes one moves the log, and the next one begins it anew: both wait for the disk."""
    monkeypatch.setattr(sqlite, "MOVE_LOG_EVERY", 4)
    wire.authority.store._written = 4
    seen = []
    for number in range(8):
        request = posted(wire, f"n{number}", estimate={"unit": "TOKENS", "amount": 1})
        seen.append(at_once(wire, request) == 200)
        if not seen[-1]:
            assert wire.authority.app.handle(request).status == 200
    assert seen == 2 * [False, True, True, False]


@pytest.mark.parametrize(
    "change",
    [
        {"method": "GET", "path": "/v1/balances", "query": "tenant=acme", "body": b""},
        {"path": "/v1/admin/tenants"},
        {"body": json.dumps({"metadata": {"text": "x" * 20_000}}).encode()},
        {"headers": {"x-cycles-api-key": "never seen before"}},
    ],
)
def test_what_may_take_long_is_left_to_a_thread(wire, change):
    assert at_once(wire, posted(wire)._replace(**change)) is None


def test_a_finalizer_in_the_middle_has_all_its_time(wire, path, monkeypatch):
    """It asks the authority of another ledger, whose writer is busy: it waits as it always does."""
    with LocalAuthority(path.with_name("another.db"), clock=Clock()) as another:
        another.budget(SCOPE, tokens(100))
        theirs, hurried = Wire(another, another.clock), []

        def finalizer() -> None:
            assert another.app.handle(posted(theirs)).status == 200
            hurried.append(hurry.HURRY.is_on)

        clock = wire.authority.app.transactions.clock
        monkeypatch.setattr(wire.authority.app.transactions, "clock", lambda: (finalizer(), clock())[1])
        assert at_once(wire) == 200
    assert set(hurried) == {True}, "and the request goes on in its hurry"
    assert not hurry.HURRY.is_on


def test_memory_answers_everything_and_a_failure_ends_the_hurry():
    with LocalAuthority(clock=Clock()) as authority:
        authority.budget(SCOPE, tokens(100))
        made = Wire(authority, authority.clock)
        key = {"x-cycles-api-key": made.secret}
        assert at_once(made, Request("GET", "/v1/balances", "tenant=acme", key, b"")) == 200
    with pytest.raises(ZeroDivisionError):
        hurry.at_once(lambda: 1 // 0)
    assert not hurry.HURRY.is_on
