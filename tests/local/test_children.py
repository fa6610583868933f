"""Budgets that scopes get when they are first used, on both stores."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cycles import tokens
from cycles.errors import InvalidRequest
from tests.support.authorities import SCOPE
from tests.support.wire import failed

ANY = f"{SCOPE}/workspace:*"


@pytest.fixture
def shop(authority):
    """A tenant with much, of which each customer gets little a day."""
    authority.budget(SCOPE, tokens(1000))
    authority.budget(ANY, tokens(100), period="day")
    return authority


def of(workspace, **more):
    return {"subject": {"tenant": "acme", "workspace": workspace, **more}}


def paths(authority):
    return [row.scope_path for row in authority.balances()]


def test_a_customer_without_a_row_gets_one_and_cant_spend_the_parents_all(shop, wire):
    assert failed(wire.reserve(101, **of("Eve")), 409, "BUDGET_EXCEEDED")
    assert paths(shop) == [SCOPE], "a refusal makes no row"
    held = wire.reserve(60, **of("Eve"))
    assert [row["scope_path"] for row in held.json()["balances"]] == [SCOPE, f"{SCOPE}/workspace:eve"]
    assert failed(wire.reserve(41, **of("Eve")), 409, "BUDGET_EXCEEDED")
    assert failed(wire.event(41, **of("eve"), overage_policy="REJECT"), 409, "BUDGET_EXCEEDED")
    wire.commit(held, 50)
    row = shop.balance(f"{SCOPE}/workspace:eve", "TOKENS")
    assert (row.tenant, row.spent, row.remaining, row.period.kind) == ("acme", 50, 50, "day")
    assert wire.event(5, **of("Mallory")).status_code == 201
    assert shop.balance(SCOPE, "TOKENS").spent == 55
    assert shop.check() == []


def test_asking_makes_no_row(shop, wire):
    assert wire.decide(100, **of("eve")).json()["decision"] == "ALLOW"
    assert wire.decide(101, **of("eve")).json()["deny_detail"]["blocked_by_scope"] == f"{SCOPE}/workspace:eve"
    assert len(wire.reserve(100, dry_run=True, **of("eve")).json()["balances"]) == 2
    assert paths(shop) == [SCOPE]


def test_it_begins_anew_like_any_other(shop, wire, clock):
    wire.event(100, **of("eve"))
    refused = wire.reserve(1, **of("eve"))
    clock.now += refused.json()["details"]["retry_after_ms"]
    assert wire.reserve(100, **of("eve")).status_code == 200


def test_what_names_more_of_the_scope_counts_and_what_is_there_stays(shop, wire):
    shop.budget(f"{ANY}/agent:*", tokens(7))
    shop.budget(f"{SCOPE}/workspace:big/agent:*", tokens(50))
    shop.budget(f"{ANY}/agent:tiny", tokens(1))
    shop.budget(f"{SCOPE}/workspace:vip", tokens(900))
    for workspace, agent, most in (("a", "x", 7), ("big", "x", 50), ("a", "tiny", 1), ("big", "tiny", 50)):
        assert failed(wire.reserve(most + 1, **of(workspace, agent=agent)), 409, "BUDGET_EXCEEDED")
        assert wire.reserve(most, **of(workspace, agent=agent)).status_code == 200
    assert wire.reserve(500, **of("vip")).status_code == 200
    shop.budget(ANY, tokens(5))
    assert shop.balance(f"{SCOPE}/workspace:a", "TOKENS").allocated == 100
    assert failed(wire.reserve(6, **of("new")), 409, "BUDGET_EXCEEDED")


def test_only_in_its_unit_and_of_its_tenant(shop, wire):
    assert failed(wire.reserve(1, unit="CREDITS", **of("eve")), 400, "UNIT_MISMATCH")
    shop.budget("tenant:other/workspace:*", tokens(3))
    assert wire.reserve(4, **of("eve")).status_code == 200


def test_it_needs_no_budget_above(authority, wire):
    authority.ensure_budget(ANY, tokens(9))
    assert authority.ensure_budget(ANY, tokens(99)).allocated == 9
    assert wire.reserve(9, **of("eve")).status_code == 200
    assert failed(wire.reserve(1), 404, "NOT_FOUND")


def test_it_is_listed_and_taken_away(shop, wire):
    (row,) = shop.defaults()
    assert (row.scope_path, row.allocated, row.period.kind) == (ANY, 100, "day")
    shop.tenant("acme", name="Acme")
    assert len(shop.defaults()) == 1, "other settings leave it alone"
    shop.close_budget(ANY, "TOKENS")
    assert shop.defaults() == []
    assert len(wire.reserve(500, **of("eve")).json()["balances"]) == 1
    with pytest.raises(InvalidRequest, match="no default"):
        shop.close_budget(ANY, "TOKENS")


@pytest.mark.parametrize(
    "scope", ["tenant:*", "tenant:*/agent:x", f"{SCOPE}/workspace:a*", f"{SCOPE}/*", "*", f"{SCOPE}/x:*"]
)
def test_no_pattern(authority, scope):
    with pytest.raises(InvalidRequest, match="scope="):
        authority.budget(scope, tokens(1))


def test_no_period_and_nothing_else_goes_with_it(shop):
    for fields in ({"period": "year"}, {"zone": "UTC"}, {"caps": {"max_tokens": 1}}, {"overdraft_limit": tokens(1)}):
        with pytest.raises(InvalidRequest):
            shop.budget(ANY, tokens(1), **fields)
    with pytest.raises(InvalidRequest):
        shop.fund(ANY, "CREDIT", tokens(1))
    assert shop.defaults()[0].allocated == 100


def test_many_first_uses_at_once_make_one_row(shop, wire):
    start = threading.Barrier(6)

    def first(number):
        start.wait()
        return wire.reserve(30, key=f"first-{number}", **of("eve")).status_code

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(first, range(6))) == [200] * 3 + [409] * 3
    assert shop.balance(f"{SCOPE}/workspace:eve", "TOKENS").reserved == 90
    assert shop.check() == []
