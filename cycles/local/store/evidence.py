"""The rows of signed envelopes: SQL, on a connection inside its transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlite3

    from cycles.local.store.protocols import Envelope

TABLES: Final = """
CREATE TABLE evidence (
    evidence_id TEXT PRIMARY KEY, source TEXT NOT NULL, digest TEXT NOT NULL, reservation_id TEXT,
    artifact TEXT NOT NULL, keep_until_ms INTEGER NOT NULL, data TEXT NOT NULL
);
CREATE INDEX evidence_by_source ON evidence (source);
CREATE INDEX evidence_by_reservation ON evidence (reservation_id) WHERE reservation_id IS NOT NULL;
CREATE INDEX evidence_by_end ON evidence (keep_until_ms)
"""


def put(connection: sqlite3.Connection, row: Envelope) -> None:
    """Keep an envelope."""
    data = json.dumps(row.envelope, ensure_ascii=False, separators=(",", ":"))
    connection.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?, ?, ?, ?, ?, ?)", (*row[:6], data))


def read(connection: sqlite3.Connection, evidence_id: str) -> dict[str, Any] | None:
    """Return an envelope."""
    row = connection.execute("SELECT data FROM evidence WHERE evidence_id = ?", (evidence_id,)).fetchone()
    return None if row is None else dict(json.loads(row[0]))


def found_from(connection: sqlite3.Connection, source: str, digest: str) -> str | None:
    """Return the id of the envelope of the same answer to the same request."""
    sql = "SELECT evidence_id FROM evidence WHERE source = ? AND digest = ?"
    row = connection.execute(sql, (source, digest)).fetchone()
    return None if row is None else str(row[0])


def of_reservation(connection: sqlite3.Connection, reservation_id: str) -> dict[str, str]:
    """Return the ids of a reservation's envelopes, by artifact."""
    sql = "SELECT artifact, evidence_id FROM evidence WHERE reservation_id = ?"
    return dict(connection.execute(sql, (reservation_id,)).fetchall())


def purge(connection: sqlite3.Connection, now_ms: int, most: int) -> None:
    """Delete up to *most* envelopes whose time is over."""
    connection.execute(
        "DELETE FROM evidence WHERE evidence_id IN "
        "(SELECT evidence_id FROM evidence WHERE keep_until_ms < ? ORDER BY keep_until_ms LIMIT ?)",
        (now_ms, most),
    )
