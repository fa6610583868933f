"""Where a ledger's rows are kept: SQLite, in a file that the processes of one machine share, or in memory.

Every change is one IMMEDIATE transaction: the writer's lock is taken before the first read, so what was checked still
holds when it is written, whichever thread or process comes next. A file is in WAL mode, synchronous=NORMAL: a killed
process loses nothing that was acknowledged; a power failure may lose the last moments, and never corrupts.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
import weakref
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cycles.errors import ConfigError
from cycles.local.ledger.values import Refusal
from cycles.local.store import integrity, schema
from cycles.local.store.rows import SqliteBooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from cycles.local.ledger.events import Notice, Origin

APPLICATION_ID: Final = 0x4359434C  # "CYCL": how a file says that it is one of ours
BUSY_TIMEOUT: Final = 10.0
"""Seconds to wait for another writer before giving up."""

CHECKPOINT_PAGES: Final = 4000
"""Pages (16 MB) in the write-ahead log from which on they are moved into the file, which waits for the disk. With
SQLite's own 1000 the disk took most of the time of a commit, and the more the larger the file (docs/performance.md)."""

_SMALLEST_PAGE: Final = 512

_SHORTEST_PAUSE: Final = 0.0001
_LONGEST_PAUSE: Final = 0.01
"""Seconds between two attempts to write while another process does; they grow."""

IDLE_CONNECTIONS: Final = 8
"""Connections to a file that are kept open for the next request."""

_NOBODYS: Final = nullcontext()

_stores: Final[weakref.WeakSet[Store]] = weakref.WeakSet()
_inherited: Final[list[sqlite3.Connection]] = []
"""Connections of the parent process, in its fork. SQLite forbids to use them there, closing included: they are kept."""


def _after_fork() -> None:
    for store in list(_stores):
        store.forget_parent()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


class _Turn:
    """A lock for one thread at a time, which waits no longer than BUSY_TIMEOUT.

    A thread that holds it already is refused: finalizers run anywhere, and one that releases a forgotten reservation
    may be called while this very thread is in the middle of a transaction.
    """

    __slots__ = ("_lock", "_owner")

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._owner = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner == me:
            raise Refusal(500, "INTERNAL_ERROR", "the ledger was asked in the middle of its own transaction: ask again")
        if not self._lock.acquire(timeout=BUSY_TIMEOUT):
            raise sqlite3.OperationalError("database is locked")
        self._owner = me

    def __exit__(self, *_: object) -> None:
        self._owner = 0
        self._lock.release()


class Store:
    """A ledger's rows, safe to share between threads; a file also between processes.

    Args:
        path: The file, made when it is not there; None keeps everything in memory, for this process alone.

    Raises:
        ConfigError: when the file is no ledger, or of a later version; it is left untouched.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path: Final = None if path is None else Path(path).absolute()
        self._lock = threading.RLock()  # of the pool
        self._idle: list[sqlite3.Connection] = []
        self._busy: set[sqlite3.Connection] = set()
        # Of this process's writers, cheaper and fairer than SQLite's polling; in memory, of the one connection.
        self._turn = _Turn()
        self._inherited = False  # a ledger in memory, in a fork of the process that made it
        self._closed = False
        self.publish: Callable[[list[Notice], Origin | None], None] | None = None
        """Takes what a transaction noted, after it has committed and in the order of transactions."""
        if self.path is not None:
            _refuse_foreign(self.path)
        connection = self._connect()
        try:
            _prepare(connection, self.path)
        except BaseException as error:
            connection.close()  # what was begun is undone
            if isinstance(error, sqlite3.Error):
                raise ConfigError(f"{self.path}: can't be used as a ledger: {error}") from None
            raise
        self._idle.append(connection)
        _stores.add(self)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def is_memory(self) -> bool:
        """Whether nothing is written to disk."""
        return self.path is None

    @contextmanager
    def writing(self) -> Iterator[SqliteBooks]:
        """Give the books in one transaction, which any exception undoes."""
        with self._turn:
            connection = self._taken()
            try:
                self._begin(connection)
                books = SqliteBooks(connection, None if self.publish is None else [])
                yield books
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                self._give_back(connection)
            if books.notices and self.publish is not None:
                self.publish(books.notices, books.origin)

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Begin to write, when no other process does.

        SQLite would sleep a millisecond, then two, five and ten: each time longer than a whole reserve takes.
        """
        if self.path is None:
            connection.execute("BEGIN IMMEDIATE")
            return
        deadline, pause = time.monotonic() + BUSY_TIMEOUT, _SHORTEST_PAUSE
        connection.execute("PRAGMA busy_timeout = 0")
        try:
            while True:
                try:
                    connection.execute("BEGIN IMMEDIATE")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                        raise
                else:
                    return
                time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - so that two do not meet again
                pause = min(pause * 1.2, _LONGEST_PAUSE)
        finally:
            connection.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT * 1000)}")

    @contextmanager
    def glancing(self) -> Iterator[SqliteBooks]:
        """Give the books for one query, which needs no transaction around it."""
        with self._read_turn:
            connection = self._taken()
            try:
                yield SqliteBooks(connection)
            finally:
                self._give_back(connection)

    @contextmanager
    def reading(self) -> Iterator[SqliteBooks]:
        """Give the books as they are at one moment."""
        with self.glancing() as books:
            books.connection.execute("BEGIN")
            try:
                yield books
            finally:
                books.connection.execute("ROLLBACK")

    @property
    def _read_turn(self) -> AbstractContextManager[None]:
        """Whose turn readers wait for: of a file's nobody's, each has a connection of its own."""
        return self._turn if self.path is None else _NOBODYS

    def _taken(self) -> sqlite3.Connection:
        with self._lock:
            self._must_be_open()
            connection = self._idle.pop() if self._idle else self._connect()
            self._busy.add(connection)
            return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if connection not in self._busy:  # the process forked meanwhile, and this is the fork
                return
            self._busy.remove(connection)
            if not self._closed and len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def _must_be_open(self) -> None:
        if self._closed:
            raise Refusal(500, "INTERNAL_ERROR", "this authority is closed")
        if self._inherited:
            raise Refusal(
                500,
                "INTERNAL_ERROR",
                "a ledger in memory belongs to the process that made it, and this one is its fork: "
                "use local:PATH to share one",
            )

    def forget_parent(self) -> None:
        """Begin anew in a fork: no connection and no lock of the parent's is used, nor closed, here."""
        _inherited.extend(self._idle)
        _inherited.extend(self._busy)
        self._lock, self._turn, self._idle, self._busy = threading.RLock(), _Turn(), [], set()
        self._inherited = self.path is None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            ":memory:" if self.path is None else self.path,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        if self.path is not None:
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        return connection

    def close(self) -> None:
        """Close the connections; ones in use are closed when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __repr__(self) -> str:
        return f"<Store {'in memory' if self.path is None else str(self.path)!r}>"


def _refuse_foreign(path: Path) -> None:
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


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    if path is not None:
        _switch_to_wal(connection)
    connection.execute("BEGIN IMMEDIATE")  # of processes that start at once, one makes the tables
    schema.bring_up_to_date(connection, APPLICATION_ID)
    connection.execute("COMMIT")
