"""Ledger files: which files are ledgers that this version can use, and what makes a new one."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Final

from cycles.errors import ConfigError
from cycles.local.store import integrity, schema
from cycles.local.store.turns import BUSY_TIMEOUT

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID: Final = 0x4359434C  # "CYCL": how a file says that it is one of ours
_SMALLEST_PAGE: Final = 512


def refuse_foreign(path: Path) -> None:
    """Raise ConfigError unless *path* is a ledger, or nothing yet. Opened read-only, so that it stays as it is."""
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; name a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")
    size = path.stat().st_size if path.exists() else 0
    if size == 0:
        return
    tables, application, version, damage = _looked_at(path, size)
    if application == tables == 0 and size >= _SMALLEST_PAGE:
        return  # another process is making it just now
    if application != APPLICATION_ID:
        raise ConfigError(f"{path}: is a database of something else; it was left untouched: name another file")
    if version > schema.VERSION:
        raise ConfigError(
            f"{path}: was written by a later version of cycles (its format is {version}, this one knows up to "
            f"{schema.VERSION}); it was left untouched: upgrade cycles-guard, or name another file"
        )
    if damage is not None:
        raise _damaged(path, damage)


def _looked_at(path: Path, size: int) -> tuple[int, int, int, str | None]:
    """Return (tables, application id, version, damage) of a database."""
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT)
    except sqlite3.Error as error:
        raise ConfigError(f"{path}: can't be opened: {error}") from None
    try:
        # One snapshot: a process that makes the ledger may commit between two of these.
        connection.execute("BEGIN")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        is_ours = application == APPLICATION_ID and version <= schema.VERSION
        return tables, application, version, integrity.damage_of(connection, size) if is_ours else None
    except sqlite3.DatabaseError as error:
        with path.open("rb") as file:
            is_ours = file.read(72)[68:] == APPLICATION_ID.to_bytes(4, "big")
        if is_ours:
            raise _damaged(path, str(error)) from None
        raise ConfigError(
            f"{path}: is no ledger of cycles ({error}); it was left untouched: name another file"
        ) from None
    finally:
        connection.close()


def _damaged(path: Path, damage: str) -> ConfigError:
    return ConfigError(
        f"{path}: this ledger can't be used ({damage}); it was left untouched: restore it from a copy, or name "
        "another file"
    )


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Set the journal mode, which is kept in the file; SQLite does not wait when two processes do so at once."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            return


def prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    """Make or upgrade the tables of the ledger that *connection* is to, a file or in memory."""
    if path is not None:
        _switch_to_wal(connection)
    connection.execute("BEGIN IMMEDIATE")  # of processes that start at once, one makes the tables
    schema.bring_up_to_date(connection, APPLICATION_ID)
    connection.execute("COMMIT")
