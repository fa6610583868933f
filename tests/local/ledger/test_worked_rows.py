"""The worked rows of the ledger, on the pure ledger and over HTTP: a step, and each figure after it.

The names number the rows. Row 39 needs threads: store/test_sharing.py. G2 and G4 need the administration:
admin/test_http.py.
"""

from __future__ import annotations

import pytest
from attrs import evolve

from cycles.local import LocalAuthority
from cycles.local.ledger import funding
from cycles.local.ledger.books import MemoryBooks
from cycles.local.ledger.keys import ApiKey
from cycles.local.ledger.values import INT64_MAX, Refusal, Tenant
from tests.support.authorities import Clock
from tests.support.postgres import STORES, place_of

from .world import AGENT, TENANT, Ledger, Wired, shows

OVERDRAFT = {"overage_policy": "ALLOW_WITH_OVERDRAFT"}
REJECT = {"overage_policy": "REJECT"}


def refused(code: str, status: int = 409):
    """Expect a refusal with this code and status."""
    return pytest.raises(Refusal, check=lambda refusal: (refusal.code, refusal.status) == (code, status))


@pytest.fixture(params=["pure", *STORES])
def ledger(request):
    if request.param == "pure":
        yield Ledger()
        return
    clock = Clock()
    with place_of(request.param) as place, LocalAuthority(place, clock=clock, admin_key="of the rows") as authority:
        wired = Wired(authority, "of the rows", clock)
        with wired.http, wired.admin:
            yield wired


only_pure = pytest.mark.parametrize("ledger", ["pure"], indirect=True)


def test_01_reserve(ledger):
    ledger.budget(1000)
    answer = ledger.reserve(500)
    assert shows(ledger.row(), R=500, V=500, S=0)
    assert answer["remaining_ttl_ms"] == 60_000


@pytest.mark.parametrize(
    ("row", "amount", "released", "figures"),
    [
        (2, 300, 200, {"R": 700, "V": 0, "S": 300}),
        (3, 500, None, {"R": 500, "V": 0, "S": 500}),
        (4, 0, 500, {"R": 1000, "V": 0, "S": 0}),
        (6, 800, None, {"R": 200, "V": 0, "S": 800, "O": False}),
    ],
)
def test_02_03_04_06_commit(ledger, row, amount, released, figures):
    ledger.budget(1000)
    answer = ledger.commit(ledger.reserve(500), amount)
    assert answer["charged"]["amount"] == amount
    assert answer.get("released", {}).get("amount") == released
    assert shows(ledger.row(), **figures)


def test_05_reject_over_by_one(ledger):
    ledger.budget(1000)
    held = ledger.reserve(500, **REJECT)
    with refused("BUDGET_EXCEEDED"):
        ledger.commit(held, 501)
    assert shows(ledger.row(), R=500, V=500)
    assert ledger.hold(held).status == "ACTIVE"


@pytest.mark.parametrize(
    ("row", "allocated", "actual", "charged", "figures"),
    [
        (7, 1000, 1300, 1000, {"R": 0, "V": 0, "S": 1000, "D": 0, "O": True}),
        (8, 800, 900, 800, {"R": 0, "S": 800, "O": True}),
    ],
)
def test_07_08_capped(ledger, row, allocated, actual, charged, figures):
    ledger.budget(allocated)
    answer = ledger.commit(ledger.reserve(800), actual)
    assert answer["charged"]["amount"] == charged
    assert "released" not in answer
    assert shows(ledger.row(), **figures)
    with refused("OVERDRAFT_LIMIT_EXCEEDED"):
        ledger.reserve(0)


@pytest.mark.parametrize(
    ("row", "held", "actual", "figures"),
    [
        (9, 500, 900, {"R": 100, "S": 900, "D": 0}),
        (10, 800, 1050, {"R": -50, "S": 1000, "D": 50, "O": False}),
        (11, 800, 1100, {"R": -100, "S": 1000, "D": 100, "O": False}),
    ],
)
def test_09_10_11_overdraft(ledger, row, held, actual, figures):
    ledger.budget(1000, overdraft_limit=100)
    assert ledger.commit(ledger.reserve(held, **OVERDRAFT), actual)["charged"]["amount"] == actual
    assert shows(ledger.row(), **figures)


def test_12_overdraft_past_its_limit(ledger):
    ledger.budget(1000, overdraft_limit=100)
    held = ledger.reserve(800, **OVERDRAFT)
    with refused("OVERDRAFT_LIMIT_EXCEEDED"):
        ledger.commit(held, 1101)
    assert shows(ledger.row(), R=200, V=800)


def test_13_second_overdraft_from_below_zero(ledger):
    ledger.budget(1000, overdraft_limit=500)
    first, second = ledger.reserve(400, **OVERDRAFT), ledger.reserve(600, **OVERDRAFT)
    ledger.commit(first, 500)
    assert shows(ledger.row(), R=-100, V=600, S=400, D=100)
    ledger.commit(second, 650)
    assert shows(ledger.row(), R=-150, V=0, S=1000, D=150)
    for amount in (1, 0):
        with refused("BUDGET_EXCEEDED"):
            ledger.reserve(amount)


def test_14_debt_survives_an_under_spend(ledger):
    ledger.budget(1000, overdraft_limit=100)
    first, second = ledger.reserve(300, **OVERDRAFT), ledger.reserve(650, **OVERDRAFT)
    ledger.commit(first, 400)
    assert shows(ledger.row(), R=-50, V=650, S=350, D=50)
    ledger.commit(second, 500)
    assert shows(ledger.row(), R=100, V=0, S=850, D=50)
    ledger.reserve(100)
    with refused("BUDGET_EXCEEDED"):
        ledger.reserve(1)


def test_15_overdraft_without_a_limit_caps(ledger):
    ledger.budget(1000)
    assert ledger.commit(ledger.reserve(800, **OVERDRAFT), 1100)["charged"]["amount"] == 1000
    assert shows(ledger.row(), R=0, S=1000, D=0, O=True)


def test_16_only_the_short_scope_is_marked(ledger):
    ledger.budget(150)
    ledger.budget(1000, AGENT)
    assert ledger.commit(ledger.reserve(100, agent=True), 200)["charged"]["amount"] == 150
    assert shows(ledger.row(), R=0, S=150, O=True)
    assert shows(ledger.row(AGENT), R=850, S=150, O=False)


def test_17_a_parent_without_limit_caps_the_childs_debt(ledger):
    ledger.budget(150)
    ledger.budget(120, AGENT, overdraft_limit=50)
    assert ledger.commit(ledger.reserve(100, agent=True, **OVERDRAFT), 200)["charged"]["amount"] == 150
    assert shows(ledger.row(), R=0, S=150, O=True)
    assert shows(ledger.row(AGENT), D=30, R=-30, S=120, O=False)


def test_18_the_childs_limit_is_too_small(ledger):
    ledger.budget(130)
    ledger.budget(110, AGENT, overdraft_limit=10)
    held = ledger.reserve(100, agent=True, **OVERDRAFT)
    with refused("OVERDRAFT_LIMIT_EXCEEDED"):
        ledger.commit(held, 200)


def test_19_release(ledger):
    ledger.budget(1000)
    assert ledger.release(ledger.reserve(400))["released"]["amount"] == 400
    assert shows(ledger.row(), R=1000, V=0)


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


def test_29_extend_arithmetic(ledger):
    ledger.books.put_tenant(Tenant("t1", max_extensions=2))
    ledger.budget(1000)
    start = ledger.now
    held = ledger.reserve(400, ttl_ms=10_000)
    ledger.now = start + 4_000
    answer = ledger.extend(held, 30_000, "ek")
    assert (answer["expires_at_ms"], answer["remaining_ttl_ms"]) == (start + 40_000, 36_000)
    ledger.now = start + 9_000
    answer = ledger.extend(held, 30_000, "ek")
    assert (answer["expires_at_ms"], answer["remaining_ttl_ms"]) == (start + 40_000, 31_000)
    with refused("IDEMPOTENCY_MISMATCH"):
        ledger.extend(held, 31_000, "ek")
    answer = ledger.extend(held, 1_000, "ek2")
    assert (answer["expires_at_ms"], answer["remaining_ttl_ms"]) == (start + 41_000, 32_000)
    with refused("MAX_EXTENSIONS_EXCEEDED"):
        ledger.extend(held, 1_000, "ek3")
    answer = ledger.extend(held, 30_000, "ek")
    assert (answer["expires_at_ms"], answer["remaining_ttl_ms"]) == (start + 40_000, 31_000)


def test_30_deadlines(ledger):
    ledger.budget(1000)
    start = ledger.now
    held = ledger.reserve(400, ttl_ms=41_000)
    ledger.now = start + 41_001
    with refused("RESERVATION_EXPIRED", 410):
        ledger.extend(held, 1_000)
    for late in (41_000, 46_000):
        ledger.now = start + late
        assert ledger.sweep() == 0
    assert ledger.commit(held, 100)["charged"]["amount"] == 100


# Over HTTP overdue holds are given back first: wire/test_app.py, test_30_expiry.
@only_pure
def test_30_after_the_deadline(ledger):
    ledger.budget(1000)
    start = ledger.now
    held = ledger.reserve(400, ttl_ms=10_000)
    ledger.now = start + 15_001
    for late in (lambda: ledger.commit(held, 100), lambda: ledger.release(held)):
        with refused("RESERVATION_EXPIRED", 410):
            late()
    assert shows(ledger.row(), V=400)
    assert ledger.sweep() == 1
    assert shows(ledger.row(), V=0, R=1000)
    with refused("RESERVATION_EXPIRED", 410):
        ledger.commit(held, 100)


def test_31_extend_replay_after_release(ledger):
    ledger.budget(1000)
    start = ledger.now
    held = ledger.reserve(400, ttl_ms=10_000)
    ledger.extend(held, 5_000, "E")
    ledger.release(held)
    answer = ledger.extend(held, 5_000, "E")
    assert (answer["expires_at_ms"], answer["remaining_ttl_ms"]) == (start + 15_000, 0)
    with refused("RESERVATION_FINALIZED"):
        ledger.extend(held, 5_000, "new")


def test_32_reserve_replay(ledger):
    ledger.budget(1000)
    first = ledger.reserve(400, key="K")
    again = ledger.reserve(400, key="K", grace_period_ms=5000, dry_run=False)  # stated defaults do not count
    assert again == first
    assert shows(ledger.row(), V=400)
    with refused("IDEMPOTENCY_MISMATCH"):
        ledger.reserve(401, key="K")
    with refused("IDEMPOTENCY_MISMATCH"):
        ledger.reserve(400, key="K", dry_run=True)
    ledger.now += 100_000
    ledger.sweep()
    assert ledger.reserve(400, key="K") == first | {"remaining_ttl_ms": 0}


def test_33_errors_are_not_cached(ledger):
    ledger.budget(100)
    with refused("BUDGET_EXCEEDED"):
        ledger.reserve(400, key="K")
    ledger.fund("CREDIT", 1000)
    assert ledger.reserve(400, key="K")["decision"] == "ALLOW"
    with refused("IDEMPOTENCY_MISMATCH"):
        ledger.reserve(401, key="K")


def test_34_commit_idempotency(ledger):
    ledger.budget(1000)
    held = ledger.reserve(400)
    first = ledger.commit(held, 300, "c")
    assert ledger.commit(held, 300, "c") == first
    with refused("IDEMPOTENCY_MISMATCH"):
        ledger.commit(held, 301, "c")
    for again in (
        lambda: ledger.commit(held, 300, "d"),
        lambda: ledger.release(held, "c"),
        lambda: ledger.extend(held, 1),
    ):
        with refused("RESERVATION_FINALIZED"):
            again()
    assert shows(ledger.row(), S=300)


def test_35_one_key_on_two_reservations(ledger):
    ledger.budget(1000)
    first, second = ledger.reserve(100), ledger.reserve(100)
    ledger.commit(first, 50, "s")
    ledger.commit(second, 60, "s")
    assert shows(ledger.row(), S=110)


def test_36_events(ledger):
    ledger.budget(1000)
    assert "charged" not in ledger.event(300, **REJECT)
    assert shows(ledger.row(), R=700, S=300)
    with refused("BUDGET_EXCEEDED"):
        ledger.event(701, **REJECT)
    ledger.budget(1000)
    assert ledger.event(1500)["charged"]["amount"] == 1000
    assert shows(ledger.row(), R=0, O=True)
    ledger.budget(1000, overdraft_limit=100)
    assert "charged" not in ledger.event(1080, **OVERDRAFT)
    assert shows(ledger.row(), R=-80, S=1000, D=80)
    ledger.budget(1000, overdraft_limit=100)
    with refused("OVERDRAFT_LIMIT_EXCEEDED"):
        ledger.event(1101, **OVERDRAFT)
    ledger.budget(1000)
    assert ledger.event(1500, **OVERDRAFT)["charged"]["amount"] == 1000
    assert shows(ledger.row(), O=True)


@pytest.mark.parametrize(
    ("fields", "figures"), [({"is_over_limit": True}, {"R": 990}), ({"debt": 5}, {"R": 985, "D": 5})]
)
def test_37_events_ignore_over_limit_and_debt(ledger, fields, figures):
    ledger.budget(1000, **fields)
    ledger.event(10, **REJECT)
    assert shows(ledger.row(), S=10, **figures)


def test_38_event_on_two_scopes(ledger):
    ledger.budget(50)
    ledger.budget(950, AGENT)
    assert ledger.event(300, agent=True)["charged"]["amount"] == 50
    assert shows(ledger.row(), R=0, S=50, O=True)
    assert shows(ledger.row(AGENT), R=900, S=50, O=False)


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


# Over HTTP a closed tenant's keys are refused before: admin/test_http.py, row 41.
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
    """On the pure ledger; test_admin.py does so over HTTP."""
    books = MemoryBooks()
    for number, tenant in enumerate(("t1", "t2", "t1")):
        books.put_key(ApiKey(f"key_{number}", f"hash {number}", tenant, created_at_ms=9 - number))
    assert [key.key_id for key in books.keys(None)] == ["key_2", "key_1", "key_0"]
    funding.set_tenant(books, Tenant("t1", status="CLOSED"), now_ms=10)
    assert [(key.key_id, key.revoked_at_ms) for key in books.keys("t1")] == [("key_2", 10), ("key_0", 10)]
    assert [key.revoked_at_ms for key in books.keys("t2")] == [None]
