"""When reservations end, and what prolongs them."""

from __future__ import annotations

from cycles.local.ledger.values import Tenant
from tests.local.ledger.world import shows

from .expected import only_pure, refused


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


# Over HTTP overdue holds are given back first: local/wire/test_app.py, test_30_expiry.
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
