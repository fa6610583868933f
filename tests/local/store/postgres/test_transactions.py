"""Transactions of a ledger in PostgreSQL: locks, keys, what begins again, the expiry, and checks by SQL."""

from __future__ import annotations

import importlib
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from tests.support.authorities import SCOPE, Clock
from tests.support.postgres import dumped, proxied, shared
from tests.support.wire import Wire, failed

from .databases import name_of

psycopg = pytest.importorskip("psycopg", reason="`nox -s postgres` has it")
batches, planned, schema, engine = (
    importlib.import_module(f"cycles.local.store.postgres.{name}") for name in ("batches", "planned", "schema", "store")
)


def reserved(wire: Wire):
    wire.last = wire.reserve(2)
    return wire.last


REQUESTS = (
    reserved,
    lambda wire: wire.extend(wire.last, 1),
    lambda wire: wire.commit(wire.last, 1),
    lambda wire: wire.event(1),
    lambda wire: wire.decide(1),
    reserved,
    lambda wire: wire.release(wire.last),
)
WAITING = (
    "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
    "AND backend_type = 'client backend'"
)


def used_long_ago(wire: Wire, url: str, key: str) -> None:
    """Apply an event under *key*, which the authority need not remember any more."""
    assert wire.event(1, key=key).status_code == 201
    shared().query(name_of(url), "UPDATE cycles_replays SET keep_until_ms = 1 RETURNING 1")


def begun(url: str) -> psycopg.Connection:
    """A connection beside the authority, in a transaction."""
    return psycopg.connect(url)


# -- transactions ------------------------------------------------------------------------------------------------------
def test_a_reserve_takes_two_round_trips(url):
    """One to lock and read, the key as well, and one to write; also a commit, an extend, an event and a decide."""
    with proxied(shared()) as proxy, LocalAuthority(proxy.url(url)) as authority:
        authority.budget(SCOPE, tokens(1000))
        wire = Wire(authority, Clock())
        wire.last = wire.reserve(9)
        for work in REQUESTS:
            work(wire)  # now all is prepared
        for work in REQUESTS:
            before = proxy.turns
            answer = work(wire)
            assert answer.is_success
            assert proxy.turns - before == 2


def test_many_threads_spend_no_more_than_there_is(url):
    """On two authorities, as of two servers, and on scopes that overlap: no deadlock, and the budget is the limit."""
    with LocalAuthority(url) as one, LocalAuthority(url) as other:
        one.budget(SCOPE, tokens(100))
        for agent in "abc":
            one.budget(f"{SCOPE}/agent:{agent}", tokens(60))
        secret = one.key(tenant="acme")

        def spend(number: int) -> int:
            headers = {"X-Cycles-API-Key": secret}
            granted = 0
            with (one, other)[number % 2].http_client(headers=headers) as http:
                for turn in range(20):
                    ask = {
                        "idempotency_key": f"{number}-{turn}",
                        "subject": {"tenant": "acme", "agent": "abc"[(number + turn) % 3]},
                        "action": {"kind": "k", "name": "n"},
                        "estimate": {"unit": "TOKENS", "amount": 1},
                    }
                    answer = http.post("/v1/reservations", json=ask)
                    assert answer.status_code in (200, 409), answer.text
                    granted += answer.status_code == 200
            return granted

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(spend, range(8))) == 100
        row = one.balance(SCOPE, "TOKENS")
        assert (row.remaining, row.reserved) == (0, 100)
        assert one.check() == []
    assert shared().query(
        name_of(url), "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ) == [(0,)]


def test_one_key_at_once_is_one_reservation(wire, authority):
    start = threading.Barrier(6)

    def reserved(_: int) -> str:
        start.wait()
        return wire.reserve(7, key="the same").json()["reservation_id"]

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(reserved, range(6)))) == 1
    assert authority.balance(SCOPE, "TOKENS").reserved == 7


def test_a_transaction_that_the_database_undid_begins_again(wire, authority, monkeypatch):
    """An answer that is lost at the commit is found again under its key: charged once."""
    flush, times = planned.PlannedBooks.flush, []

    def lost(books):
        times.append(1)
        flush(books)
        if len(times) == 1:
            raise psycopg.OperationalError("the answer to the commit was lost")

    monkeypatch.setattr(planned.PlannedBooks, "flush", lost)
    assert wire.event(30).status_code == 201
    assert len(times) == 2
    assert authority.balance(SCOPE, "TOKENS").spent == 30


def test_two_with_a_key_whose_time_is_over_are_one(wire, authority, url, monkeypatch):
    """The second waits for the first's budget, and has read before that whose key it was."""
    used_long_ago(wire, url, "e")
    flush, second = planned.PlannedBooks.flush, []

    def after_another_came(books):
        if not second:
            second.append(pool.submit(wire.event, 1, key="e"))
            while not shared().query(name_of(url), WAITING):
                assert not second[0].done()
        flush(books)

    monkeypatch.setattr(planned.PlannedBooks, "flush", after_another_came)
    with ThreadPoolExecutor(1) as pool:
        first = wire.event(1, key="e")
        assert second[0].result().json()["event_id"] == first.json()["event_id"]
    assert authority.balance(SCOPE, "TOKENS").spent == 2


def test_a_key_is_kept_whose_former_use_is_purged_meanwhile(wire, authority, url, monkeypatch):
    used_long_ago(wire, url, "e")
    flush, purged = planned.PlannedBooks.flush, []

    def after_a_purge(books):
        if not purged:
            purged.append(True)
            shared().query(name_of(url), "DELETE FROM cycles_replays RETURNING 1")
        flush(books)

    monkeypatch.setattr(planned.PlannedBooks, "flush", after_a_purge)
    first, again = wire.event(1, key="e"), wire.event(1, key="e")
    assert first.json()["event_id"] == again.json()["event_id"]
    assert authority.balance(SCOPE, "TOKENS").spent == 2


def test_what_has_no_key_is_not_done_again_when_the_answer_to_its_commit_was_lost(url, monkeypatch):
    """An operator's credit: nobody knows whether it was done, so nobody but the operator may do it again."""
    execute, alone, lost = batches.PreparingConnection.execute, [], []

    def losing(connection, query, *rest, **options):
        result = execute(connection, query, *rest, **options)
        if "pg_advisory_xact_lock" in str(query):  # it writes, alone
            alone.append(connection)
        elif query == "COMMIT" and connection in alone and armed and not lost:
            lost.append(True)
            connection.close()
            raise psycopg.OperationalError("the answer to the commit was lost")
        return result

    armed: list[bool] = []
    monkeypatch.setattr(batches.PreparingConnection, "execute", losing)
    with LocalAuthority(url, admin_key="the-administrator") as authority:
        authority.budget(SCOPE, tokens(1000))
        armed.append(True)
        with httpx.Client(transport=authority.transport(), base_url="http://test") as http:
            answer = http.post(
                f"/v1/admin/budgets/fund?tenant_id=acme&scope={SCOPE}&unit=TOKENS",
                json={"operation": "CREDIT", "amount": {"unit": "TOKENS", "amount": 10}},
                headers={"X-Admin-API-Key": "the-administrator"},
            )
        assert (answer.status_code, lost) == (500, [True]), answer.text
        assert "may have been done" in answer.json()["message"]
        assert authority.balance(SCOPE, "TOKENS").allocated == 1010


def test_what_touches_more_than_it_said_runs_alone(wire, authority, monkeypatch):
    monkeypatch.setattr("cycles.local.ledger.touched.scopes_of", lambda subject: ())
    assert wire.reserve(5).status_code == 200
    assert authority.balance(SCOPE, "TOKENS").reserved == 5


def test_a_lock_that_is_not_to_be_had_is_a_503(wire, authority, url, monkeypatch):
    monkeypatch.setattr(engine, "TRY_WITHIN", 0.0)
    with begun(url) as beside:
        beside.execute("SELECT 1 FROM cycles_budgets FOR UPDATE")
        with authority.store._connections.pool().connection() as one:
            one.execute("SET lock_timeout = 50")
        assert failed(wire.reserve(5), 503, "INTERNAL_ERROR")
    assert wire.reserve(5).status_code == 200


# -- the sweep ---------------------------------------------------------------------------------------------------------
def test_one_server_sweeps_at_a_time(authority, url):
    clock = Clock()
    with LocalAuthority(url, clock=clock) as other:
        wire = Wire(other, clock)
        assert wire.reserve(5).status_code == 200
        clock.now += 3_600_000
        with begun(url) as beside:
            beside.execute("SELECT pg_advisory_xact_lock(%s, %s)", (schema.LOCK, schema.SWEEPER))
            assert other.sweep() == 0
        assert other.sweep() == 1
        assert other.balance(SCOPE, "TOKENS").reserved == 0


def test_a_purge_leaves_what_can_still_be_asked_for(url):
    clock = Clock()
    with LocalAuthority(url, clock=clock) as authority:
        authority.budget(SCOPE, tokens(1000))
        wire = Wire(authority, clock)
        held = wire.reserve(5, key="r")
        wire.commit(held, 5)
        wire.event(1, key="e")
        clock.now += 2 * 86_400_000
        authority.sweep()
        assert len(authority.reservations()) == 1
        assert [row.partition(",")[0] for row in dumped(authority) if row.startswith("cycles_replays")] == [
            "cycles_replays (event:acme"
        ]
        clock.now += 31 * 86_400_000
        authority.sweep()
        assert authority.reservations() == []


def test_time_is_the_databases(authority, url, wire, monkeypatch):
    """A machine whose clock is wrong by an hour reserves, and expires, by the clock that all have."""
    monkeypatch.setattr("time.time_ns", lambda: 0)
    monkeypatch.setattr("cycles.local.wire.clock.wall_clock", lambda: 0)
    made = wire.reserve(5).json()
    ((now,),) = shared().query(name_of(url), "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
    assert 0 <= now - (made["expires_at_ms"] - 60_000) < 60_000


# -- checks ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE cycles_budgets SET remaining = remaining + 1", "figures of tenant:acme in TOKENS do not add up"),
        ("UPDATE cycles_budgets SET reserved = 7, remaining = remaining - 2", "has 7 tokens reserved.*hold 5"),
        ("UPDATE cycles_holds SET status = 'LOST'", "has a state that there is not"),
        ("UPDATE cycles_holds SET tenant = 'other'", "two values of tenant: 'acme' and 'other'"),
        ("UPDATE cycles_holds SET data = '{}'", "a row of a reservation can't be read"),
    ],
)
def test_a_check_finds_what_somebody_changed(wire, authority, url, change, said):
    wire.reserve(5)
    assert authority.check() == []
    with psycopg.connect(url) as beside:
        beside.execute("ALTER TABLE cycles_budgets DROP CONSTRAINT adds_up")
        beside.execute(change)
        beside.commit()
    try:
        assert any(re.search(said, problem) for problem in authority.check()), authority.check()
    finally:
        shared().query(name_of(url), "TRUNCATE cycles_budgets, cycles_holds")
        shared().query(
            name_of(url),
            "ALTER TABLE cycles_budgets ADD CONSTRAINT adds_up "
            "CHECK (remaining::numeric = allocated::numeric - reserved - spent - debt)",
        )


def test_the_database_refuses_a_budget_that_does_not_add_up(authority, url):
    with pytest.raises(psycopg.errors.CheckViolation, match="adds_up"):
        shared().query(name_of(url), "UPDATE cycles_budgets SET remaining = remaining + 1")
