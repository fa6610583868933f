"""Ledger files: which files are ledgers that this version can use, and what makes a new one."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from cycles.errors import ConfigError
from cycles.local.store import integrity, marks, places, schema
from cycles.local.store.turns import BUSY_TIMEOUT

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID: Final = 0x4359434C  # "CYCL": how a file says that it is one of ours
_SMALLEST_PAGE: Final = 512
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class _Look(NamedTuple):
    """What a database says about itself."""

    tables: int
    application: int
    version: int
    log_is_elsewhere: bool = False
    log_is_its_own: bool = True
    damage: str | None = None


def refuse_foreign(path: Path) -> None:
    """Raise ConfigError unless *path* is a ledger, or nothing yet. Opened read-only, so that it stays as it is."""
    size = places.size_of(path)
    if size == 0:
        return
    log = places.log_of(path)
    has_log = _has_content(log)
    found = _looked_at(path, size)
    has_log = has_log or _has_content(log)  # another process may have begun to use the file meanwhile
    if found.application == found.tables == 0 and size >= _SMALLEST_PAGE:
        if has_log:
            return  # another process is making it just now
        raise ConfigError(
            f"{path}: is an empty database; it was left untouched. If it is a copy of a ledger, its log {log.name} is "
            "missing: copy that too, or use `cycles local backup`; else delete it, or name another file"
        )
    if found.application != APPLICATION_ID:
        raise ConfigError(f"{path}: is a database of something else; it was left untouched: name another file")
    if found.version > schema.VERSION:
        raise ConfigError(
            f"{path}: was written by a later version of cycles (its format is {found.version}, this one knows up to "
            f"{schema.VERSION}); it was left untouched: upgrade cycles-guard, or name another file"
        )
    if has_log and not found.log_is_its_own:
        raise ConfigError(
            f"{path}: its log {log.name} belongs to another state of it: the file was restored or overwritten while "
            f"the log was there; both were left untouched: if the file is the one you want, delete {log.name} and "
            f"{path.name}-shm, else put the file back that they belong to"
        )
    if found.damage is not None:
        raise _damaged(path, found.damage)
    if found.log_is_elsewhere and not has_log:
        raise ConfigError(
            f"{path}: is a copy that was made while the ledger was in use, without its log {log.name}, so the last "
            "that was spent is not in it; it was left untouched: copy the log too, or use `cycles local backup`"
        )


def _has_content(log: Path) -> bool:
    try:
        return log.stat().st_size > 0
    except FileNotFoundError:
        return False


def _looked_at(path: Path, size: int) -> _Look:
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
        if application != APPLICATION_ID or version > schema.VERSION:
            return _Look(tables, application, version)
        state = marks.seen(connection)
        with marks.beneath(path) as file:  # after the log was read: meanwhile others may move more of it into the file
            if state is not None and not state.fits(file.mark(state)):
                return _Look(tables, application, version, log_is_its_own=False)
        damage = schema.change_of(connection) or integrity.damage_of(connection, size)
        is_elsewhere = state is not None and state.is_elsewhere
        return _Look(tables, application, version, is_elsewhere, damage=damage)
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGE:
            raise ConfigError(f"{path}: can't be opened: {error}") from None
        with marks.beneath(path) as file:
            is_ours = file.read(68, 4) == APPLICATION_ID.to_bytes(4, "big")
        if is_ours:
            log = places.log_of(path)
            if log.exists() and marks.log_is_foreign(path, log):
                return _Look(1, APPLICATION_ID, schema.VERSION, log_is_its_own=False)
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


def switch_to_wal(connection: sqlite3.Connection) -> None:
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
    """Make or upgrade the tables of the ledger that *connection* is to, a file or in memory.

    A file gets its tables before its log, so that no copy of it, however early, is taken for an empty one.
    """
    connection.execute("BEGIN IMMEDIATE")  # of processes that start at once, one makes the tables
    schema.bring_up_to_date(connection, APPLICATION_ID)
    connection.execute("COMMIT")
    if path is not None:
        switch_to_wal(connection)


def move_log(connection: sqlite3.Connection) -> None:
    """Move the log into the file, and leave word in the file that there is more in the log from now on.

    The file alone says that its log is elsewhere, and the first transaction in the log takes that back. So a copy of
    the file without its log is recognised, and one of a ledger that was closed is not: SQLite then moves all of the
    log. A process that dies in between leaves a log that has something in it.
    """
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        schema.note_moving(connection)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return  # another process writes, and will move the log itself when it is its turn
    finally:
        connection.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT * 1000)}")
    in_log, moved = 0, -1
    try:
        _, in_log, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    finally:
        schema.note_moved(connection, as_a_whole=in_log == moved)


def backed_up(source: sqlite3.Connection, path: Path) -> None:
    """Write a copy of the ledger, as of one moment, to the file *path*, which must not be there yet.

    Raises:
        ConfigError: when it is there, or can't be written.
    """
    if places.size_of(path) or path.exists():
        raise ConfigError(f"{path}: is there already; name a new file")
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)  # of a backup that was interrupted
    places.made(part)
    try:
        with closing(sqlite3.connect(part, isolation_level=None)) as copy:
            source.backup(copy)
            schema.renew_mark(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, without a log
        part.rename(path)
    except (sqlite3.Error, OSError) as error:
        part.unlink(missing_ok=True)
        raise ConfigError(f"{path}: the copy can't be written: {error}") from None
