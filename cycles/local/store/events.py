"""The rows of events: SQL, on a connection inside its transaction."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from cycles.local.store import lists
from cycles.local.store.encoding import EVENT_KEPT_MS, Unreadable, encoded, event_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles.local.ledger.values import ChargedEvent
    from cycles.local.store.protocols import EventQuery

TABLES: Final = """
CREATE TABLE events (
    event_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, idempotency_key TEXT NOT NULL, scope_path TEXT NOT NULL,
    unit TEXT NOT NULL, charged INTEGER NOT NULL, created_at_ms INTEGER NOT NULL, data TEXT NOT NULL
);
CREATE INDEX events_by_tenant ON events (tenant, created_at_ms, event_id);
CREATE INDEX events_by_creation ON events (created_at_ms, event_id);
"""


def put(connection: sqlite3.Connection, event: ChargedEvent) -> None:
    """Keep an event."""
    connection.execute(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            event.event_id,
            event.tenant,
            event.idempotency_key,
            event.affected[-1],
            event.unit,
            event.charged,
            event.created_at_ms,
            encoded(event),
        ),
    )


def find(
    connection: sqlite3.Connection, query: EventQuery, after: tuple[int, str] | None, most: int
) -> Iterator[ChargedEvent]:
    """Give events, newest first; see `StoredBooks.find_events`."""
    for (data,) in lists.events(connection, query, after, most):
        try:
            yield event_of(data)
        except Unreadable as error:
            raise sqlite3.DatabaseError(str(error)) from None


def purge(connection: sqlite3.Connection, now_ms: int, most: int) -> None:
    """Delete up to *most* events that are not kept any longer."""
    connection.execute(
        "DELETE FROM events WHERE event_id IN "
        "(SELECT event_id FROM events WHERE created_at_ms < ? ORDER BY created_at_ms LIMIT ?)",
        (now_ms - EVENT_KEPT_MS, most),
    )
