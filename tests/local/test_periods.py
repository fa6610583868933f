"""Budgets that begin anew, on the wire, on both stores."""

from __future__ import annotations

import pytest

from cycles import BudgetExceeded, tokens
from cycles.errors import InvalidRequest
from cycles.local import Period
from cycles.local.ledger.periods import window
from tests.support.authorities import SCOPE
from tests.support.postgres import on_sqlite
from tests.support.wire import failed

HOUR = 3_600_000


@pytest.fixture
def daily(authority, clock):
    """Ten seconds before midnight in Berlin."""
    clock.now = window("day", "Europe/Berlin", clock.now)[1] - 10_000
    return authority.budget(SCOPE, tokens(100), period="day", zone="Europe/Berlin").period


def balance(wire):
    (shown,) = wire.get("/v1/balances", tenant="acme").json()["balances"]
    return tuple(shown[name]["amount"] for name in ("allocated", "remaining", "reserved", "spent"))


def test_a_denial_on_the_wire_says_when_to_ask_again(daily, wire, clock):
    wire.event(100)
    for said in (wire.decide(1).json(), wire.reserve(1, dry_run=True).json()):
        assert (said["decision"], said["retry_after_ms"]) == ("DENY", 10_000)
    clock.now += 1
    refused = wire.reserve(1)
    assert failed(refused, 409, "BUDGET_EXCEEDED")
    assert (refused.json()["details"]["retry_after_ms"], refused.headers["Retry-After"]) == (9_999, "10")
    assert "Retry-After" not in wire.reserve(101).headers
    clock.now = daily.ends_ms
    assert wire.reserve(100).status_code == 200


def test_everything_shows_the_new_period_from_its_first_millisecond_on(daily, authority, wire, clock):
    held = wire.reserve(30, ttl_ms=600_000)
    wire.event(20)
    clock.now = daily.ends_ms - 1
    assert balance(wire) == (100, 50, 30, 20)
    clock.now = daily.ends_ms
    assert balance(wire) == (100, 100, 0, 0)
    row = authority.balance(SCOPE, "TOKENS")
    assert (row.remaining, row.renewals) == (100, 1)
    assert row.period == Period("day", "Europe/Berlin", 100, daily.ends_ms, daily.ends_ms + 24 * HOUR)
    assert authority.balances() == [row]
    dry = wire.reserve(100, dry_run=True).json()
    assert dry["balances"][0]["remaining"]["amount"] == 100
    assert wire.reserve(100).status_code == 200
    assert wire.extend(held, 1_000).json()["balances"][0]["reserved"]["amount"] == 30
    assert wire.commit(held, 60).json()["charged"]["amount"] == 60
    assert balance(wire) == (100, 0, 100, 0)
    assert authority.check() == []


def test_what_expires_or_closes_goes_back_to_its_own_period(daily, authority, wire, clock):
    wire.reserve(30, ttl_ms=20_000, grace_period_ms=0)
    wire.reserve(10, ttl_ms=3_600_000)
    clock.now = daily.ends_ms
    wire.reserve(90, ttl_ms=3_600_000)
    clock.now += 30_000
    assert balance(wire) == (100, 10, 90, 0)
    assert authority.check() == []
    authority.tenant("acme", status="CLOSED")
    assert authority.check() == []
    assert authority.balance(SCOPE, "TOKENS").reserved == 0


def test_the_ledger_check_looks_into_periods_that_are_over(daily, authority, wire, clock):
    wire.reserve(30, ttl_ms=600_000)
    clock.now = daily.ends_ms
    wire.event(1)
    with authority.store.writing() as books:
        (past,) = books.all_past()
        books.put_past(past.__class__(**{**vars(past), "reserved": 10, "remaining": 90}))
    (problem,) = authority.check()
    assert "10 tokens reserved, and its reservations hold 30 tokens" in problem


def test_an_operators_calls_are_about_the_present_period(daily, authority, wire, clock):
    wire.event(100)
    clock.now = daily.ends_ms
    assert authority.fund(SCOPE, "CREDIT", tokens(20)).remaining == 120
    assert authority.freeze(SCOPE, "TOKENS").remaining == 120
    authority.unfreeze(SCOPE, "TOKENS")
    clock.now += 24 * HOUR
    assert authority.budget(SCOPE, tokens(70)).period.amount == 70
    assert authority.ensure_budget(SCOPE, tokens(5), period="hour").remaining == 70
    assert authority.ensure_budget(f"{SCOPE}/agent:a", tokens(5), period="hour").period.kind == "hour"
    with pytest.raises(InvalidRequest, match="choose one of hour, day"):
        authority.budget(SCOPE, tokens(70), period="fortnight")


@on_sqlite
def test_a_client_that_waits_knows(daily, authority, wire):
    wire.event(100)
    with authority.client(tenant="acme") as client, pytest.raises(BudgetExceeded) as caught:
        client.reserve(tokens(1), action=("k", "n"), wait=5)
    assert caught.value.retry_after == 10


YEARS = 12 * 365 * 24 * HOUR
BEYOND = 253_402_300_799_000  # the last second of 9999, in which no next period is known


def test_a_clock_that_steps_by_years_gives_nothing_twice(daily, authority, wire, clock):
    """As one that was wrong for a moment: the budget stays in its latest period until somebody sets it again."""
    here = clock.now
    held = wire.reserve(30, ttl_ms=600_000)
    clock.now += YEARS
    assert wire.event(100).status_code == 201
    clock.now = here
    refused = wire.reserve(1)
    assert failed(refused, 409, "BUDGET_EXCEEDED")
    row = authority.balance(SCOPE, "TOKENS")
    assert refused.json()["details"]["retry_after_ms"] == row.period.ends_ms - here > YEARS - 24 * HOUR
    assert failed(wire.commit(held, 30), 410, "RESERVATION_EXPIRED")
    assert authority.check() == []
    row = authority.budget(SCOPE, tokens(100), period="day")
    assert (row.period.starts_ms <= here < row.period.ends_ms, row.spent) == (True, 100)
    clock.now = row.period.ends_ms
    assert wire.reserve(100).status_code == 200
    assert authority.check() == []


def test_a_clock_beyond_the_calendar_refuses_and_comes_back(daily, authority, wire, clock):
    here = clock.now
    clock.now = BEYOND
    refused = wire.reserve(1)
    assert failed(refused, 500, "INTERNAL_ERROR")
    assert "set it right" in refused.json()["message"]
    clock.now = here
    assert wire.reserve(100).status_code == 200
    assert authority.check() == []


def test_a_budget_without_a_period_is_what_it_was(authority, wire, clock):
    row = authority.budget(SCOPE, tokens(100))
    assert (row.period, row.renewals) == (None, 0)
    wire.event(100)
    clock.now += 400 * 24 * HOUR
    refused = wire.reserve(1)
    assert failed(refused, 409, "BUDGET_EXCEEDED")
    assert "retry_after_ms" not in refused.json()["details"]
    assert "Retry-After" not in refused.headers
