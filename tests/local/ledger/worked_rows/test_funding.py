"""What operators do to budgets, and to tenants."""

from __future__ import annotations

import pytest

from cycles.local.ledger import funding
from cycles.local.ledger.books import MemoryBooks
from cycles.local.ledger.keys import ApiKey
from cycles.local.ledger.values import Tenant
from tests.local.ledger.world import shows

from .expected import refused

OWING = {"allocated": 1000, "spent": 1000, "debt": 50, "overdraft_limit": 100}


@pytest.mark.parametrize(
    ("row", "start", "operation", "amount", "spent", "figures"),
    [
        ("F1", OWING, "CREDIT", 200, None, {"A": 1200, "R": 150, "D": 50}),
        ("F3", OWING, "RESET", 2000, None, {"A": 2000, "R": 950, "S": 1000, "D": 50}),
        ("F4", OWING, "RESET_SPENT", 2000, None, {"A": 2000, "R": 1950, "S": 0, "D": 50}),
        ("F5", OWING, "REPAY_DEBT", 30, None, {"D": 20, "R": -20}),
        ("F6", OWING, "REPAY_DEBT", 80, None, {"A": 1030, "D": 0, "R": 30}),
        ("F7", {"allocated": 1000, "spent": 1000, "is_over_limit": True}, "CREDIT", 500, None, {"R": 500, "O": False}),
        ("G1", {"allocated": 1000, "spent": 1000, "is_over_limit": True}, "CREDIT", 0, None, {"R": 0, "O": False}),
        ("F8", {"allocated": 1000, "reserved": 400, "spent": 300}, "RESET", 500, None, {"R": -200}),
        ("F8", {"allocated": 1000, "reserved": 400, "spent": 300}, "RESET_SPENT", 500, None, {"R": 100, "S": 0}),
        ("F8", {"allocated": 1000, "reserved": 400, "spent": 300}, "RESET_SPENT", 500, 120, {"R": -20, "S": 120}),
        ("F8", {"allocated": 1000, "reserved": 400, "spent": 300}, "DEBIT", 300, None, {"A": 700, "R": 0}),
    ],
)
def test_funding(ledger, row, start, operation, amount, spent, figures):
    ledger.budget(**start)
    ledger.fund(operation, amount, spent)
    assert shows(ledger.row(), **figures)


def test_funding_refusals(ledger):
    ledger.budget(**OWING)
    with refused("BUDGET_EXCEEDED"):  # F2
        ledger.fund("DEBIT", 1)
    ledger.budget(1000, reserved=400, spent=300)
    with refused("BUDGET_EXCEEDED"):  # F8
        ledger.fund("DEBIT", 301)
    for status in ("FROZEN", "CLOSED"):  # G3
        ledger.budget(1000, status=status)
        with refused(f"BUDGET_{status}"):
            ledger.fund("CREDIT", 1)
    ledger.budget(1000)
    with refused("INVALID_REQUEST", 400):
        ledger.fund("CREDIT", 1, spent=1)


def test_g4_closing_a_tenant_revokes_its_keys():
    """On the pure ledger; local/admin/test_http.py does so over HTTP."""
    books = MemoryBooks()
    for number, tenant in enumerate(("t1", "t2", "t1")):
        books.put_key(ApiKey(f"key_{number}", f"hash {number}", tenant, created_at_ms=9 - number))
    assert [key.key_id for key in books.keys(None)] == ["key_2", "key_1", "key_0"]
    funding.set_tenant(books, Tenant("t1", status="CLOSED"), now_ms=10)
    assert [(key.key_id, key.revoked_at_ms) for key in books.keys("t1")] == [("key_2", 10), ("key_0", 10)]
    assert [key.revoked_at_ms for key in books.keys("t2")] == [None]
