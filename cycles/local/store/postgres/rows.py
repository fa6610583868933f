"""A ledger's rows in PostgreSQL, inside one transaction: each read and each write is a query of its own.

Operators' calls and lists use these. Requests that spend use `planned.py`, which asks in fewer round trips.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cycles.local.ledger.encoding import compact
from cycles.local.ledger.keys import ApiKey, Credential, key_hash
from cycles.local.ledger.renewals import PAST_KEPT_MS
from cycles.local.ledger.values import UNITS, Tenant, Terms
from cycles.local.store.encoding import (
    EVENT_KEPT_MS,
    HOLD_KEPT_MS,
    PURGED_AT_ONCE,
    decoded,
    encoded,
    event_of,
    hold_data,
    hold_of,
    past_row,
    replay_data,
    replay_of,
)
from cycles.local.store.encoding import budget_of as kept_budget
from cycles.local.store.postgres import lists
from cycles.local.store.postgres.batches import Batch, Statement
from cycles.local.store.postgres.lists import BUDGET_COLUMNS
from cycles.local.store.postgres.values import budget_of, budget_row, plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg import Cursor

    from cycles.local.ledger.notices import Notice, Origin
    from cycles.local.ledger.values import Budget, ChargedEvent, Hold, Replay
    from cycles.local.store.postgres.batches import PreparingConnection, Row
    from cycles.local.store.postgres.lists import Selection
    from cycles.local.store.protocols import BudgetQuery, Envelope, EventQuery, HoldQuery, KeyQuery

PUT_BUDGET: Final = (
    "INSERT INTO cycles_budgets VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
    "ON CONFLICT (scope_path, unit) DO UPDATE SET tenant = excluded.tenant, status = excluded.status, "
    "allocated = excluded.allocated, remaining = excluded.remaining, reserved = excluded.reserved, "
    "spent = excluded.spent, debt = excluded.debt, overdraft_limit = excluded.overdraft_limit, "
    "is_over_limit = excluded.is_over_limit, created_at_ms = excluded.created_at_ms, "
    "updated_at_ms = excluded.updated_at_ms, rest = excluded.rest"
)
INSERT_HOLD: Final = (
    "INSERT INTO cycles_holds (reservation_id, tenant, idempotency_key, scope_path, unit, budgeted, estimate, status, "
    "created_at_ms, expires_at_ms, deadline_ms, finalized_at_ms, charged, renewals, data) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_PUT_HOLD: Final = (
    f"{INSERT_HOLD} ON CONFLICT (reservation_id) DO UPDATE SET status = excluded.status, "
    "expires_at_ms = excluded.expires_at_ms, deadline_ms = excluded.deadline_ms, "
    "finalized_at_ms = excluded.finalized_at_ms, charged = excluded.charged, data = excluded.data"
)
INSERT_REPLAY: Final = "INSERT INTO cycles_replays VALUES (%s, %s, %s, %s)"
_PUT_REPLAY: Final = (
    f"{INSERT_REPLAY} ON CONFLICT (scope, key) DO UPDATE SET keep_until_ms = excluded.keep_until_ms, "
    "data = excluded.data"
)
CREDENTIAL: Final = Statement(
    "SELECT k.tenant, k.expires_at_ms, k.revoked_at_ms, t.status FROM cycles_keys k "
    "LEFT JOIN cycles_tenants t ON t.tenant_id = k.tenant WHERE key_hash = %s"
)
_SESSION: Final = Statement("SELECT status FROM cycles_tenants WHERE tenant_id = %s")
_PAST: Final = "SELECT data FROM cycles_past_budgets WHERE scope_path = %s AND unit = %s AND renewals = %s"
PUT_PAST: Final = (
    "INSERT INTO cycles_past_budgets VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (scope_path, unit, renewals) "
    "DO UPDATE SET reserved = excluded.reserved, data = excluded.data"
)
PUT_EVENT: Final = "INSERT INTO cycles_events VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
PUT_EVIDENCE: Final = "INSERT INTO cycles_evidence VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"


def hold_row(hold: Hold) -> tuple[Any, ...]:
    """Return the columns of a reservation, in the order of INSERT_HOLD."""
    return (
        *(hold.reservation_id, hold.tenant, hold.idempotency_key.encode(), hold.affected[-1], hold.unit),
        *(list(hold.budgeted), hold.estimate, hold.status, hold.created_at_ms, hold.expires_at_ms, hold.deadline_ms),
        *(hold.finalized_at_ms, hold.charged, None if hold.renewals is None else list(hold.renewals), hold_data(hold)),
    )


def event_row(event: ChargedEvent) -> tuple[Any, ...]:
    """Return the columns of an event."""
    return (
        *(event.event_id, event.tenant, event.idempotency_key.encode(), event.affected[-1], event.unit),
        *(event.charged, event.created_at_ms, encoded(event)),
    )


def evidence_row(row: Envelope) -> tuple[Any, ...]:
    """Return the columns of an envelope."""
    return (row.evidence_id, row.source.encode(), *row[2:6], compact(row.envelope))


class PostgresBooks:
    """A ledger's rows inside one transaction; see `StoredBooks`."""

    def __init__(self, connection: PreparingConnection, notices: list[Notice] | None = None) -> None:
        self.connection: Final = connection
        self.notices = notices
        self.origin: Origin | None = None

    # -- tenants and budgets -------------------------------------------------------------------------------------------
    def tenant(self, tenant_id: str) -> Tenant | None:
        row = self._one("SELECT data FROM cycles_tenants WHERE tenant_id = %s", plain(tenant_id))
        return None if row is None else decoded(Tenant, row[0])

    def put_tenant(self, tenant: Tenant) -> None:
        self._run(
            "INSERT INTO cycles_tenants VALUES (%s, %s, %s) ON CONFLICT (tenant_id) "
            "DO UPDATE SET status = excluded.status, data = excluded.data",
            (tenant.tenant_id, tenant.status, encoded(tenant)),
        )

    def budget(self, scope_path: str, unit: str) -> Budget | None:
        sql = f"SELECT {BUDGET_COLUMNS} FROM cycles_budgets b WHERE scope_path = %s AND unit = %s"  # noqa: S608
        row = self._one(sql, plain(scope_path), plain(unit))
        return None if row is None else budget_of(row)

    def units_at(self, scope_path: str) -> list[str]:
        rows = self._all("SELECT unit FROM cycles_budgets WHERE scope_path = %s", plain(scope_path))
        return sorted((unit for (unit,) in rows), key=UNITS.index)

    def put_budget(self, budget: Budget) -> None:
        self._run(PUT_BUDGET, budget_row(budget))

    def budgets_of(self, tenant_id: str) -> list[Budget]:
        sql = f"SELECT {BUDGET_COLUMNS} FROM cycles_budgets b WHERE tenant = %s ORDER BY scope_path, unit"  # noqa: S608
        return [budget_of(row) for row in self._all(sql, plain(tenant_id.lower()))]

    def all_budgets(self) -> list[Budget]:
        """Return every budget, by scope path and unit."""
        rows = self._all(f"SELECT {BUDGET_COLUMNS} FROM cycles_budgets b ORDER BY scope_path, unit")  # noqa: S608
        return [budget_of(row) for row in rows]

    def past(self, scope_path: str, unit: str, renewals: int) -> Budget | None:
        row = self._one(_PAST, plain(scope_path), plain(unit), renewals)
        return None if row is None else kept_budget(row[0])

    def put_past(self, budget: Budget) -> None:
        self._run(PUT_PAST, past_row(budget))

    def all_past(self) -> list[Budget]:
        """Return the rows of periods that are over."""
        rows = self._all("SELECT data FROM cycles_past_budgets ORDER BY scope_path, unit, renewals")
        return [kept_budget(data) for (data,) in rows]

    # -- reservations --------------------------------------------------------------------------------------------------
    def hold(self, reservation_id: str) -> Hold | None:
        row = self._one("SELECT data FROM cycles_holds WHERE reservation_id = %s", plain(reservation_id))
        return None if row is None else hold_of(row[0])

    def put_hold(self, hold: Hold) -> None:
        self._run(_PUT_HOLD, hold_row(hold))

    def overdue(self, now_ms: int, most: int) -> list[Hold]:
        sql = (
            "SELECT data FROM cycles_holds WHERE status = 'ACTIVE' AND deadline_ms < %s "
            "ORDER BY deadline_ms, number LIMIT %s"
        )
        return [hold_of(data) for (data,) in self._all(sql, now_ms, most)]

    def live_holds_of(self, tenant_id: str) -> list[Hold]:
        sql = "SELECT data FROM cycles_holds WHERE tenant = %s AND status = 'ACTIVE' ORDER BY number"
        return [hold_of(data) for (data,) in self._all(sql, plain(tenant_id))]

    def all_holds(self) -> list[Hold]:
        """Return every reservation, oldest first."""
        return [hold_of(data) for (data,) in self._all("SELECT data FROM cycles_holds ORDER BY created_at_ms, number")]

    def every_hold(self, columns: Sequence[str]) -> Iterator[tuple[Hold, tuple[Any, ...]]]:
        """Give every reservation as it was kept, and these *columns* of its row."""
        sql = f"SELECT data, {', '.join(columns)} FROM cycles_holds"  # noqa: S608 - names of this package
        with self.connection.cursor("every_hold") as cursor:
            for data, *values in cursor.execute(sql.encode()):
                yield hold_of(data), tuple(values)

    # -- replays -------------------------------------------------------------------------------------------------------
    def replay(self, scope: str, key: str) -> Replay | None:
        sql = "SELECT keep_until_ms, data FROM cycles_replays WHERE scope = %s AND key = %s"
        row = self._one(sql, plain(scope), key.encode())
        return None if row is None else replay_of(*row)

    def put_replay(self, scope: str, key: str, replay: Replay) -> None:
        self._run(_PUT_REPLAY, (scope, key.encode(), replay.keep_until_ms, replay_data(replay)))

    def put_event(self, event: ChargedEvent) -> None:
        self._run(PUT_EVENT, event_row(event))

    def purge(self, now_ms: int, most: int = PURGED_AT_ONCE) -> None:
        """Delete up to *most* rows each of replays, reservations, past periods and events that nobody needs."""
        for table, what, until in (
            ("cycles_replays", "keep_until_ms < %s ORDER BY keep_until_ms", now_ms),
            ("cycles_holds", "status <> 'ACTIVE' AND deadline_ms < %s ORDER BY deadline_ms", now_ms - HOLD_KEPT_MS),
            ("cycles_past_budgets", "reserved = 0 AND ended_ms < %s ORDER BY ended_ms", now_ms - PAST_KEPT_MS),
            ("cycles_events", "created_at_ms < %s ORDER BY created_at_ms", now_ms - EVENT_KEPT_MS),
            ("cycles_evidence", "keep_until_ms < %s ORDER BY keep_until_ms", now_ms),
        ):
            # What a request has just locked is left for the next time.
            found = f"SELECT ctid FROM {table} WHERE {what} LIMIT %s FOR UPDATE SKIP LOCKED"  # noqa: S608
            self._run(f"DELETE FROM {table} WHERE ctid = ANY(ARRAY({found}))", (until, most))  # noqa: S608

    # -- evidence ------------------------------------------------------------------------------------------------------
    def put_evidence(self, row: Envelope) -> None:
        self._run(PUT_EVIDENCE, evidence_row(row))

    def evidence(self, evidence_id: str) -> dict[str, Any] | None:
        row = self._one("SELECT data FROM cycles_evidence WHERE evidence_id = %s", plain(evidence_id))
        return None if row is None else dict(json.loads(row[0]))

    def evidence_from(self, source: str, digest: str) -> str | None:
        sql = "SELECT evidence_id FROM cycles_evidence WHERE source = %s AND digest = %s"
        row = self._one(sql, source.encode(), digest)
        return None if row is None else str(row[0])

    def evidence_of(self, reservation_id: str) -> dict[str, str]:
        sql = "SELECT artifact, evidence_id FROM cycles_evidence WHERE reservation_id = %s ORDER BY evidence_id"
        return dict(self._all(sql, plain(reservation_id)))

    # -- provisioning --------------------------------------------------------------------------------------------------
    def tenants(self) -> list[Tenant]:
        """Return every tenant by its id; also those without a record, which have a key or a budget and the defaults."""
        known = {row[0]: decoded(Tenant, row[1]) for row in self._all("SELECT tenant_id, data FROM cycles_tenants")}
        implied = self._all(
            "SELECT tenant, min(created_at_ms) FROM (SELECT tenant, created_at_ms FROM cycles_keys UNION ALL "
            "SELECT tenant, created_at_ms FROM cycles_budgets) found GROUP BY tenant ORDER BY tenant"
        )
        for tenant_id, created_at_ms in implied:
            if tenant_id not in known:
                known[tenant_id] = Tenant(tenant_id, created_at_ms=created_at_ms)
        return [known[tenant_id] for tenant_id in sorted(known)]

    def known_tenant(self, tenant_id: str) -> Tenant | None:
        """Return the tenant, if it has a record, a key or a budget."""
        found = self.tenant(tenant_id)
        if found is None:
            found = next((known for known in self.tenants() if known.tenant_id == tenant_id), None)
        return found

    def terms(self, scope_path: str, unit: str) -> Terms:
        """Return what was noted about a budget."""
        sql = "SELECT data FROM cycles_terms WHERE scope_path = %s AND unit = %s"
        row = self._one(sql, plain(scope_path), plain(unit))
        return Terms() if row is None else decoded(Terms, row[0])

    def put_terms(self, scope_path: str, unit: str, terms: Terms) -> None:
        self._run(
            "INSERT INTO cycles_terms VALUES (%s, %s, %s) ON CONFLICT (scope_path, unit) "
            "DO UPDATE SET data = excluded.data",
            (scope_path, unit, encoded(terms)),
        )

    # -- keys ----------------------------------------------------------------------------------------------------------
    def credential(self, secret: str) -> Credential | None:
        """Return what a request with the API key *secret* depends on, as of one moment. Every request asks for it."""
        batch = Batch(self.connection)
        batch.add(CREDENTIAL, key_hash(secret))
        return credential_in(batch.run()[0])

    def session(self, tenant_id: str) -> Credential:
        """Return what a request with a session key of *tenant_id* depends on."""
        batch = Batch(self.connection)
        batch.add(_SESSION, plain(tenant_id))
        status = next((status for (status,) in batch.run()[0]), None)
        return Credential(tenant_id, None, None, None if status is None else status.decode())

    def key(self, secret: str) -> ApiKey | None:
        """Return the API key with this secret."""
        row = self._one("SELECT data FROM cycles_keys WHERE key_hash = %s", key_hash(secret))
        return None if row is None else decoded(ApiKey, row[0])

    def key_named(self, key_id: str) -> ApiKey | None:
        row = self._one("SELECT data FROM cycles_keys WHERE key_id = %s", plain(key_id))
        return None if row is None else decoded(ApiKey, row[0])

    def keys(self, tenant_id: str | None = None) -> list[ApiKey]:
        """Return the API keys of a tenant, or of all, oldest first."""
        where, bound = ("", ()) if tenant_id is None else ("WHERE tenant = %s", (plain(tenant_id),))
        rows = self._all(f"SELECT data FROM cycles_keys {where} ORDER BY created_at_ms, key_id", *bound)  # noqa: S608
        return [decoded(ApiKey, data) for (data,) in rows]

    def put_key(self, key: ApiKey) -> None:
        self._run(
            "INSERT INTO cycles_keys VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (key_hash) DO UPDATE SET "
            "key_id = excluded.key_id, tenant = excluded.tenant, created_at_ms = excluded.created_at_ms, "
            "expires_at_ms = excluded.expires_at_ms, revoked_at_ms = excluded.revoked_at_ms, data = excluded.data",
            (
                key.key_hash,
                key.key_id,
                key.tenant,
                key.created_at_ms,
                key.expires_at_ms,
                key.revoked_at_ms,
                encoded(key),
            ),
        )

    # -- pages ---------------------------------------------------------------------------------------------------------
    def find_holds(self, query: HoldQuery, after: tuple[int | str, str] | None, most: int) -> Iterator[Hold]:
        return (hold_of(data) for (data,) in self._page(lists.holds(query, after, most)))

    def find_budgets(self, query: BudgetQuery, after: tuple[str, str] | None, most: int) -> list[Budget]:
        selection = lists.budgets(query, after, most)
        return [budget_of(row) for row in self._all(selection.sql, *selection.bound)]

    def find_ledgers(
        self, query: BudgetQuery, after: tuple[str, str] | None, most: int
    ) -> Iterator[tuple[Budget, Terms]]:
        return (
            (budget_of(row), Terms() if noted is None else decoded(Terms, noted))
            for *row, noted in self._page(lists.ledgers(query, after, most))
        )

    def find_events(self, query: EventQuery, after: tuple[int, str] | None, most: int) -> Iterator[ChargedEvent]:
        return (event_of(data) for (data,) in self._page(lists.events(query, after, most)))

    def find_keys(self, query: KeyQuery, after: tuple[int, str] | None, most: int, now_ms: int) -> Iterator[ApiKey]:
        return (decoded(ApiKey, data) for (data,) in self._page(lists.keys(query, after, most, now_ms)))

    def live_holds(self, tenant: str | None, most: int) -> list[Hold]:
        selection = lists.live_holds(tenant, most)
        return [hold_of(data) for (data,) in self._all(selection.sql, *selection.bound)]

    # -- queries -------------------------------------------------------------------------------------------------------
    def _page(self, selection: Selection) -> Iterator[tuple[Any, ...]]:
        """Give rows a few at a time, from a cursor of the transaction: each may have a megabyte of metadata."""
        with self.connection.cursor("page") as cursor:
            cursor.itersize = 20
            yield from cursor.execute(selection.sql.encode(), selection.bound)

    def _run(self, sql: str, bound: Sequence[Any] = ()) -> Cursor[Any]:
        return self.connection.execute(sql.encode(), bound)  # bytes: psycopg takes no text that is not a literal

    def _one(self, sql: str, *bound: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._run(sql, bound).fetchone()
        return row

    def _all(self, sql: str, *bound: Any) -> list[tuple[Any, ...]]:
        return self._run(sql, bound).fetchall()


def credential_in(found: list[Row]) -> Credential | None:
    """Return what CREDENTIAL has found."""
    for tenant, expires_at_ms, revoked_at_ms, status in found:
        return Credential(
            (tenant or b"").decode(),
            None if expires_at_ms is None else int(expires_at_ms),
            None if revoked_at_ms is None else int(revoked_at_ms),
            None if status is None else status.decode(),
        )
    return None
