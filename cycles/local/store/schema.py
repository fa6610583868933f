"""The tables of a ledger file, and how a file of an earlier version becomes one of this version.

`user_version` says which version a file has. An upgrade is one transaction together with the new number, so a process
that dies in the middle leaves the file as it was. A file of a later version is refused (sqlite.py) and left untouched.
"""

from __future__ import annotations

import re
import secrets
import sqlite3
from typing import TYPE_CHECKING, Final

from cycles.local.ledger.keys import ApiKey
from cycles.local.store import events, evidence, tenants
from cycles.local.store.rows import SqliteBooks

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION: Final = 5

_KEYS: Final = """
CREATE TABLE keys (
    key_hash TEXT PRIMARY KEY, key_id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER, revoked_at_ms INTEGER, data TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX keys_by_tenant ON keys (tenant, created_at_ms, key_id);
CREATE TABLE terms (
    scope_path TEXT NOT NULL, unit TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (scope_path, unit)
) WITHOUT ROWID;
"""

_PAST: Final = """
CREATE TABLE past_budgets (
    scope_path TEXT NOT NULL, unit TEXT NOT NULL, renewals INTEGER NOT NULL, reserved INTEGER NOT NULL,
    ended_ms INTEGER NOT NULL, data TEXT NOT NULL, PRIMARY KEY (scope_path, unit, renewals)
) WITHOUT ROWID;
CREATE INDEX past_budgets_by_end ON past_budgets (ended_ms) WHERE reserved = 0;
"""

SCHEMA: Final = (
    """
CREATE TABLE tenants (tenant_id TEXT PRIMARY KEY, data TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE budgets (
    scope_path TEXT NOT NULL, unit TEXT NOT NULL, tenant TEXT NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (scope_path, unit)
) WITHOUT ROWID;
CREATE INDEX budgets_by_tenant ON budgets (tenant, scope_path, unit);
CREATE TABLE holds (
    reservation_id TEXT PRIMARY KEY, tenant TEXT NOT NULL, idempotency_key TEXT NOT NULL, scope_path TEXT NOT NULL,
    unit TEXT NOT NULL, estimate INTEGER NOT NULL, status TEXT NOT NULL, created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL, finalized_at_ms INTEGER, data TEXT NOT NULL
);
CREATE INDEX holds_by_deadline ON holds (deadline_ms) WHERE status = 'ACTIVE';
CREATE INDEX holds_by_end ON holds (deadline_ms) WHERE status != 'ACTIVE';
CREATE INDEX holds_by_creation ON holds (tenant, created_at_ms, reservation_id);
CREATE INDEX holds_by_key ON holds (tenant, idempotency_key);
CREATE TABLE replays (
    scope TEXT NOT NULL, key TEXT NOT NULL, keep_until_ms INTEGER NOT NULL, data TEXT NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;
CREATE INDEX replays_by_end ON replays (keep_until_ms);
"""
    + _KEYS
    + _PAST
    + events.TABLES
)


_LOG: Final = """
CREATE TABLE log_state (
    ledger TEXT NOT NULL, moved TEXT NOT NULL, is_elsewhere INTEGER NOT NULL, in_file INTEGER NOT NULL
)
"""
"""One row, the mark of the file (marks.py). `ledger` and `moved` come first and are of fixed length, so that they lie
side by side in the file: the ledger's id, and how often its log was moved, in 12 digits. `is_elsewhere` is 1 in
the file while later transactions are in its log; `in_file` is the last move that is in the file as a whole."""

_STATEMENT: Final = re.compile(r"CREATE (TABLE|INDEX) (\w+)")


def note_moving(connection: sqlite3.Connection) -> None:
    """Write down that the log is moved into the file once more, and that what comes after is elsewhere."""
    connection.execute("UPDATE log_state SET is_elsewhere = 1, moved = printf('%012d', moved + 1)")


def note_moved(connection: sqlite3.Connection, *, as_a_whole: bool) -> None:
    """Write down, in the log, that it is the log of this file."""
    moved = "CAST(moved AS INTEGER)" if as_a_whole else "in_file"
    connection.execute(f"UPDATE log_state SET is_elsewhere = 0, in_file = {moved}")  # noqa: S608 - one of two


def renew_mark(connection: sqlite3.Connection) -> None:
    """Give the ledger an id of its own: a copy is another ledger from now on."""
    row = (f"ledger:{secrets.token_hex(16)}", f"{0:012d}")
    connection.execute("UPDATE log_state SET ledger = ?, moved = ?, is_elsewhere = 0, in_file = 0", row)


def change_of(connection: sqlite3.Connection) -> str | None:
    """Return what somebody else changed about the tables of a ledger, or None.

    A trigger could move money while a row is written, and a column too many stops every write.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < 1:
        return f"its format is said to be {version}, which no version of cycles writes"
    known = {
        match[2]: _plain(text)
        for text in f"{SCHEMA};{_LOG};{evidence.TABLES}".split(";")
        if (match := _STATEMENT.search(text))
    }
    for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        if kind in ("trigger", "view"):
            return f"it has a {kind}, {name}, which no version of cycles makes"
        # A version before this one had other keys; the upgrade will see to them.
        if version == VERSION and name in known and _plain(sql) != known[name]:
            return f"its {kind} {name} was changed"
        if kind == "index" and name not in known and "UNIQUE" in (sql or "").upper():
            return f"it has an index, {name}, which no version of cycles makes"
    return None


def _plain(sql: str) -> str:
    return " ".join(sql.split())


def bring_up_to_date(connection: sqlite3.Connection, application_id: int) -> None:
    """Make the tables, or upgrade them; inside the caller's transaction."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        _add_evidence(connection)
        return
    if version > VERSION:  # it was not when it was looked at
        raise sqlite3.DatabaseError("another process has just upgraded it to a later version of cycles")
    if version == 0:
        _run(connection, SCHEMA)
        _add_mark(connection)
        connection.execute(f"PRAGMA application_id = {application_id}")
    else:
        for step in range(version, VERSION):
            _UPGRADES[step](connection)
    _add_evidence(connection)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def _add_evidence(connection: sqlite3.Connection) -> None:
    """Add the table of files that were made without it; programs that don't know it don't mind it."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'evidence'").fetchone() is None:
        _run(connection, evidence.TABLES)


def _add_mark(connection: sqlite3.Connection) -> None:
    connection.execute(_LOG)
    connection.execute("INSERT INTO log_state VALUES ('', '', 0, 0)")
    renew_mark(connection)


def _run(connection: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";"):
        connection.execute(statement)


def _from_1(connection: sqlite3.Connection) -> None:
    """Keys get an id, permissions and an expiry; what was noted about a budget gets a table."""
    rows = connection.execute("SELECT key_hash, tenant, name, created_at_ms, revoked_at_ms FROM keys").fetchall()
    connection.execute("DROP TABLE keys")
    _run(connection, _KEYS)
    books = SqliteBooks(connection)
    for key_hash, tenant, name, created_at_ms, revoked_at_ms in rows:
        key_id = f"key_{secrets.token_hex(8)}"
        books.put_key(
            ApiKey(key_id, key_hash, tenant, name=name, created_at_ms=created_at_ms, revoked_at_ms=revoked_at_ms)
        )


def _from_2(connection: sqlite3.Connection) -> None:
    """The file gets a mark, and tenants their names in lower case."""
    connection.execute("DROP TABLE IF EXISTS log_state")  # which said less
    _add_mark(connection)
    tenants.in_lower_case(connection)


def _from_3(connection: sqlite3.Connection) -> None:
    """Budgets may begin anew: the rows of periods that are over get a table."""
    _run(connection, _PAST)


def _from_4(connection: sqlite3.Connection) -> None:
    """Events get a table. Of those before it the ledger knows what they left of the budgets, and no list has them."""
    _run(connection, events.TABLES)


_UPGRADES: Final[dict[int, Callable[[sqlite3.Connection], None]]] = {
    1: _from_1,
    2: _from_2,
    3: _from_3,
    4: _from_4,
}
