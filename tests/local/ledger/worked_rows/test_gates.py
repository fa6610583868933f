"""What is refused, by which budget, in which order; a refusal changes nothing."""

from __future__ import annotations

import pytest
from attrs import evolve

from cycles.local.ledger.values import INT64_MAX, Tenant
from tests.local.ledger.world import AGENT, TENANT, shows

from .expected import only_pure, refused


def test_20_freeze_after_reserve(ledger):
    ledger.budget(1000)
    held = ledger.reserve(400)
    ledger.status("FROZEN")
    ledger.commit(held, 300)
    assert shows(ledger.row(), R=700, S=300)
    with refused("BUDGET_FROZEN"):
        ledger.reserve(1)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"status": "FROZEN", "is_over_limit": True, "debt": 5}, "BUDGET_FROZEN"),
        ({"status": "CLOSED", "is_over_limit": True}, "BUDGET_CLOSED"),
        ({"is_over_limit": True, "debt": 5}, "OVERDRAFT_LIMIT_EXCEEDED"),
        ({"debt": 5}, "DEBT_OUTSTANDING"),
        ({"debt": 5, "overdraft_limit": 10}, "BUDGET_EXCEEDED"),
        ({}, "BUDGET_EXCEEDED"),
    ],
)
def test_21_gate_order(ledger, fields, code):
    ledger.budget(1000, **fields)
    with refused(code):
        ledger.reserve(5000)
    assert ledger.decide(5000)["reason_code"] == code
    assert ledger.reserve(5000, dry_run=True)["reason_code"] == code


def test_22_parent_first(ledger):
    ledger.budget(10)
    ledger.budget(1000, AGENT, status="FROZEN")
    with refused("BUDGET_EXCEEDED"):
        ledger.reserve(50, agent=True)


def test_23_atomic_refusal(ledger):
    ledger.budget(1000)
    ledger.budget(10, AGENT)
    with refused("BUDGET_EXCEEDED"):
        ledger.reserve(50, agent=True)
    assert shows(ledger.row(), R=1000, V=0)


def test_24_beyond_doubles(ledger):
    ledger.budget(9007199254741003)
    answer = ledger.commit(ledger.reserve(9007199254740993), 9007199254740993)
    assert answer["charged"]["amount"] == 9007199254740993
    assert shows(ledger.row(), R=10, S=9007199254740993)
    ledger.budget(INT64_MAX)
    assert ledger.reserve(INT64_MAX)["reserved"]["amount"] == INT64_MAX


@pytest.mark.parametrize("ledger", ["pure", "memory"], indirect=True)  # PostgreSQL's table takes no such row
def test_24_what_would_not_fit_int64_changes_nothing(ledger):
    """Debt makes room for spend beyond the allocation, so spent could pass int64: the whole transaction fails."""
    ledger.budget(INT64_MAX, spent=INT64_MAX - 5, debt=0, overdraft_limit=0)
    ledger.budget(100, AGENT)
    row = ledger.books.budget(TENANT, "TOKENS")
    ledger.books.put_budget(evolve(row, reserved=-20, remaining=25))  # a row that only a defect could make
    with refused("INTERNAL_ERROR", 500):
        ledger.event(10, agent=True)
    assert shows(ledger.row(AGENT), R=100, S=0)


def test_25_unit_mismatch(ledger):
    ledger.budget(10, AGENT, "USD_MICROCENTS")
    with refused("UNIT_MISMATCH", 400) as caught:
        ledger.reserve(50, agent=True)
    assert caught.value.details == {
        "scope": AGENT,
        "requested_unit": "TOKENS",
        "expected_units": ["USD_MICROCENTS"],
    }


def test_26_unit_mismatch_first_scope_wins(ledger):
    ledger.budget(10, unit="CREDITS")
    ledger.budget(10, unit="USD_MICROCENTS")
    ledger.budget(10, AGENT, "RISK_POINTS")
    for ask in (ledger.reserve, ledger.decide, ledger.event):
        with refused("UNIT_MISMATCH", 400) as caught:
            ask(50, agent=True)
        assert caught.value.details["scope"] == TENANT
        assert caught.value.details["expected_units"] == ["USD_MICROCENTS", "CREDITS"]


def test_27_no_budget_anywhere(ledger):
    for ask in (ledger.reserve, ledger.event):
        with refused("NOT_FOUND", 404) as caught:
            ask(50, agent=True)
        assert caught.value.message.startswith(f"Budget not found for provided scope: {AGENT}")
    assert ledger.decide(50, agent=True)["reason_code"] == "BUDGET_NOT_FOUND"


def test_28_an_unbudgeted_leaf_is_skipped(ledger):
    ledger.budget(100)
    ledger.budget(100, AGENT, "USD_MICROCENTS")
    answer = ledger.reserve(50, agent=True)
    assert answer["affected_scopes"] == [TENANT, AGENT]
    assert [balance["scope_path"] for balance in answer["balances"]] == [TENANT]


@pytest.mark.slow
def test_40_runaway(ledger):
    scopes = [
        "tenant:t1",
        "tenant:t1/workspace:w",
        "tenant:t1/workspace:w/app:p",
        "tenant:t1/workspace:w/app:p/workflow:f",
        "tenant:t1/workspace:w/app:p/workflow:f/agent:a",
    ]
    for scope in scopes:
        ledger.budget(100_000_000, scope)
    subject = {"tenant": "t1", "workspace": "w", "app": "p", "workflow": "f", "agent": "a"}
    for _ in range(100):
        ledger.commit(ledger.reserve(1_000_000, subject=subject), 1_000_000)
    with refused("BUDGET_EXCEEDED") as caught:
        ledger.reserve(1_000_000, subject=subject)
    assert caught.value.details["scope"] == TENANT


# Over HTTP a closed tenant's keys are refused before: local/admin/test_http.py, row 41.
@only_pure
def test_41_tenant_closed(ledger):
    ledger.budget(1000)
    open_, done = ledger.reserve(100, key="x"), ledger.reserve(100)
    answer = ledger.commit(done, 50, "z")
    ledger.books.put_tenant(Tenant("t1", status="CLOSED"))
    for late in (
        lambda: ledger.reserve(1),
        lambda: ledger.commit(open_, 1),
        lambda: ledger.release(open_),
        lambda: ledger.extend(open_, 1),
        lambda: ledger.commit(done, 50, "new"),
        lambda: ledger.event(1),
    ):
        with refused("TENANT_CLOSED"):
            late()
    assert ledger.decide(1)["reason_code"] == "TENANT_CLOSED"
    assert ledger.reserve(100, key="x") == open_
    assert ledger.commit(done, 50, "z") == answer
    ledger.books.put_tenant(Tenant("t1", status="closed"))
    with refused("INTERNAL_ERROR", 500):
        ledger.reserve(1)
    ledger.books.put_tenant(Tenant("t1", status="SUSPENDED"))
    assert ledger.reserve(1)["decision"] == "ALLOW"
