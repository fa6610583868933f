"""What clients ask for goes by an index: the queries are taken from the authority, not written down a second time."""

from __future__ import annotations

import pytest

from cycles import tokens
from cycles.local.store.protocols import EventQuery, Window
from tests.support.authorities import SCOPE
from tests.support.postgres import on_sqlite

pytestmark = on_sqlite  # PostgreSQL plans by what it has counted in its tables
DAY = 86_400_000


def plan(authority, work) -> str:
    """Return how SQLite goes about the one SELECT of rows that *work* makes it do."""
    (connection,) = authority.store.connections.idle
    seen = []
    connection.set_trace_callback(seen.append)
    try:
        work()
    finally:
        connection.set_trace_callback(None)
    # Expiring what is overdue comes first.
    selects = [sql for sql in seen if sql.startswith("SELECT") and " keys " not in sql and "deadline_ms <" not in sql]
    assert len(selects) == 1, seen
    return " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {selects[0]}"))


@pytest.fixture
def stored(wire, authority):
    authority.budget(SCOPE, tokens(10_000))
    for number in range(12):
        held = wire.reserve(1, key=f"k{number}")
        wire.clock.now += 1
        if number % 4:
            wire.commit(held, 1)
    return wire


@pytest.mark.parametrize(
    ("parameters", "goes_by"),
    [
        ({}, "holds_by_creation (tenant=?)"),
        ({"idempotency_key": "k3"}, "holds_by_key (tenant=? AND idempotency_key=?)"),
        ({"idempotency_key": "k3", "status": "ACTIVE"}, "holds_by_key (tenant=? AND idempotency_key=?)"),
        ({"status": "COMMITTED"}, "holds_by_creation (tenant=?)"),
        ({"status": "ACTIVE"}, "holds_by_deadline"),
        ({"status": "ACTIVE", "sort_by": "expires_at_ms", "sort_dir": "asc"}, "holds_by_deadline"),
        ({"agent": "a"}, "holds_by_creation (tenant=?)"),
        ({"sort_by": "created_at_ms", "sort_dir": "asc"}, "holds_by_creation (tenant=?)"),
        (
            {"from": "2026-01-01T00:00:00Z", "to": "2028-01-01T00:00:00Z"},
            "holds_by_creation (tenant=? AND created_at_ms>? AND created_at_ms<?)",
        ),
        ({"sort_by": "reservation_id", "sort_dir": "asc"}, "INDEX"),
    ],
)
def test_a_list_goes_by_an_index(stored, authority, parameters, goes_by):
    found = plan(authority, lambda: stored.get("/v1/reservations", limit=2, **parameters))
    assert f"USING INDEX {goes_by}" in found or (goes_by == "INDEX" and goes_by in found), found
    if parameters.get("status") != "ACTIVE" and not parameters.keys() & {"sort_by", "idempotency_key"}:
        assert "TEMP B-TREE FOR ORDER BY" not in found, "all of them sorted, for a page"


@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_a_page_far_down_begins_where_it_begins(stored, authority, direction):
    parameters = {"sort_by": "created_at_ms", "sort_dir": direction, "limit": 2}
    cursor = stored.get("/v1/reservations", **parameters).json()["next_cursor"]
    found = plan(authority, lambda: stored.get("/v1/reservations", cursor=cursor, **parameters))
    assert f"holds_by_creation (tenant=? AND created_at_ms{'>' if direction == 'asc' else '<'}?)" in found, found


def test_balances_go_by_an_index(stored, authority):
    found = plan(authority, lambda: stored.get("/v1/balances", tenant="acme"))
    assert "budgets_by_tenant (tenant=?)" in found
    assert "TEMP B-TREE" not in found


def test_the_sweep_and_the_purge_go_by_an_index(authority):
    """They run with every request, and must not look at what is not due."""
    (connection,) = authority.store.connections.idle
    seen = []
    connection.set_trace_callback(seen.append)
    with authority.store.writing() as books:
        books.overdue(1, 1)
        books.purge(100 * DAY)
        books.live_holds_of("acme")
    connection.set_trace_callback(None)
    work = [sql for sql in seen if sql.startswith(("SELECT", "DELETE"))]
    plans = [" ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")) for sql in work]
    purged = ["replays_by_end", "holds_by_end", "past_budgets_by_end", "events_by_creation", "evidence_by_end"]
    indexes = ["holds_by_deadline", *purged, "holds_by_deadline"]
    assert all(index in found for index, found in zip(indexes, plans, strict=True)), plans


@pytest.mark.parametrize(("tenant", "goes_by"), [("acme", "events_by_tenant (tenant=?"), (None, "events_by_creation")])
def test_a_page_of_events_goes_by_an_index(stored, authority, tenant, goes_by):
    with authority.store.reading() as books:
        seen = []
        books.connection.set_trace_callback(seen.append)
        query = EventQuery(tenant, None, (), Window(None, None))
        list(books.find_events(query, (stored.clock.now, "x"), 2))
        books.connection.set_trace_callback(None)
        found = " ".join(row[3] for row in books.connection.execute(f"EXPLAIN QUERY PLAN {seen[0]}"))
    assert f"USING INDEX {goes_by}" in found, found
    assert "TEMP B-TREE" not in found
