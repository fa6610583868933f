"""The six runtime events: noted beside the rows, published when the transaction has committed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cycles import tokens
from cycles.local import LocalAuthority, ManualClock
from cycles.local.ledger.values import Refusal
from tests.support.authorities import ADMIN_KEY, SCOPE
from tests.support.wire import Wire

from .world import AGENT, TENANT, Ledger


class Noted(Ledger):
    """A ledger whose notices are looked at step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.books.notices = []

    def notices(self) -> list[tuple[str, str]]:
        """(type, scope) of what was noted since the last look."""
        noted, self.books.notices = self.books.notices, []
        assert noted is not None
        return [(notice.type, notice.scope) for notice in noted]


@pytest.fixture
def ledger():
    return Noted()


def kinds(authority):
    return [event.type for event in authority.events]


# -- the pure layer ----------------------------------------------------------------------------------------------------
def test_a_reserve_of_all_that_remains_exhausts(ledger):
    ledger.budget(100)
    ledger.reserve(99)
    assert ledger.notices() == []
    ledger.reserve(1)
    assert ledger.notices() == [("budget.exhausted", TENANT)]
    ledger.reserve(0)
    assert ledger.notices() == [], "it was at zero before"


def test_only_the_scope_that_is_exhausted_says_so(ledger):
    ledger.budget(100)
    ledger.budget(50, AGENT)
    ledger.reserve(50, agent=True)
    assert ledger.notices() == [("budget.exhausted", AGENT)]


def test_a_commit_within_the_estimate_has_nothing_to_tell(ledger):
    ledger.budget(100)
    first, second = ledger.reserve(60), ledger.reserve(40)
    ledger.notices()
    ledger.commit(first, 60)
    ledger.commit(second, 10)
    assert ledger.notices() == []


def test_an_overage_is_told_also_when_it_is_capped(ledger):
    """Worked rows 6 and 7: the overage that is covered, and the one that closes the scope."""
    ledger.budget(1000)
    ledger.commit(ledger.reserve(500), 800)
    assert ledger.notices() == [("reservation.commit_overage", TENANT)]
    ledger.commit(ledger.reserve(100), 700)
    assert ledger.notices() == [
        ("reservation.commit_overage", TENANT),
        ("budget.exhausted", TENANT),
        ("budget.over_limit_entered", TENANT),
    ]


def test_an_overage_of_which_nothing_is_charged_is_one(ledger):
    """Worked row 8: nothing was left, so what was charged is the estimate."""
    ledger.budget(800)
    held = ledger.reserve(800)
    ledger.notices()
    assert ledger.commit(held, 900)["charged"]["amount"] == 800
    assert ledger.notices() == [("reservation.commit_overage", TENANT), ("budget.over_limit_entered", TENANT)]
    ledger.event(5)
    assert ledger.notices() == [], "it was over the limit before"


def test_debt_is_told_per_scope_and_is_no_exhaustion(ledger):
    """Worked row 17: the parent without a limit caps, the child owes."""
    ledger.budget(150)
    ledger.budget(120, AGENT, overdraft_limit=50)
    held = ledger.reserve(100, agent=True, overage_policy="ALLOW_WITH_OVERDRAFT")
    ledger.commit(held, 200)
    assert ledger.notices() == [
        ("reservation.commit_overage", AGENT),
        ("budget.exhausted", TENANT),
        ("budget.over_limit_entered", TENANT),
        ("budget.debt_incurred", AGENT),
    ]


def test_an_overage_that_is_refused_tells_nothing(ledger):
    ledger.budget(1000)
    held = ledger.reserve(500, overage_policy="REJECT")
    with pytest.raises(Refusal):
        ledger.commit(held, 501)
    assert ledger.notices() == []


def test_events_move_budgets_too(ledger):
    ledger.budget(1000, overdraft_limit=100)
    ledger.event(1080, overage_policy="ALLOW_WITH_OVERDRAFT")
    assert ledger.notices() == [("budget.debt_incurred", TENANT)]


def test_what_time_ends_and_what_is_given_back(ledger):
    ledger.budget(100)
    ledger.reserve(100, ttl_ms=1000, grace_period_ms=0)
    ledger.release(ledger.reserve(0))
    ledger.notices()
    ledger.now += 1001
    ledger.sweep()
    assert ledger.notices() == [("reservation.expired", TENANT)]


def test_a_denial_is_told_only_where_it_is_an_answer(ledger):
    ledger.budget(10)
    ledger.decide(11)
    assert ledger.reserve(11, dry_run=True)["decision"] == "DENY"
    assert ledger.notices() == [("reservation.denied", TENANT)] * 2
    with pytest.raises(Refusal):
        ledger.reserve(11)
    ledger.decide(10)
    ledger.reserve(10, dry_run=True)
    assert ledger.notices() == []


def test_operators_publish_none_of_these(ledger):
    ledger.budget(100)
    ledger.fund("DEBIT", 100)
    assert ledger.row()["R"] == 0
    assert ledger.notices() == []


def test_replays_tell_nothing(ledger):
    ledger.budget(100)
    held = ledger.reserve(50, key="r")
    ledger.commit(held, 100, key="c")
    ledger.decide(1, key="d")
    ledger.reserve(1, key="dry", dry_run=True)
    ledger.event(7, key="e")
    assert len(ledger.notices()) == 5
    ledger.reserve(50, key="r")
    ledger.commit(held, 100, key="c")
    assert ledger.decide(1, key="d")["decision"] == "DENY"
    ledger.reserve(1, key="dry", dry_run=True)
    ledger.event(7, key="e")
    assert ledger.notices() == []


# -- published ---------------------------------------------------------------------------------------------------------
def test_an_event_says_what_whose_when_and_why(wire, authority, clock):
    authority.budget(SCOPE, tokens(10))
    asked = wire.decide(11)
    (event,) = authority.events
    assert (event.type, event.category, event.tenant_id, event.scope) == (
        "reservation.denied",
        "reservation",
        "acme",
        SCOPE,
    )
    assert event.event_id.startswith("evt_")
    assert len(event.event_id) == 20
    assert int(event.event_id[4:], 16) >= 0
    assert event.timestamp == datetime.fromtimestamp(clock.now / 1000, UTC)
    assert event.actor == {"type": "api_key"}
    assert event.request_id == asked.headers["X-Request-Id"]
    assert event.trace_id == asked.headers["X-Cycles-Trace-Id"]
    assert event.data["reason_code"] == "BUDGET_EXCEEDED"
    assert event.data["estimate"] == {"unit": "TOKENS", "amount": 11}


def test_figures_of_an_overage(wire, authority):
    authority.budget(SCOPE, tokens(10))
    held = wire.reserve(6)
    wire.commit(held, 12)
    overage, exhausted, over_limit = authority.events
    assert overage.data == {
        "reservation_id": held.json()["reservation_id"],
        "unit": "TOKENS",
        "estimate": 6,
        "actual": 12,
        "charged": 10,
    }
    assert exhausted.data == {"unit": "TOKENS", "remaining": 0, "allocated": 10, "reserved": 0, "spent": 10}
    assert over_limit.data == {"unit": "TOKENS", "debt": 0, "overdraft_limit": 0, "is_over_limit": True}
    assert {event.request_id for event in authority.events} == {overage.request_id}


def test_what_expired_is_nobodys_request(wire, authority, clock):
    authority.budget(SCOPE, tokens(10))
    wire.reserve(1)
    clock.now += 3_600_000
    assert wire.decide(1).is_success, "a transaction of somebody's, in which the hold is swept"
    (event,) = authority.events
    assert (event.type, event.actor, event.request_id, event.trace_id) == (
        "reservation.expired",
        {"type": "system"},
        None,
        None,
    )


def test_a_transaction_that_is_undone_publishes_nothing(authority, wire, monkeypatch):
    """The ledger noted that the hold expired; then the operation of the same transaction was refused."""
    authority.budget(SCOPE, tokens(10))

    class Undone(Exception):
        pass

    with pytest.raises(Undone), authority.store.writing() as books:
        books.notices.append("would be published")
        raise Undone
    assert authority.events == []


def test_a_refused_request_publishes_no_expiry_that_was_undone_with_it(authority, wire, clock):
    authority.budget(SCOPE, tokens(10))
    wire.reserve(6)
    clock.now += 3_600_000
    assert wire.reserve(11).status_code == 409
    # On SQLite the refusal undid the sweep before it; on PostgreSQL that is a transaction of its own. It is told once.
    assert kinds(authority) == ([] if authority.store.is_memory else ["reservation.expired"])
    assert authority.sweep() == (1 if authority.store.is_memory else 0)
    assert kinds(authority) == ["reservation.expired"]


def test_the_administrator_is_named(authority, wire, clock):
    authority.budget(SCOPE, tokens(10))
    held = wire.reserve(1).json()["reservation_id"]
    wire.http.post(
        f"/v1/reservations/{held}/release", json={"idempotency_key": "k"}, headers={"X-Admin-API-Key": ADMIN_KEY}
    )
    assert authority.requests[-1].status == 200
    assert authority.requests[-1].tenant is None


def test_authorities_do_not_mix():
    clock = ManualClock()
    with LocalAuthority(clock=clock) as one, LocalAuthority(clock=clock) as other:
        for each in (one, other):
            each.budget(SCOPE, tokens(10))
        with Wire(one, clock).http as http:
            http.post("/v1/decide", json=Wire(one, clock).ask(11))
        one.faults.fail()
        assert (len(one.events), len(other.events)) == (1, 0)
        assert (len(one.requests), len(other.requests)) == (1, 0)
        assert (len(one.faults), len(other.faults)) == (1, 0)


def test_a_replay_over_the_wire_publishes_nothing(wire, authority):
    authority.budget(SCOPE, tokens(10))
    for _ in range(3):
        assert wire.decide(11, key="same").json()["decision"] == "DENY"
    assert kinds(authority) == ["reservation.denied"]
