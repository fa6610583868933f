"""One key, one effect: replays and mismatches."""

from __future__ import annotations

from tests.local.ledger.world import shows

from .expected import refused


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
