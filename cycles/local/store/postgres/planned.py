"""The rows of a request that says beforehand what it touches: read and locked in one round trip, written in another.

Locks are taken in one order by everybody, so that no two transactions wait for each other: the gate, the sweeper's
lock, reservations by their ids, budgets by scope path and unit; replays last, by their unique key. All of a request's
scopes lie on one path, so the wider scope is locked first.

    BEGIN | gate, shared | reservation FOR UPDATE | budgets FOR UPDATE, tenant, replay, time | key   (one round trip)
    the ledger decides
    budgets | reservation | replay | COMMIT                                                          (one round trip)

It decides between the two, so one round trip would need the ledger a second time, in the database's own language.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from psycopg.pq import TransactionStatus

from cycles.local.ledger.keys import key_hash
from cycles.local.ledger.values import Tenant
from cycles.local.store.encoding import PURGED_AT_ONCE, decoded, hold_data, hold_of, past_row, replay_data, replay_of
from cycles.local.store.postgres.batches import Batch, Statement
from cycles.local.store.postgres.clock import NOW
from cycles.local.store.postgres.lists import BUDGET_COLUMNS
from cycles.local.store.postgres.rows import (
    CREDENTIAL,
    INSERT_HOLD,
    INSERT_REPLAY,
    PUT_EVENT,
    PUT_EVIDENCE,
    PUT_PAST,
    PostgresBooks,
    credential_in,
    event_row,
    evidence_row,
    hold_row,
)
from cycles.local.store.postgres.schema import GATE, LOCK, SWEEPER
from cycles.local.store.postgres.values import budget_of, budget_row, plain

if TYPE_CHECKING:
    from cycles.local.ledger.keys import Credential
    from cycles.local.ledger.notices import Notice
    from cycles.local.ledger.touched import Touched
    from cycles.local.ledger.values import Budget, ChargedEvent, Hold, Replay
    from cycles.local.store.postgres.batches import PreparingConnection
    from cycles.local.store.postgres.clock import DatabaseClock
    from cycles.local.store.protocols import Envelope

_AS_JSON: Final = f"json_agg(json_build_array({BUDGET_COLUMNS}))::text"
_EARLIEST: Final = "(SELECT min(deadline_ms) FROM cycles_holds WHERE status = 'ACTIVE')"
_REPLAY: Final = (
    "(SELECT json_build_array(keep_until_ms, data)::text FROM cycles_replays WHERE scope = %s AND key = %s)"
)


def _opening(budgets: str, tenant: str, lock: str) -> str:
    """Return the query that reads and locks all rows of a request; the time is told after the locks were waited for."""
    return (
        f"WITH b AS MATERIALIZED (SELECT {BUDGET_COLUMNS} FROM {budgets} ORDER BY b.scope_path, b.unit{lock}) "  # noqa: S608
        f"SELECT {_AS_JSON}, {NOW}, {_EARLIEST}, {tenant}, {_REPLAY} FROM b"
    )


_ALONG: Final = "cycles_budgets b WHERE b.scope_path = ANY(%s) AND b.unit = %s"
_OF_HOLD: Final = (
    "cycles_holds h CROSS JOIN unnest(h.budgeted) AS s(scope_path) "
    "JOIN cycles_budgets b ON b.scope_path = s.scope_path AND b.unit = h.unit WHERE h.reservation_id = %s"
)
_TENANT: Final = "(SELECT data FROM cycles_tenants WHERE tenant_id = %s)"
_TENANT_OF_HOLD: Final = (
    "(SELECT t.data FROM cycles_tenants t JOIN cycles_holds h ON t.tenant_id = h.tenant WHERE h.reservation_id = %s)"
)
_LOCK: Final = " FOR UPDATE OF b"
_OPENINGS: Final = {
    (by_hold, locks): Statement(
        _opening(*((_OF_HOLD, _TENANT_OF_HOLD) if by_hold else (_ALONG, _TENANT)), _LOCK if locks else "")
    )
    for by_hold in (False, True)
    for locks in (False, True)
}

_BEGIN, _COMMIT, _TIME = Statement("BEGIN"), Statement("COMMIT"), Statement(f"SELECT {NOW}")
_SHARE_GATE: Final = Statement("SELECT pg_advisory_xact_lock_shared(%s, %s)")
WAIT_FOR_LOCK: Final = Statement("SELECT pg_advisory_xact_lock(%s, %s)")
TRY_LOCK: Final = Statement("SELECT pg_try_advisory_xact_lock(%s, %s)")
_LOCK_HOLD: Final = Statement("SELECT data FROM cycles_holds WHERE reservation_id = %s FOR UPDATE")
_INSERT_HOLD: Final = Statement(INSERT_HOLD)
_INSERT_REPLAY: Final = Statement(INSERT_REPLAY)
_PUT_EVENT: Final = Statement(PUT_EVENT)
_PUT_EVIDENCE: Final = Statement(PUT_EVIDENCE)
_PUT_PAST: Final = Statement(PUT_PAST)
_LOCK_OVERDUE: Final = (
    "SELECT data FROM cycles_holds WHERE reservation_id = ANY(ARRAY(SELECT reservation_id FROM cycles_holds "
    "WHERE status = 'ACTIVE' AND deadline_ms < %s ORDER BY deadline_ms, number LIMIT %s)) "
    "AND status = 'ACTIVE' AND deadline_ms < %s ORDER BY reservation_id FOR UPDATE"
)
_LOCK_THEIRS: Final = (
    f"SELECT {BUDGET_COLUMNS} FROM cycles_budgets b WHERE (b.scope_path, b.unit) IN (SELECT s.scope_path, h.unit "  # noqa: S608
    "FROM cycles_holds h CROSS JOIN unnest(h.budgeted) AS s(scope_path) WHERE h.reservation_id = ANY(%s)) "
    "ORDER BY b.scope_path, b.unit FOR UPDATE"
)

_UPDATE_BUDGET: Final = Statement(
    "UPDATE cycles_budgets SET status = %s, allocated = %s, remaining = %s, reserved = %s, spent = %s, debt = %s, "
    "overdraft_limit = %s, is_over_limit = %s, updated_at_ms = %s, rest = %s WHERE scope_path = %s AND unit = %s"
)
_UPDATE_HOLD: Final = Statement(
    "UPDATE cycles_holds SET status = %s, expires_at_ms = %s, deadline_ms = %s, finalized_at_ms = %s, charged = %s, "
    "data = %s WHERE reservation_id = %s"
)
_FREE_KEY: Final = Statement("DELETE FROM cycles_replays WHERE scope = %s AND key = %s AND keep_until_ms = %s")


class NotPlanned(Exception):
    """The operation touches a row that it did not name: it must run alone."""


class Overdue(Exception):
    """Reservations are overdue, and must be expired before this operation."""

    def __init__(self, now_ms: int) -> None:
        super().__init__(now_ms)
        self.now_ms: Final = now_ms


class PlannedBooks(PostgresBooks):
    """The rows that a request touches, inside one transaction; see `StoredBooks`.

    Writes wait until the transaction ends (`flush`), so an operation that is refused has written nothing.
    """

    def __init__(
        self, connection: PreparingConnection, notices: list[Notice] | None, *, looks: bool, clock: DatabaseClock
    ) -> None:
        super().__init__(connection, notices)
        self._looks: Final = looks
        self._clock: Final = clock
        self._credentials: Final[dict[str, Credential | None]] = {}
        self._tenants: Final[dict[str, Tenant | None]] = {}
        self._budgets: Final[dict[tuple[str, str], Budget | None]] = {}
        self._holds: Final[dict[str, Hold | None]] = {}
        self._replays: Final[dict[tuple[str, str], Replay | None]] = {}
        self._earliest_ms: int | None = None
        self._moved: Final[dict[tuple[str, str], Budget]] = {}
        self._ended: Final[dict[tuple[str, str, int], Budget]] = {}
        self._changed: Final[dict[str, tuple[Hold, bool]]] = {}
        self._kept: Final[dict[tuple[str, str], tuple[Replay, Replay | None]]] = {}
        self._charged: Final[list[ChargedEvent]] = []
        self._signed: Final[list[Envelope]] = []
        self.wants_purge = False

    def open(self, touched: Touched) -> None:
        """Begin, and read and lock the rows of *touched*: one round trip."""
        by_hold = touched.reservation_id is not None
        scope, key = touched.replay or ("", "")
        name = plain(touched.reservation_id or "")
        where: tuple[Any, ...] = (name, name) if by_hold else (list(touched.scopes), touched.unit, touched.tenant)
        batch = Batch(self.connection)
        batch.add(_BEGIN)
        batch.add(_SHARE_GATE, LOCK, GATE)
        if by_hold:
            batch.add(_LOCK_HOLD, name)
        batch.add(_OPENINGS[by_hold, touched.moves_money], *where, plain(scope), key.encode())
        if touched.key_hash is not None:
            batch.add(CREDENTIAL, touched.key_hash)
        *before, opened = batch.run()
        if touched.key_hash is not None:
            self._credentials[touched.key_hash] = credential_in(opened)
            opened = before.pop()
        budgets, now_ms, earliest_ms, tenant, replay = opened[0]
        self._clock.read(int(now_ms or 0))
        self._earliest_ms = None if earliest_ms is None else int(earliest_ms)
        for asked in touched.scopes:
            self._budgets[asked, touched.unit] = None
        self._take([budget_of(row) for row in json.loads(budgets or "[]")])
        if touched.replay is not None:
            self._replays[touched.replay] = None if replay is None else replay_of(*json.loads(replay))
        owner = touched.tenant
        if touched.reservation_id is not None:
            hold = next((hold_of(data.decode()) for (data,) in before[-1] if data is not None), None)
            self._holds[touched.reservation_id] = hold
            owner = None if hold is None else hold.tenant
        if owner is not None:
            self._tenants[owner] = None if tenant is None else decoded(Tenant, tenant.decode())

    def _take(self, budgets: list[Budget]) -> None:
        for budget in budgets:
            self._budgets[budget.scope_path, budget.unit] = budget

    # -- reading -------------------------------------------------------------------------------------------------------
    def credential(self, secret: str) -> Credential | None:
        name = key_hash(secret)
        return self._credentials[name] if name in self._credentials else super().credential(secret)

    def tenant(self, tenant_id: str) -> Tenant | None:
        return self._tenants[tenant_id] if tenant_id in self._tenants else super().tenant(tenant_id)

    def budget(self, scope_path: str, unit: str) -> Budget | None:
        try:
            return self._budgets[scope_path, unit]
        except KeyError:
            raise NotPlanned from None

    def hold(self, reservation_id: str) -> Hold | None:
        return self._holds[reservation_id] if reservation_id in self._holds else super().hold(reservation_id)

    def replay(self, scope: str, key: str) -> Replay | None:
        if (scope, key) not in self._replays:
            self._replays[scope, key] = super().replay(scope, key)
        return self._replays[scope, key]

    def overdue(self, now_ms: int, most: int) -> list[Hold]:  # noqa: ARG002 - it is all or none
        """Return none: where there are some, the operation begins anew after they were expired."""
        if self._looks and self._earliest_ms is not None and self._earliest_ms < now_ms:
            raise Overdue(now_ms)
        return []

    def purge(self, now_ms: int, most: int = PURGED_AT_ONCE) -> None:  # noqa: ARG002 - not now
        """Let the store purge after this transaction: it locks rows that nobody named."""
        self.wants_purge = True

    # -- writing -------------------------------------------------------------------------------------------------------
    def put_budget(self, budget: Budget) -> None:
        if self._budgets.get((budget.scope_path, budget.unit)) is None:
            raise NotPlanned
        self._budgets[budget.scope_path, budget.unit] = self._moved[budget.scope_path, budget.unit] = budget

    def past(self, scope_path: str, unit: str, renewals: int) -> Budget | None:
        """Return the row of an earlier period: whoever reads or writes it has locked the budget's own row."""
        ended = self._ended.get((scope_path, unit, renewals))
        return super().past(scope_path, unit, renewals) if ended is None else ended

    def put_past(self, budget: Budget) -> None:
        self._ended[budget.scope_path, budget.unit, budget.renewals] = budget

    def put_hold(self, hold: Hold) -> None:
        is_new = self._holds.get(hold.reservation_id) is None
        self._holds[hold.reservation_id] = hold
        self._changed[hold.reservation_id] = (hold, is_new)

    def put_replay(self, scope: str, key: str, replay: Replay) -> None:
        over = self.replay(scope, key)  # if there is one, its time is over, and the key is free
        self._replays[scope, key] = replay
        self._kept[scope, key] = (replay, over)

    def put_event(self, event: ChargedEvent) -> None:
        self._charged.append(event)

    def put_evidence(self, row: Envelope) -> None:
        self._signed.append(row)

    def leave(self) -> None:
        """End the transaction of an operation that was refused: nothing was written."""
        if self.connection.pgconn.transaction_status == TransactionStatus.INTRANS:
            batch = Batch(self.connection)
            batch.add(_COMMIT)
            batch.run()

    def flush(self) -> None:
        """Write everything and commit: one round trip.

        A key that another transaction has used meanwhile is a `UniqueViolation`, which undoes all of it. That holds for
        a key whose time is over, too: nobody locked its row, so another may have replaced it by now, or a purge deleted
        it. Only the row that was read makes room.
        """
        batch = Batch(self.connection)
        for scope_path, unit in sorted(self._moved):
            _, _, _, status, *figures = budget_row(self._moved[scope_path, unit])
            del figures[7]  # when it was made
            batch.add(_UPDATE_BUDGET, status, *figures, scope_path, unit)
        for which in sorted(self._ended):
            batch.add(_PUT_PAST, *past_row(self._ended[which]))
        for hold, is_new in self._changed.values():
            if is_new:
                batch.add(_INSERT_HOLD, *hold_row(hold))
            else:
                times = (hold.expires_at_ms, hold.deadline_ms, hold.finalized_at_ms)
                batch.add(_UPDATE_HOLD, hold.status, *times, hold.charged, hold_data(hold), hold.reservation_id)
        for (scope, key), (replay, over) in self._kept.items():
            if over is not None:
                batch.add(_FREE_KEY, scope, key.encode(), over.keep_until_ms)
            batch.add(_INSERT_REPLAY, scope, key.encode(), replay.keep_until_ms, replay_data(replay))
        for event in self._charged:
            batch.add(_PUT_EVENT, *event_row(event))
        for row in self._signed:
            batch.add(_PUT_EVIDENCE, *evidence_row(row))
        batch.add(_COMMIT)
        batch.run()


class SweepBooks(PlannedBooks):
    """The rows of a sweep: overdue reservations, and their budgets."""

    def open_sweep(self, sweeper: Statement) -> bool:
        """Begin, with the lock that *sweeper* takes; return whether it was there to be taken."""
        batch = Batch(self.connection)
        batch.add(_BEGIN)
        batch.add(_SHARE_GATE, LOCK, GATE)
        batch.add(sweeper, LOCK, SWEEPER)
        batch.add(_TIME)
        _, _, taken, told = batch.run()
        self._clock.read(int(told[0][0] or 0))
        return taken[0][0] != b"f"

    def overdue(self, now_ms: int, most: int) -> list[Hold]:
        late = [hold_of(data) for (data,) in self._all(_LOCK_OVERDUE, now_ms, most, now_ms)]
        if late:
            names = [hold.reservation_id for hold in late]
            self._take([budget_of(row) for row in self._all(_LOCK_THEIRS, names)])
            self._holds.update(zip(names, late, strict=True))
        return sorted(late, key=lambda hold: hold.deadline_ms)

    def budget(self, scope_path: str, unit: str) -> Budget | None:
        return self._budgets.get((scope_path, unit))

    def purge(self, now_ms: int, most: int = PURGED_AT_ONCE) -> None:
        PostgresBooks.purge(self, now_ms, most)
