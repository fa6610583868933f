"""What a connection knows of rows: exactly what the ledger says, whoever else writes it."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from cycles.local.ledger.values import Budget, Tenant, changed
from cycles.local.store import known, sqlite
from cycles.local.store.connections import Connection
from tests.support.authorities import SCOPE, Clock
from tests.support.wire import Wire, failed


@contextmanager
def two(path, clock=None):
    """Two authorities on one file, as two processes have them, and the wire of the first."""
    clock = clock or Clock()
    with LocalAuthority(path, clock=clock) as one, LocalAuthority(path, clock=clock) as other:
        one.budget(SCOPE, tokens(100))
        yield Wire(one, clock), other


def wire_of(other, clock):
    """The wire of the other authority; no key is used on both."""
    made = Wire(other, clock)
    made.made = 1_000
    return made


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    made = sqlite.SqliteStore(None if request.param == "memory" else tmp_path / "ledger.db")
    yield made
    made.close()


def test_what_another_has_spent_is_spent(path):
    with two(path) as (wire, other):
        assert wire.reserve(10).status_code == 200
        theirs = wire_of(other, wire.clock)
        assert theirs.event(60).status_code == 201
        assert failed(wire.reserve(31), 409, "BUDGET_EXCEEDED")
        assert wire.reserve(30).status_code == 200
        assert failed(theirs.event(1, overage_policy="REJECT"), 409, "BUDGET_EXCEEDED")
        assert other.check() == []


def test_what_an_operator_changes_elsewhere_holds_at_once(path):
    with two(path) as (wire, other):
        held = wire.reserve(10)
        other.freeze(SCOPE, "TOKENS")
        assert failed(wire.reserve(10), 409, "BUDGET_FROZEN")
        other.unfreeze(SCOPE, "TOKENS")
        other.tenant("acme", max_extensions=0, default_ttl_ms=7_000)
        answer = wire.reserve(10).json()
        assert answer["remaining_ttl_ms"] == 7_000
        other.budget("tenant:acme/agent:a", tokens(5))  # which was looked for in vain before
        subject = {"tenant": "acme", "agent": "a"}
        assert wire.commit(held, 10).status_code == 200
        assert failed(wire.reserve(6, subject=subject), 409, "BUDGET_EXCEEDED")


def test_a_reservation_that_ends_elsewhere_has_ended(path):
    with two(path) as (wire, other):
        held = wire.reserve(10)
        assert wire_of(other, wire.clock).commit(held, 4).status_code == 200
        assert failed(wire.commit(held, 5), 409, "RESERVATION_FINALIZED")
        assert wire.authority.balance(SCOPE, "TOKENS").spent == 4


def test_a_reservation_that_was_made_elsewhere_expires_here(path):
    """The first one of this process lasts an hour; it must not stand for all."""
    with two(path) as (wire, other):
        assert wire.reserve(50, ttl_ms=3_600_000).status_code == 200
        assert wire_of(other, wire.clock).reserve(50, ttl_ms=1_000).status_code == 200
        assert failed(wire.reserve(50), 409, "BUDGET_EXCEEDED")
        wire.clock.advance(30)
        assert wire.reserve(50).status_code == 200


@pytest.mark.parametrize("place", ["memory", "file"])
def test_the_earliest_deadline_is_the_one_that_counts(path, place):
    clock = Clock()
    with LocalAuthority(None if place == "memory" else path, clock=clock) as authority:
        authority.budget(SCOPE, tokens(100))
        wire = Wire(authority, clock)
        long, short = wire.reserve(10, ttl_ms=3_600_000), wire.reserve(20, ttl_ms=1_000)
        extended = wire.reserve(30, ttl_ms=1_000)
        assert wire.extend(extended, 60_000).status_code == 200
        clock.advance(30)
        assert wire.reserve(1).status_code == 200
        assert authority.balance(SCOPE, "TOKENS").reserved == 41
        clock.advance(70)
        assert wire.reserve(1, ttl_ms=60_000).status_code == 200
        assert authority.balance(SCOPE, "TOKENS").reserved == 11
        assert failed(wire.commit(short, 1), 410, "RESERVATION_EXPIRED")
        assert wire.commit(long, 1).status_code == 200


def test_what_is_undone_was_never_known(store):
    budget, tenant = Budget("tenant:acme", "TOKENS", 100, "acme"), Tenant("acme")
    with store.writing() as books:
        books.put_budget(budget)
        books.put_tenant(tenant)
    with pytest.raises(ZeroDivisionError), store.writing() as books:
        books.put_budget(changed(budget, spent=40, remaining=60))
        books.put_tenant(Tenant("acme", status="SUSPENDED"))
        assert books.budget("tenant:acme", "TOKENS").spent == 40
        assert 1 / 0
    with store.writing() as books:
        assert (books.budget("tenant:acme", "TOKENS"), books.tenant("acme")) == (budget, tenant)


def test_an_interrupt_while_another_is_undone_leaves_nothing(store, monkeypatch):
    """Ctrl-C twice: the second comes before what the first one cut off is rolled back."""
    with store.writing() as books:
        books.put_budget(Budget(SCOPE, "TOKENS", 100, "acme"))
    interrupts = [KeyboardInterrupt()]

    class Interrupted(Connection):
        def execute(self, sql, *parameters):
            if sql == "ROLLBACK" and interrupts:
                raise interrupts.pop()
            return super().execute(sql, *parameters)

    connection = store.connections.idle[-1]
    connection.__class__ = Interrupted

    def cut_off():
        with store.writing() as books:
            books.put_budget(Budget(SCOPE, "TOKENS", 5, "acme"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_off()
    assert not interrupts
    assert not connection.in_transaction
    with store.reading() as books:
        assert books.budget(SCOPE, "TOKENS").allocated == 100


def test_sql_of_somebody_else_is_seen(store):
    budget = Budget("tenant:acme", "TOKENS", 100, "acme")
    with store.writing() as books:
        books.put_budget(budget)
        books.connection.execute("UPDATE budgets SET data = json_set(data, '$.status', 'FROZEN')")
        assert books.budget("tenant:acme", "TOKENS").status == "FROZEN"


def test_a_budget_goes_to_another_tenant(store):
    """Its index is by tenant."""
    budget = Budget("tenant:acme", "TOKENS", 100, "acme")
    with store.writing() as books:
        books.put_budget(budget)
        books.put_budget(changed(budget, tenant="other"))
        assert [row.tenant for row in books.budgets_of("other")] == ["other"]
        assert books.budgets_of("acme") == []


def test_only_so_much_is_known(store, monkeypatch):
    monkeypatch.setattr(known, "MOST", 3)
    large = Budget("tenant:large", "TOKENS", 1, caps={"tool_allowlist": ["x" * 200] * 30})
    budgets = [Budget(f"tenant:t{number}", "TOKENS", number) for number in range(6)]
    with store.writing() as books:
        for row in (*budgets, large, *budgets):
            books.put_budget(row)
        assert [books.budget(row.scope_path, "TOKENS") for row in (large, *budgets)] == [large, *budgets]
        rows = books._known.budgets
        assert (len(rows), ("tenant:large", "TOKENS") in rows) == (3, False)


def test_moving_the_log_makes_nobody_forget_or_err(path, monkeypatch):
    monkeypatch.setattr(sqlite, "MOVE_LOG_EVERY", 2)
    with two(path) as (wire, other):
        theirs = wire_of(other, wire.clock)
        for turn in range(12):
            assert (wire if turn % 3 else theirs).event(5).status_code == 201
        assert wire.authority.balance(SCOPE, "TOKENS").spent == 60
        assert other.check() == []


def test_a_writer_asks_for_nothing_that_it_knows(path, monkeypatch):
    """A reserve looks for its key, and writes a budget, a reservation and the answer; a commit writes two rows."""
    asked = []
    with LocalAuthority(path) as authority:
        authority.budget(SCOPE, tokens(100))
        wire = Wire(authority, Clock())
        wire.commit(wire.reserve(1), 1)
        assert isinstance(authority.store, sqlite.SqliteStore)
        (connection,) = authority.store.connections.idle
        connection.set_trace_callback(lambda sql: asked.append(sql.split()[0]))
        held = wire.reserve(1)
        begin, end = ["BEGIN", "PRAGMA"], ["COMMIT"]
        assert asked == [*begin, "SELECT", "UPDATE", "INSERT", "INSERT", *end]
        asked.clear()
        wire.commit(held, 1)
        assert asked == [*begin, "UPDATE", "UPDATE", *end]
