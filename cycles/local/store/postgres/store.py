"""`PostgresStore`: a ledger in a PostgreSQL database, which servers and programs of many machines share.

A request is one transaction, and locks the rows that it touches, in one order (planned.py). An operation that does not
say beforehand what it touches, such as an operator's call, runs alone: its transaction takes the gate that all others
share. Both see what is committed, and nobody waits for a lock for longer than connections.py's LOCKS_WITHIN.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

import psycopg
from psycopg import errors

from cycles.errors import ConfigError
from cycles.local.ledger import leases
from cycles.local.ledger.values import Refusal
from cycles.local.store.postgres import integrity, schema
from cycles.local.store.postgres.clock import NOW, DatabaseClock
from cycles.local.store.postgres.connections import AGAIN, GONE, CommitLostError, Connections
from cycles.local.store.postgres.planned import (
    TRY_LOCK,
    WAIT_FOR_LOCK,
    NotPlanned,
    Overdue,
    PlannedBooks,
    SweepBooks,
)
from cycles.local.store.postgres.rows import PostgresBooks
from cycles.local.store.postgres.schema import GATE, LOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cycles.local.ledger.notices import Notice, Origin
    from cycles.local.ledger.touched import Touched
    from cycles.local.store.postgres.batches import PreparingConnection, Statement
    from cycles.local.store.protocols import StoredBooks

T = TypeVar("T")

TRY_WITHIN: Final = 5.0
"""Seconds within which a transaction that the database undid begins once more."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25


class PostgresStore:
    """A `Store` on PostgreSQL, safe to share between threads; the database also between processes and machines.

    Args:
        url: postgresql://user:password@host/database, with libpq's parameters after a "?".

    Raises:
        ConfigError: when the database can't be reached or used; it is left untouched.
    """

    def __init__(self, url: str) -> None:
        self.clock: Final = DatabaseClock()
        self._connections: Final = Connections(url, self.clock)
        self.publish: Callable[[list[Notice], Origin | None], None] | None = None
        """See `Store.publish`."""
        self._prepare()

    @property
    def place(self) -> str:
        """The URL, without the password."""
        return self._connections.place

    @property
    def path(self) -> Path | None:
        """None: no file of this machine."""
        return None

    @property
    def is_memory(self) -> bool:
        """No: every transaction waits for the database."""
        return False

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._connections.is_closed

    @property
    def failure(self) -> type[Exception]:
        """What psycopg raises when it can't use the ledger."""
        return psycopg.Error

    def is_busy(self, error: Exception) -> bool:
        """Whether *error* may be gone when asked again."""
        return isinstance(error, (*AGAIN, *GONE))

    def trouble(self, error: Exception) -> str | None:  # noqa: ARG002 - what the database says stays in the log
        """Return None: the database's operator reads about its place."""
        return None

    # -- opening -------------------------------------------------------------------------------------------------------
    def _prepare(self) -> None:
        """Make the tables, or upgrade them."""
        said = None
        try:
            with self._connections.alone() as connection:
                version = connection.info.server_version
                if version < 150000:
                    raise ConfigError(f"{self.place}: is PostgreSQL {version // 10000}; 15 is the oldest that will do")
                schema.bring_up_to_date(connection, self.place)
        except psycopg.Error as error:
            said = self._connections.told(error)
        if said is not None:  # out of the handler: the chained error knows the connection's parameters
            raise ConfigError(f"{self.place}: can't be used as a ledger: {said}")

    # -- transactions --------------------------------------------------------------------------------------------------
    def transact(self, operation: Callable[[StoredBooks], T], touches: Callable[[], Touched] | None = None) -> T:
        """Run *operation* in one transaction; see `Store.transact`."""
        touched = None if touches is None else touches()
        patience, looks = _Patience(), True
        while True:
            try:
                if touched is None:
                    with self._alone() as books:
                        return operation(books)
                return self._planned(operation, touched, looks=looks)
            except NotPlanned:
                touched = None
            except Overdue as found:
                self._sweep_first(found.now_ms)
                looks = False
            except (*AGAIN, *GONE) as error:
                if touches is None and isinstance(error, CommitLostError):  # no key tells whether it was done
                    raise self._connections.unclear(error) from None
                if not patience.is_left(error):
                    raise self._connections.unavailable(error) from None

    def _planned(self, operation: Callable[[StoredBooks], T], touched: Touched, *, looks: bool) -> T:
        with self._connections.one() as connection:
            books = PlannedBooks(connection, self._notices(), looks=looks, clock=self.clock)
            books.open(touched)
            try:
                result = operation(books)
            except BaseException:
                books.leave()
                raise
            books.flush()
        self._published(books)
        if books.wants_purge:
            self._purge()
        return result

    @contextmanager
    def _alone(self) -> Iterator[PostgresBooks]:
        with self._connections.one() as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCK, GATE))
            self._read_time(connection)
            yield (books := PostgresBooks(connection, self._notices()))
            try:
                connection.execute("COMMIT")
            except GONE as error:
                raise CommitLostError(*error.args) from None
        self._published(books)

    @contextmanager
    def writing(self) -> Iterator[PostgresBooks]:
        """Give the books in one transaction, which any exception undoes; nobody else writes meanwhile."""
        try:
            with self._alone() as books:
                yield books
        except CommitLostError as error:
            raise self._connections.unclear(error) from None
        except GONE as error:
            raise self._connections.unavailable(error) from None

    @contextmanager
    def reading(self) -> Iterator[PostgresBooks]:
        """Give the books as they are at one moment."""
        try:
            with self._connections.one() as connection:
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                self._read_time(connection)
                yield PostgresBooks(connection)
                connection.execute("COMMIT")
        except GONE as error:
            raise self._connections.unavailable(error) from None

    @contextmanager
    def glancing(self) -> Iterator[PostgresBooks]:
        """Give the books for one query, which needs no transaction around it."""
        try:
            with self._connections.one() as connection:
                yield PostgresBooks(connection)
        except GONE as error:
            raise self._connections.unavailable(error) from None

    def glance(self, question: Callable[[StoredBooks], T]) -> T:
        """Return what *question* finds out by one query; asked again when the connection broke."""
        patience = _Patience()
        while True:
            try:
                with self._connections.one() as connection:
                    return question(PostgresBooks(connection))
            except GONE as error:
                if not patience.is_left(error):
                    raise self._connections.unavailable(error) from None

    def _read_time(self, connection: PreparingConnection) -> None:
        row = connection.execute(f"SELECT {NOW}".encode()).fetchone()
        assert row is not None  # noqa: S101 - types: always one row
        self.clock.read(row[0])

    def _notices(self) -> list[Notice] | None:
        return None if self.publish is None else []

    def _published(self, books: PostgresBooks) -> None:
        if books.notices and self.publish is not None:
            self.publish(books.notices, books.origin)

    # -- expiring and deleting -----------------------------------------------------------------------------------------
    def sweep(self, clock: Callable[[], int], *, waits: bool = False) -> int:
        """Expire what is overdue, and delete what nobody can ask for any more; see `Store.sweep`."""

        def swept(books: SweepBooks) -> int:
            now_ms = clock()
            books.purge(now_ms)
            return leases.sweep(books, now_ms)

        return self._swept(swept, WAIT_FOR_LOCK if waits else TRY_LOCK)

    def _sweep_first(self, now_ms: int) -> None:
        """Expire what is overdue at *now_ms*, after whoever is doing so just now."""
        self._swept(lambda books: leases.sweep(books, now_ms), WAIT_FOR_LOCK)

    def _purge(self) -> None:
        def purged(books: SweepBooks) -> int:
            books.purge(self.clock())
            return 0

        with suppress(psycopg.Error, Refusal):  # the next one does it
            self._swept(purged, TRY_LOCK)

    def _swept(self, work: Callable[[SweepBooks], int], sweeper: Statement) -> int:
        patience = _Patience()
        while True:
            try:
                with self._connections.one() as connection:
                    books = SweepBooks(connection, self._notices(), looks=False, clock=self.clock)
                    count = work(books) if books.open_sweep(sweeper) else 0
                    books.flush()
            except (*AGAIN, *GONE) as error:
                if not patience.is_left(error):
                    raise self._connections.unavailable(error) from None
            else:
                self._published(books)
                return count

    # -- looking at all of it ------------------------------------------------------------------------------------------
    def problems(self) -> list[str]:
        """Return everything that is wrong with the ledger, for people; SQL adds it up."""
        with self.reading() as books:
            return integrity.problems_of(books)

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Refuse: the database's own tools copy it."""
        raise ConfigError(
            f"{os.fspath(path)}: a ledger in PostgreSQL is copied by PostgreSQL's own tools, such as pg_dump"
        )

    # -- ending --------------------------------------------------------------------------------------------------------
    def close(self) -> None:
        """Close the connections; ones in use are closed when they are given back."""
        self._connections.close()

    def __repr__(self) -> str:
        return f"<PostgresStore {self.place!r}>"


class _Patience:
    """How often a transaction begins once more, and when: at once the first time, then after pauses that grow."""

    def __init__(self) -> None:
        self._until: Final = time.monotonic() + TRY_WITHIN
        self._pause = 0.0

    def is_left(self, error: Exception) -> bool:
        """Return whether to try again, after a pause; *error* is what it failed with."""
        if isinstance(error, errors.LockNotAvailable) or time.monotonic() + self._pause > self._until:
            return False
        time.sleep(self._pause * (0.5 + random.random()))  # noqa: S311 - so that two do not meet again
        self._pause = min(max(self._pause * 2, _SHORTEST_PAUSE), _LONGEST_PAUSE)
        return True
