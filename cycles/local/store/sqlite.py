"""`SqliteStore`: a ledger in a file that the processes of one machine share, or in memory.

Every change is one IMMEDIATE transaction: the writer's lock is taken before the first read, so what was checked still
holds when it is written, whichever thread or process comes next. A file is in WAL mode, synchronous=NORMAL: a killed
process loses nothing that was acknowledged; a power failure may lose the last moments, and never corrupts.
"""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final, TypeVar

from cycles._outside.forks import renewed_in_forks
from cycles.errors import ConfigError
from cycles.local.ledger import leases
from cycles.local.store import integrity
from cycles.local.store.connections import Connections
from cycles.local.store.files import backed_up, move_log, refuse_foreign
from cycles.local.store.hurry import HURRY, must_not_wait
from cycles.local.store.places import located, made
from cycles.local.store.rows import HurriedBooks, SqliteBooks
from cycles.local.store.turns import BUSY_TIMEOUT, Turn

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from cycles.local.ledger.notices import Notice, Origin
    from cycles.local.ledger.touched import Touched
    from cycles.local.store.connections import Connection
    from cycles.local.store.known import Known
    from cycles.local.store.protocols import StoredBooks

T = TypeVar("T")

MOVE_LOG_EVERY: Final = 500
"""Transactions of a process after which it moves the write-ahead log into the file, which waits for the disk: some 4000
pages, 16 MB. With SQLite's own 1000 the disk took most of the time of a commit, and the more the larger the file
(docs/performance.md). SQLite does not do so by itself, for the file must say then that there is more in the log."""

_SHORTEST_PAUSE: Final = 0.0001
_LONGEST_PAUSE: Final = 0.01
"""Seconds between two attempts to write while another process does; they grow."""

_NO_LOCK: Final = nullcontext()

_TROUBLES: Final = {
    sqlite3.SQLITE_FULL: "its disk is full: make room",
    sqlite3.SQLITE_IOERR: "its disk can't be read or written: make room, or look at the disk",
    sqlite3.SQLITE_READONLY: "it can't be written: give this user the right to write it, and to its folder",
}
"""What SQLite says about a ledger's place, by the kind of its error, and what to do."""


class SqliteStore:
    """A `Store` on SQLite, safe to share between threads; a file also between processes.

    Args:
        path: The file, made when it is not there; None keeps everything in memory, for this process alone.

    Raises:
        ConfigError: when the file is no ledger, or of a later version; it is left untouched.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path: Final = None if path is None else located(path)
        # Orders this process's writers, cheaper and fairer than SQLite's polling; in memory all use of the connection.
        self._turn = Turn()
        self.publish: Callable[[list[Notice], Origin | None], None] | None = None
        """See `Store.publish`."""
        self._written = 0
        if self.path is not None:
            refuse_foreign(self.path)
            made(self.path)
        self.connections: Final = Connections(self.path)
        self._place: Final = self.connections.place
        try:
            self.connections.begin()
        except sqlite3.Error as error:
            raise ConfigError(f"{self.path}: can't be used as a ledger: {error}") from None
        renewed_in_forks(self)

    @property
    def place(self) -> str:
        """The path; "" in memory."""
        return "" if self.path is None else str(self.path)

    @property
    def clock(self) -> None:
        """None: everybody is on this machine."""
        return

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self.connections.is_closed

    @property
    def is_memory(self) -> bool:
        """Whether nothing is written to disk."""
        return self.path is None

    @property
    def failure(self) -> type[Exception]:
        """What SQLite raises when it can't use the ledger."""
        return sqlite3.DatabaseError

    def is_busy(self, error: Exception) -> bool:
        """Whether *error* says that other writers held the ledger for longer than BUSY_TIMEOUT."""
        return isinstance(error, sqlite3.OperationalError) and "locked" in str(error)

    def trouble(self, error: Exception) -> str | None:
        """Return what *error* says about the file and its disk; see `Store.trouble`."""
        code = getattr(error, "sqlite_errorcode", None)
        return None if code is None else _TROUBLES.get(code & 0xFF)  # the rest of it says more than anybody asks

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a copy of the ledger, as of one moment, to a new file; see `Store.backup`."""
        target = located(path)
        with self.glancing() as books:
            backed_up(books.connection, target)

    def problems(self) -> list[str]:
        """Return everything that is wrong with the ledger, for people; the time it takes grows with the file."""
        with self.reading() as books:
            return integrity.problems_of(books)

    def transact(self, operation: Callable[[StoredBooks], T], touches: Callable[[], Touched] | None = None) -> T:  # noqa: ARG002 - one writer at a time
        """Run *operation* in one transaction; see `Store.transact`."""
        with self.writing() as books:
            return operation(books)

    def sweep(self, clock: Callable[[], int], *, waits: bool = False) -> int:  # noqa: ARG002 - it always does
        """Expire and delete; see `Store.sweep`."""
        with self.writing() as books:
            now_ms = clock()
            books.purge(now_ms)
            return leases.sweep(books, now_ms)

    @contextmanager
    def writing(self) -> Iterator[SqliteBooks]:
        """Give the books in one transaction, which any exception undoes."""
        if self._place is not None and self._written % MOVE_LOG_EVERY in (0, MOVE_LOG_EVERY - 1):
            must_not_wait()  # the disk: the log is moved after the one, and begun anew by the other
        with self._turn:
            connection = self.connections.take(-1)
            known = connection.known
            try:
                if self._place is not None and self._place.log_size == 0:
                    must_not_wait()
                    self._move_log(connection)
                known.undone()  # if the last one did not end in order
                self._begin(connection)
                kind = HurriedBooks if HURRY.is_on else SqliteBooks
                books = kind(connection, None if self.publish is None else [], known)
                yield books
                connection.execute("COMMIT")
                known.is_changed = False
                self._written += 1
                if self._place is not None and self._written % MOVE_LOG_EVERY == 0:
                    with suppress(sqlite3.Error):  # what was written is safe in the log
                        self._move_log(connection)
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                known.undone()
                raise
            finally:
                self.connections.give_back(connection)
            if books.notices and self.publish is not None:
                self.publish(books.notices, books.origin)

    @staticmethod
    def _move_log(connection: Connection) -> None:
        connection.waits = True  # as `move_log` leaves it
        move_log(connection)

    def _begin(self, connection: Connection) -> None:
        """Begin to write, when no other process does.

        SQLite would sleep a millisecond, then two, five and ten: a whole reserve takes less. What the connection knows
        stays known when nobody else has written since.
        """
        if self.path is None:
            connection.execute("BEGIN IMMEDIATE")
            return
        deadline, pause = time.monotonic() + BUSY_TIMEOUT, _SHORTEST_PAUSE
        self._wait(connection, waits=False)
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
            must_not_wait()
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - so that two do not meet again
            pause = min(pause * 1.2, _LONGEST_PAUSE)
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if version != connection.known.version:
            connection.known.forget()
            connection.known.version = version

    @staticmethod
    def _wait(connection: Connection, *, waits: bool) -> None:
        """Let SQLite wait for another process that writes, or not."""
        if connection.waits != waits:
            connection.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT * 1000) if waits else 0}")
            connection.waits = waits

    @contextmanager
    def glancing(self) -> Iterator[SqliteBooks]:
        """Give the books for one query, which needs no transaction around it."""
        with self._reader() as connection:
            yield SqliteBooks(connection, known=self._known_to_readers(connection))

    def glance(self, question: Callable[[StoredBooks], T]) -> T:
        """Return what *question* finds out by one query."""
        with self.glancing() as books:
            return question(books)

    @contextmanager
    def reading(self) -> Iterator[SqliteBooks]:
        """Give the books as they are at one moment."""
        with self._reader() as connection:
            connection.execute("BEGIN")
            try:
                yield SqliteBooks(connection, known=self._known_to_readers(connection))
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def _reader(self) -> Iterator[Connection]:
        if self.path is not None:
            must_not_wait()
        with self._read_turn:
            connection = self.connections.take(0)
            try:
                if self.path is not None:
                    self._wait(connection, waits=True)
                yield connection
            finally:
                self.connections.give_back(connection, 0)

    def _known_to_readers(self, connection: Connection) -> Known | None:
        """Return what a reader need not ask for: in memory, where nobody else writes, all that is known."""
        return connection.known if self.path is None else None

    @property
    def _read_turn(self) -> AbstractContextManager[None]:
        """The lock that readers wait for; none with a file, where each reader has a connection of its own."""
        return self._turn if self.path is None else _NO_LOCK

    def forked(self) -> None:
        """Begin anew in a fork, which neither uses nor closes the parent's connections and locks."""
        self._turn = Turn()
        self.connections.forked()

    def close(self) -> None:
        """Close the connections; ones in use are closed when they are given back."""
        self.connections.close()

    def __repr__(self) -> str:
        return f"<SqliteStore {'in memory' if self.path is None else str(self.path)!r}>"
