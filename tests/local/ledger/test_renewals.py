"""Budgets that begin anew, on the ledger's algebra alone: a naive model keeps one account for each period."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cycles.local.ledger import funding
from cycles.local.ledger.periods import window
from cycles.local.ledger.renewals import as_of
from cycles.local.ledger.values import Refusal, changed

from .world import AGENT, TENANT, Ledger

HOUR = 3_600_000
MIDNIGHT = 1_800_057_600_000  # in UTC


def daily(amount: int, *, kind: str = "day", zone: str | None = None, scope: str = TENANT, **fields: Any) -> Ledger:
    """A ledger ten seconds before midnight, with a budget that begins anew then."""
    ledger = Ledger()
    ledger.now = MIDNIGHT - 10_000
    given = {"scope_path": scope, "unit": "TOKENS", "tenant": "t1", "now_ms": ledger.now, "period": kind, "zone": zone}
    funding.set_budget(ledger.books, allocated=amount, **given, **fields)
    return ledger


def now_at(ledger: Ledger, scope: str = TENANT) -> dict[str, int]:
    row = as_of(ledger.books.budget(scope, "TOKENS"), ledger.now)
    return dict(zip("ARVSD", (row.allocated, row.remaining, row.reserved, row.spent, row.debt), strict=True))


def refused(ledger: Ledger, amount: int) -> Refusal:
    with pytest.raises(Refusal) as caught:
        ledger.reserve(amount)
    return caught.value


def test_exact_at_the_boundary():
    ledger = daily(100)
    ledger.event(100)
    ledger.now = MIDNIGHT - 1
    assert refused(ledger, 1).code == "BUDGET_EXCEEDED"
    ledger.now = MIDNIGHT
    assert now_at(ledger) == {"A": 100, "R": 100, "V": 0, "S": 0, "D": 0}
    ledger.reserve(100)
    assert refused(ledger, 1).code == "BUDGET_EXCEEDED"


def test_unused_is_not_carried_over():
    ledger = daily(100)
    ledger.event(10)
    ledger.now += 10 * 24 * HOUR
    assert refused(ledger, 101).details["remaining"] == 100


def test_a_hold_is_settled_in_its_own_period():
    ledger = daily(100)
    early, late, dropped = ledger.reserve(40, ttl_ms=60_000), ledger.reserve(50, ttl_ms=60_000), ledger.reserve(5)
    ledger.now = MIDNIGHT + 1
    fresh = ledger.reserve(90, ttl_ms=600_000)
    assert now_at(ledger) == {"A": 100, "R": 10, "V": 90, "S": 0, "D": 0}
    shown = ledger.commit(early, 30)["balances"][0]
    figures = [shown[name]["amount"] for name in ("remaining", "reserved", "spent", "allocated")]
    assert figures == [15, 55, 30, 100], "the answer is about the period that was charged"
    assert ledger.commit(late, 80)["charged"]["amount"] == 50 + 15, "no more than its own period had left"
    ledger.release(dropped)
    assert now_at(ledger) == {"A": 100, "R": 10, "V": 90, "S": 0, "D": 0}
    assert ledger.commit(fresh, 60)["charged"]["amount"] == 60
    assert now_at(ledger) == {"A": 100, "R": 40, "V": 0, "S": 60, "D": 0}
    past = ledger.books.past(TENANT, "TOKENS", 0)
    assert (past.spent, past.reserved, past.remaining, past.is_over_limit) == (95, 0, 5, True)
    assert not ledger.books.budget(TENANT, "TOKENS").is_over_limit


def test_the_first_thing_in_a_new_period_may_be_about_the_old_one():
    ledger = daily(100)
    held = ledger.reserve(40, ttl_ms=60_000)
    ledger.now = MIDNIGHT + 1
    ledger.commit(held, 40)
    assert now_at(ledger) == {"A": 100, "R": 100, "V": 0, "S": 0, "D": 0}
    ledger.event(1)
    assert ledger.books.past(TENANT, "TOKENS", 0).spent == 40
    assert now_at(ledger)["S"] == 1


def test_a_lease_may_outlive_several_periods():
    ledger = daily(100, kind="hour")
    held = ledger.reserve(40, ttl_ms=3_600_000)
    for _ in range(5):
        ledger.extend(held, HOUR)
        ledger.now += HOUR
        ledger.reserve(100, ttl_ms=1_000, grace_period_ms=0)
        ledger.now += 1_001
        ledger.sweep()
    assert ledger.extend(held, HOUR)["balances"][0]["reserved"]["amount"] == 40
    ledger.commit(held, 25)
    assert (now_at(ledger)["S"], ledger.books.past(TENANT, "TOKENS", 0).spent) == (0, 25)


def test_expired_holds_go_back_to_their_own_period():
    ledger = daily(100)
    ledger.reserve(60, ttl_ms=60_000)
    ledger.now = MIDNIGHT
    ledger.reserve(100, ttl_ms=3_600_000)
    ledger.now += 120_000
    assert ledger.sweep() == 1
    assert now_at(ledger) == {"A": 100, "R": 0, "V": 100, "S": 0, "D": 0}
    assert ledger.books.past(TENANT, "TOKENS", 0).remaining == 100


def test_only_some_of_the_scopes_begin_anew():
    ledger = daily(100, scope=AGENT)
    ledger.budget(1000)
    held = ledger.reserve(100, agent=True, ttl_ms=60_000)
    ledger.now = MIDNIGHT
    other = ledger.reserve(100, agent=True)
    ledger.commit(held, 90)
    assert now_at(ledger) == {"A": 1000, "R": 810, "V": 100, "S": 90, "D": 0}
    assert now_at(ledger, AGENT) == {"A": 100, "R": 0, "V": 100, "S": 0, "D": 0}
    assert ledger.hold(held).renewals is None
    assert ledger.hold(other).renewals == (0, 1)


def test_nothing_is_owed_in_a_new_period_and_a_capped_budget_opens():
    ledger = daily(100, overdraft_limit=20)
    ledger.event(110, overage_policy="ALLOW_WITH_OVERDRAFT")
    assert now_at(ledger)["D"] == 10
    ledger.now = MIDNIGHT
    assert now_at(ledger) == {"A": 100, "R": 100, "V": 0, "S": 0, "D": 0}
    capped = daily(100)
    capped.event(110)
    assert refused(capped, 0).code == "OVERDRAFT_LIMIT_EXCEEDED"
    capped.now = MIDNIGHT
    capped.reserve(100)


# -- clocks that step --------------------------------------------------------------------------------------------------
def test_a_period_that_has_begun_does_not_begin_again():
    ledger = daily(100)
    ledger.event(70)
    ledger.now = MIDNIGHT + 5
    ledger.event(100)
    ledger.now = MIDNIGHT - 5
    assert refused(ledger, 1).details["retry_after_ms"] == 24 * HOUR + 5
    ledger.now = MIDNIGHT + 6
    assert refused(ledger, 1).code == "BUDGET_EXCEEDED"
    ledger.now = MIDNIGHT + 24 * HOUR
    assert now_at(ledger)["R"] == 100


def test_an_operator_ends_a_period_that_began_by_a_wrong_clock():
    ledger = daily(100)
    ledger.now += 4000 * 24 * HOUR
    ledger.event(100)
    ledger.now = MIDNIGHT - 10_000
    given = {"scope_path": TENANT, "unit": "TOKENS", "tenant": "t1", "now_ms": ledger.now}
    row = funding.set_budget(ledger.books, allocated=100, **given, period="day")
    assert row.period.ends_ms == MIDNIGHT


# -- what helps --------------------------------------------------------------------------------------------------------
def test_a_denial_says_when_the_next_period_begins():
    ledger = daily(100)
    ledger.event(80)
    assert refused(ledger, 30).details["retry_after_ms"] == 10_000
    answer = ledger.decide(30)
    assert answer["retry_after_ms"] == 10_000
    assert answer["deny_detail"]["suggested_fix"].startswith("ask for at most")
    assert "begins anew, in 1 min" in answer["deny_detail"]["suggested_fix"]
    assert ledger.reserve(30, dry_run=True)["retry_after_ms"] == 10_000


def test_but_not_where_something_else_helps_or_nothing():
    ledger = daily(100)
    ledger.reserve(80)
    assert "retry_after_ms" not in refused(ledger, 30).details, "a reservation may end before"
    assert "retry_after_ms" not in refused(ledger, 101).details, "no period has that much"
    assert "retry_after_ms" not in ledger.decide(101)
    ledger.status("FROZEN")
    assert "retry_after_ms" not in refused(ledger, 1).details
    plain = Ledger()
    plain.budget(10)
    assert "retry_after_ms" not in refused(plain, 11).details


# -- operators ---------------------------------------------------------------------------------------------------------
def test_what_is_credited_is_of_this_period_and_what_is_set_stays():
    ledger = daily(100)
    ledger.fund("CREDIT", 50)
    assert now_at(ledger)["A"] == 150
    ledger.now = MIDNIGHT
    assert now_at(ledger)["A"] == 100
    ledger.fund("DEBIT", 30)
    assert now_at(ledger)["A"] == 70
    ledger.fund("RESET", 60)
    ledger.now += 24 * HOUR
    assert now_at(ledger)["A"] == 60
    ledger.fund("RESET_SPENT", 40)
    ledger.now += 24 * HOUR
    assert now_at(ledger)["A"] == 40


def test_a_budget_can_get_a_period_change_it_and_lose_it():
    ledger = Ledger()
    ledger.now = MIDNIGHT - 10_000
    ledger.budget(100)
    held = ledger.reserve(30, ttl_ms=3_600_000)

    def put(amount: int, **fields: Any) -> Any:
        given = {"scope_path": TENANT, "unit": "TOKENS", "tenant": "t1", "now_ms": ledger.now}
        return funding.set_budget(ledger.books, allocated=amount, **given, **fields)

    assert put(100, period="day").reserved == 30, "what is held is of the period that it was held in: the present one"
    ledger.now = MIDNIGHT
    later = ledger.reserve(100, ttl_ms=3_600_000)
    row = put(120, zone="Europe/Berlin", period="week")
    assert (row.allocated, row.reserved, row.period.kind, row.period.zone) == (120, 100, "week", "Europe/Berlin")
    row = put(130)
    assert (row.allocated, row.period.amount, row.period.kind) == (130, 130, "week")
    assert put(130, period="none").period is None
    ledger.now += 30 * 60_000
    ledger.commit(held, 10)
    ledger.commit(later, 20)
    assert now_at(ledger) == {"A": 130, "R": 110, "V": 0, "S": 20, "D": 0}
    assert put(50, period="hour").renewals == 1
    ledger.now += HOUR
    assert now_at(ledger) == {"A": 50, "R": 50, "V": 0, "S": 0, "D": 0}


def test_taking_the_period_away_in_a_new_one_keeps_what_is_held_in_the_old_one():
    ledger = daily(100)
    held = ledger.reserve(30, ttl_ms=3_600_000)
    ledger.now = MIDNIGHT
    given = {"scope_path": TENANT, "unit": "TOKENS", "tenant": "t1", "now_ms": ledger.now}
    funding.set_budget(ledger.books, allocated=70, **given, period="none")
    ledger.commit(held, 25)
    assert now_at(ledger) == {"A": 70, "R": 70, "V": 0, "S": 0, "D": 0}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"period": "year"}, "period='year': choose one of hour, day, week, month, none"),
        ({"period": "day", "zone": "Mars"}, "zone='Mars': give UTC"),
        ({"zone": "UTC"}, "give a period too"),
    ],
)
def test_no_period(fields, said):
    ledger = Ledger()
    with pytest.raises(Refusal, match=said):
        funding.set_budget(
            ledger.books, scope_path=TENANT, unit="TOKENS", allocated=1, tenant="t1", now_ms=MIDNIGHT, **fields
        )


def test_a_closed_budget_keeps_its_figures():
    ledger = daily(100)
    ledger.event(30)
    ledger.status("CLOSED")
    ledger.now = MIDNIGHT
    assert now_at(ledger)["S"] == 30


# -- any order of things -----------------------------------------------------------------------------------------------
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("time"), st.sampled_from([1, 999, 10_000, HOUR // 2, HOUR, 25 * HOUR, -1, -5_000, -2 * HOUR])
        ),
        st.tuples(st.just("reserve"), st.integers(0, 60)),
        st.tuples(st.just("commit"), st.integers(0, 90)),
        st.tuples(st.just("release"), st.just(0)),
        st.tuples(st.just("event"), st.integers(0, 60)),
    ),
    max_size=40,
)


@settings(max_examples=60)
@given(st.sampled_from(["hour", "day"]), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]), steps)
def test_one_account_for_each_period(kind, zone, script):
    """Whatever the clock does: an account has its amount once, and each charge is in the account of its hold."""
    ledger = daily(100, kind=kind, zone=zone)
    accounts = [{"held": 0, "spent": 0, "over": False}]
    ends = window(kind, zone, ledger.now)[1]
    live: list[tuple[dict[str, Any], int, int]] = []

    def left(account: dict[str, Any]) -> int:
        return 100 - account["held"] - account["spent"]

    for what, amount in script:
        if what == "time":
            ledger.now += amount
            continue
        if what in ("reserve", "event") and ledger.now >= ends:
            ends = window(kind, zone, ledger.now)[1]
            accounts.append({"held": 0, "spent": 0, "over": False})
        account = accounts[-1]
        if what == "reserve":
            if account["over"] or left(account) < amount:
                refused(ledger, amount)
                if ledger.books.budget(TENANT, "TOKENS").renewals < len(accounts) - 1:  # a refusal writes nothing
                    accounts.pop()
                    ends = ledger.books.budget(TENANT, "TOKENS").period.ends_ms
                continue
            live.append((ledger.reserve(amount, ttl_ms=3_600_000), len(accounts) - 1, amount))
            ledger.books.put_hold(changed(ledger.hold(live[-1][0]), expires_at_ms=2 * MIDNIGHT))
            account["held"] += amount
        elif what == "event":
            charged = min(amount, left(account))
            account["over"] |= charged < amount
            account["spent"] += charged
            assert ledger.event(amount).get("charged", {"amount": amount})["amount"] == charged
        elif live:
            held, number, estimate = live.pop()
            account = accounts[number]
            if what == "release":
                ledger.release(held)
                account["held"] -= estimate
                continue
            extra = min(max(amount - estimate, 0), left(account))
            account["over"] |= extra < amount - estimate
            account["held"] -= estimate
            account["spent"] += min(amount, estimate) + extra
            assert ledger.commit(held, amount)["charged"]["amount"] == min(amount, estimate) + extra
    rows = {row.renewals: row for row in (*ledger.books.past_budgets.values(), ledger.books.budget(TENANT, "TOKENS"))}
    assert sorted(rows) == list(range(len(accounts)))
    for number, account in enumerate(accounts):
        row = rows[number]
        assert (row.reserved, row.spent, row.is_over_limit) == (account["held"], account["spent"], account["over"])
        assert row.remaining == left(account) >= 0
