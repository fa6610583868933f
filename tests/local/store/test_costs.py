"""What a request costs in a large ledger."""

from __future__ import annotations

import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from tests.support.authorities import SCOPE, Clock
from tests.support.sqlite_steps import counted_steps
from tests.support.wire import Wire


@pytest.mark.slow
def test_the_cost_of_a_reserve_is_flat(tmp_path, monkeypatch):
    """With 20,000 finished reservations in the file, a reserve costs about what it did at the start.

    Counted in steps of SQLite's machine: they are the same however busy this machine is.
    """
    steps = counted_steps(monkeypatch)
    with LocalAuthority(tmp_path / "ledger.db") as authority:
        authority.budget(SCOPE, tokens(10**9))
        wire = Wire(authority, Clock())

        def cost() -> int:
            samples = []
            for _ in range(40):
                before = steps()
                assert wire.commit(wire.reserve(1), 1).is_success
                samples.append(steps() - before)
            return sorted(samples)[10]

        cost()
        before = cost()
        with authority.store.writing() as books:
            books.connection.execute(
                "INSERT INTO holds SELECT reservation_id || '-' || value, tenant, idempotency_key, scope_path, unit, "
                "estimate, status, created_at_ms, expires_at_ms, deadline_ms, finalized_at_ms, data FROM "
                "(SELECT * FROM holds LIMIT 1), "
                "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT 20000) SELECT * FROM n)"
            )
        assert cost() < 3 * before
