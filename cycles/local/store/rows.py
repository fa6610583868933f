"""A ledger's rows in SQLite, inside one transaction; all SQL of rows but that of lists (lists.py).

A row has a few columns to search by, and its value as JSON: only ledger/values.py says what is in a budget or a
reservation.
"""

from __future__ import annotations

import math
import sqlite3
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cycles.local.ledger.keys import ApiKey, Credential, key_hash
from cycles.local.ledger.renewals import PAST_KEPT_MS
from cycles.local.ledger.values import UNITS, Budget, ChargedEvent, Hold, Replay, Tenant, Terms
from cycles.local.store import events, evidence, lists
from cycles.local.store.encoding import (
    HOLD_KEPT_MS,
    PURGED_AT_ONCE,
    Unreadable,
    budget_of,
    decoded,
    encoded,
    hold_data,
    hold_of,
    past_row,
    replay_data,
    replay_of,
)
from cycles.local.store.hurry import must_not_wait
from cycles.local.store.known import Known, keep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles.local.ledger.notices import Notice, Origin
    from cycles.local.store.protocols import BudgetQuery, Envelope, EventQuery, HoldQuery, KeyQuery

T = TypeVar("T", Tenant, ApiKey, Terms)


class SqliteBooks:
    """A ledger's rows inside one transaction; see `StoredBooks`.

    Args:
        connection: To the ledger.
        notices: See `Books`.
        known: What *connection* knows of the rows; None: nothing.
    """

    __slots__ = ("_connection", "_known", "notices", "origin")

    def __init__(
        self, connection: sqlite3.Connection, notices: list[Notice] | None = None, known: Known | None = None
    ) -> None:
        self._connection: Final = connection
        self._known: Final = Known() if known is None else known
        self.notices = notices
        self.origin: Origin | None = None

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for SQL that is not here: since that may change any row, none is known any more."""
        self._known.forget()
        return self._connection

    def tenant(self, tenant_id: str) -> Tenant | None:
        tenants = self._known.tenants
        if tenant_id in tenants:
            return tenants[tenant_id]
        row = self._one("SELECT data FROM tenants WHERE tenant_id = ?", tenant_id)
        tenant = None if row is None else self.tenant_of(row[0])
        keep(tenants, tenant_id, tenant, 0 if row is None else len(row[0]))
        return tenant

    def put_tenant(self, tenant: Tenant) -> None:
        known, data = self._changing(), encoded(tenant)
        known.forget_credentials()
        keep(known.tenants, tenant.tenant_id, tenant, len(data))
        self._connection.execute("INSERT OR REPLACE INTO tenants VALUES (?, ?)", (tenant.tenant_id, data))

    def budget(self, scope_path: str, unit: str) -> Budget | None:
        budgets, key = self._known.budgets, (scope_path, unit)
        if key in budgets:
            return budgets[key]
        row = self._one("SELECT data FROM budgets WHERE scope_path = ? AND unit = ?", scope_path, unit)
        budget = None if row is None else self.budget_of(row[0])
        keep(budgets, key, budget, 0 if row is None else len(row[0]))
        return budget

    def units_at(self, scope_path: str) -> list[str]:
        rows = self._connection.execute("SELECT unit FROM budgets WHERE scope_path = ?", (scope_path,)).fetchall()
        return sorted((unit for (unit,) in rows), key=UNITS.index)

    def put_budget(self, budget: Budget) -> None:
        known, key, data = self._changing(), (budget.scope_path, budget.unit), encoded(budget)
        before = known.budgets.get(key)
        keep(known.budgets, key, budget, len(data))
        if before is not None and before.tenant == budget.tenant:  # no index of it changes
            self._connection.execute("UPDATE budgets SET data = ? WHERE scope_path = ? AND unit = ?", (data, *key))
        else:
            row = (*key, budget.tenant, data)
            self._connection.execute("INSERT OR REPLACE INTO budgets VALUES (?, ?, ?, ?)", row)

    def budgets_of(self, tenant_id: str) -> list[Budget]:
        sql = "SELECT data FROM budgets WHERE tenant = ? ORDER BY scope_path, unit"
        return [self.budget_of(data) for (data,) in self._connection.execute(sql, (tenant_id.lower(),)).fetchall()]

    def all_budgets(self) -> list[Budget]:
        """Return every budget, by scope path and unit."""
        rows = self._connection.execute("SELECT data FROM budgets ORDER BY scope_path, unit").fetchall()
        return [self.budget_of(data) for (data,) in rows]

    def past(self, scope_path: str, unit: str, renewals: int) -> Budget | None:
        sql = "SELECT data FROM past_budgets WHERE scope_path = ? AND unit = ? AND renewals = ?"
        row = self._one(sql, scope_path, unit, renewals)
        return None if row is None else self.budget_of(row[0])

    def put_past(self, budget: Budget) -> None:
        self._known.is_changed = True
        self._connection.execute("INSERT OR REPLACE INTO past_budgets VALUES (?, ?, ?, ?, ?, ?)", past_row(budget))

    def all_past(self) -> list[Budget]:
        """Return the rows of periods that are over."""
        rows = self._connection.execute("SELECT data FROM past_budgets ORDER BY scope_path, unit, renewals").fetchall()
        return [self.budget_of(data) for (data,) in rows]

    def hold(self, reservation_id: str) -> Hold | None:
        known = self._known.holds
        if reservation_id in known:
            return known[reservation_id]
        row = self._one("SELECT data FROM holds WHERE reservation_id = ?", reservation_id)
        if row is None:
            return None
        hold = self.hold_of(row[0])
        if hold.status == "ACTIVE":
            keep(known, reservation_id, hold, len(row[0]))
        return hold

    def put_hold(self, hold: Hold) -> None:
        data, deadline_ms, is_known = hold_data(hold), hold.deadline_ms, hold.reservation_id in self._known.holds
        self._know_hold(hold, deadline_ms, len(data))
        if is_known:
            self._connection.execute(
                "UPDATE holds SET status = ?, expires_at_ms = ?, deadline_ms = ?, finalized_at_ms = ?, data = ? "
                "WHERE reservation_id = ?",
                (hold.status, hold.expires_at_ms, deadline_ms, hold.finalized_at_ms, data, hold.reservation_id),
            )
            return
        self._connection.execute(
            "INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (reservation_id) DO UPDATE SET "
            "status = excluded.status, expires_at_ms = excluded.expires_at_ms, deadline_ms = excluded.deadline_ms, "
            "finalized_at_ms = excluded.finalized_at_ms, data = excluded.data",
            (
                hold.reservation_id,
                hold.tenant,
                hold.idempotency_key,
                hold.affected[-1],
                hold.unit,
                hold.estimate,
                hold.status,
                hold.created_at_ms,
                hold.expires_at_ms,
                deadline_ms,
                hold.finalized_at_ms,
                data,
            ),
        )

    def _know_hold(self, hold: Hold, deadline_ms: int, size: int) -> None:
        known = self._changing()
        if hold.status != "ACTIVE":  # few ask for it again
            known.holds.pop(hold.reservation_id, None)
            return
        keep(known.holds, hold.reservation_id, hold, size)
        if known.earliest_ms is not None and deadline_ms < known.earliest_ms:
            known.earliest_ms = deadline_ms

    def overdue(self, now_ms: int, most: int) -> list[Hold]:
        known = self._known
        earliest_ms = known.earliest_ms
        if earliest_ms is None or earliest_ms < now_ms:
            (first,) = self._connection.execute("SELECT min(deadline_ms) FROM holds WHERE status = 'ACTIVE'").fetchone()
            known.earliest_ms = earliest_ms = math.inf if first is None else first
        if now_ms <= earliest_ms:
            return []
        rows = self._connection.execute(
            "SELECT data FROM holds WHERE status = 'ACTIVE' AND deadline_ms < ? ORDER BY deadline_ms LIMIT ?",
            (now_ms, most),
        ).fetchall()
        return [self.hold_of(data) for (data,) in rows]

    def live_holds_of(self, tenant_id: str) -> list[Hold]:
        sql = "SELECT data FROM holds INDEXED BY holds_by_deadline WHERE tenant = ? AND status = 'ACTIVE'"
        return [self.hold_of(data) for (data,) in self._connection.execute(sql, (tenant_id,)).fetchall()]

    def all_holds(self) -> list[Hold]:
        """Return every reservation, oldest first."""
        rows = self._connection.execute("SELECT data FROM holds ORDER BY created_at_ms, rowid").fetchall()
        return [self.hold_of(data) for (data,) in rows]

    def replay(self, scope: str, key: str) -> Replay | None:
        row = self._one("SELECT keep_until_ms, data FROM replays WHERE scope = ? AND key = ?", scope, key)
        return None if row is None else replay_of(*row)

    def put_replay(self, scope: str, key: str, replay: Replay) -> None:
        self._known.is_changed = True
        row = (scope, key, replay.keep_until_ms, replay_data(replay))
        self._connection.execute("INSERT OR REPLACE INTO replays VALUES (?, ?, ?, ?)", row)

    def put_event(self, event: ChargedEvent) -> None:
        events.put(self._connection, event)

    def purge(self, now_ms: int, most: int = PURGED_AT_ONCE) -> None:
        """Delete up to *most* rows each of replays, reservations, past periods and events that nobody needs."""
        self._changing()  # no live hold is deleted, and no other is known
        self._connection.execute(
            "DELETE FROM replays WHERE (scope, key) IN "
            "(SELECT scope, key FROM replays WHERE keep_until_ms < ? ORDER BY keep_until_ms LIMIT ?)",
            (now_ms, most),
        )
        self._connection.execute(
            "DELETE FROM holds WHERE reservation_id IN "
            "(SELECT reservation_id FROM holds WHERE status != 'ACTIVE' AND deadline_ms < ? "
            "ORDER BY deadline_ms LIMIT ?)",
            (now_ms - HOLD_KEPT_MS, most),
        )
        self._connection.execute(
            "DELETE FROM past_budgets WHERE (scope_path, unit, renewals) IN (SELECT scope_path, unit, renewals "
            "FROM past_budgets WHERE reserved = 0 AND ended_ms < ? ORDER BY ended_ms LIMIT ?)",
            (now_ms - PAST_KEPT_MS, most),
        )
        events.purge(self._connection, now_ms, most)
        evidence.purge(self._connection, now_ms, most)

    # -- evidence ------------------------------------------------------------------------------------------------------
    def put_evidence(self, row: Envelope) -> None:
        evidence.put(self._connection, row)

    def evidence(self, evidence_id: str) -> dict[str, Any] | None:
        return evidence.read(self._connection, evidence_id)

    def evidence_from(self, source: str, digest: str) -> str | None:
        return evidence.found_from(self._connection, source, digest)

    def evidence_of(self, reservation_id: str) -> dict[str, str]:
        return evidence.of_reservation(self._connection, reservation_id)

    # -- provisioning --------------------------------------------------------------------------------------------------
    def tenants(self) -> list[Tenant]:
        """Return every tenant by its id; also those without a record, which have a key or a budget and the defaults."""
        known = {row[0]: self.tenant_of(row[1]) for row in self._connection.execute("SELECT * FROM tenants")}
        implied = self._connection.execute(
            "SELECT tenant, min(at_ms) FROM (SELECT tenant, created_at_ms AS at_ms FROM keys UNION ALL "
            "SELECT tenant, json_extract(data, '$.created_at_ms') FROM budgets) GROUP BY tenant ORDER BY tenant"
        )
        folded = {tenant_id.lower() for tenant_id in known}  # a budget's path has its tenant in lower case
        for tenant_id, created_at_ms in implied.fetchall():
            if tenant_id not in known and tenant_id.lower() not in folded:
                known[tenant_id] = Tenant(tenant_id, created_at_ms=created_at_ms)
                folded.add(tenant_id.lower())
        return [known[tenant_id] for tenant_id in sorted(known)]

    def known_tenant(self, tenant_id: str) -> Tenant | None:
        """Return the tenant, if it has a record, a key or a budget."""
        found = self.tenant(tenant_id)
        if found is None:
            found = next((known for known in self.tenants() if known.tenant_id == tenant_id), None)
        return found

    def terms(self, scope_path: str, unit: str) -> Terms:
        """Return what was noted about a budget."""
        row = self._one("SELECT data FROM terms WHERE scope_path = ? AND unit = ?", scope_path, unit)
        return Terms() if row is None else self.terms_of(row[0])

    def put_terms(self, scope_path: str, unit: str, terms: Terms) -> None:
        data = encoded(terms)
        self._connection.execute("INSERT OR REPLACE INTO terms VALUES (?, ?, ?)", (scope_path, unit, data))

    def credential(self, secret: str) -> Credential | None:
        """Return what a request with the API key *secret* depends on, as of one moment. Every request asks for it."""
        known = self._known.credentials.get(secret)
        if known is not None:
            return known
        row = self._one(
            "SELECT keys.tenant, expires_at_ms, revoked_at_ms, json_extract(tenants.data, '$.status') "
            "FROM keys LEFT JOIN tenants ON tenants.tenant_id = keys.tenant WHERE key_hash = ?",
            key_hash(secret),
        )
        if row is None:
            return None
        found = Credential(*row)
        keep(self._known.credentials, secret, found)
        return found

    def session(self, tenant_id: str) -> Credential:
        """Return what a request with a session key of *tenant_id* depends on."""
        known = self._known.sessions.get(tenant_id)
        if known is not None:
            return known
        row = self._one("SELECT json_extract(data, '$.status') FROM tenants WHERE tenant_id = ?", tenant_id)
        found = Credential(tenant_id, None, None, None if row is None else row[0])
        keep(self._known.sessions, tenant_id, found)
        return found

    def key(self, secret: str) -> ApiKey | None:
        """Return the API key with this secret."""
        row = self._one("SELECT data FROM keys WHERE key_hash = ?", key_hash(secret))
        return None if row is None else self.key_of(row[0])

    def key_named(self, key_id: str) -> ApiKey | None:
        row = self._one("SELECT data FROM keys WHERE key_id = ?", key_id)
        return None if row is None else self.key_of(row[0])

    def keys(self, tenant_id: str | None = None) -> list[ApiKey]:
        """Return the API keys of a tenant, or of all, oldest first."""
        sql = "SELECT data FROM keys WHERE tenant = coalesce(?, tenant) ORDER BY created_at_ms, key_id"
        return [self.key_of(data) for (data,) in self._connection.execute(sql, (tenant_id,)).fetchall()]

    def put_key(self, key: ApiKey) -> None:
        row = (
            key.key_hash,
            key.key_id,
            key.tenant,
            key.created_at_ms,
            key.expires_at_ms,
            key.revoked_at_ms,
            encoded(key),
        )
        self._changing().forget_credentials()
        self._connection.execute("INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    # -- pages ---------------------------------------------------------------------------------------------------------
    def find_holds(self, query: HoldQuery, after: tuple[int | str, str] | None, most: int) -> Iterator[Hold]:
        return (self.hold_of(data) for (data,) in lists.holds(self._connection, query, after, most))

    def find_budgets(self, query: BudgetQuery, after: tuple[str, str] | None, most: int) -> list[Budget]:
        return [self.budget_of(data) for (data,) in lists.budgets(self._connection, query, after, most)]

    def find_ledgers(
        self, query: BudgetQuery, after: tuple[str, str] | None, most: int
    ) -> Iterator[tuple[Budget, Terms]]:
        return (
            (self.budget_of(data), Terms() if noted is None else self.terms_of(noted))
            for data, noted in lists.ledgers(self._connection, query, after, most)
        )

    def find_events(self, query: EventQuery, after: tuple[int, str] | None, most: int) -> Iterator[ChargedEvent]:
        return events.find(self._connection, query, after, most)

    def find_keys(self, query: KeyQuery, after: tuple[int, str] | None, most: int, now_ms: int) -> Iterator[ApiKey]:
        return (self.key_of(data) for (data,) in lists.keys(self._connection, query, after, most, now_ms))

    def live_holds(self, tenant: str | None, most: int) -> list[Hold]:
        return [self.hold_of(data) for (data,) in lists.live_holds(self._connection, tenant, most)]

    # -- values of rows ------------------------------------------------------------------------------------------------
    @staticmethod
    def tenant_of(data: str) -> Tenant:
        """Return the tenant in a row's *data*."""
        return _decoded(Tenant, data)

    @staticmethod
    def key_of(data: str) -> ApiKey:
        """Return the API key in a row's *data*."""
        return _decoded(ApiKey, data)

    @staticmethod
    def terms_of(data: str) -> Terms:
        """Return the terms in a row's *data*."""
        return _decoded(Terms, data)

    @staticmethod
    def budget_of(data: str) -> Budget:
        """Return the budget in a row's *data*."""
        try:
            return budget_of(data)
        except Unreadable as error:
            raise sqlite3.DatabaseError(str(error)) from None

    @staticmethod
    def hold_of(data: str) -> Hold:
        """Return the reservation in a row's *data*."""
        try:
            return hold_of(data)
        except Unreadable as error:
            raise sqlite3.DatabaseError(str(error)) from None

    def _one(self, sql: str, *parameters: object) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(sql, parameters).fetchone()
        return row

    def _changing(self) -> Known:
        """Return what is known, and note that rows are written: what is known of them then goes when that is undone."""
        self._known.is_changed = True
        return self._known


class HurriedBooks(SqliteBooks):
    """The same for a thread that must not wait: it leaves what takes long to others."""

    __slots__ = ()

    def overdue(self, now_ms: int, most: int) -> list[Hold]:  # noqa: ARG002 - it is none or too many
        """Return none; where there are some, they may be a thousand."""
        if super().overdue(now_ms, 1):
            must_not_wait()
        return []


def _decoded(kind: type[T], data: str) -> T:
    try:
        return decoded(kind, data)
    except Unreadable as error:
        raise sqlite3.DatabaseError(str(error)) from None
