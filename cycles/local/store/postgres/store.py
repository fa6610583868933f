"""`PostgresStore`: a ledger in a PostgreSQL database, which servers and programs of many machines share.

A request is one transaction, and locks the rows that it touches, in one order (planned.py). What does not say
beforehand what it touches, such as an operator's call, runs alone: its transaction takes the gate that all others
share. Both see what is committed, and nobody waits for a lock for longer than LOCKS_WITHIN.
"""

from __future__ import annotations

import logging
import os
import random
import select
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cycles._outside.extras import install
from cycles._outside.urls import without_password
from cycles.errors import ConfigError

try:
    import psycopg
    from psycopg import errors
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.pq import TransactionStatus
    from psycopg_pool import ConnectionPool, PoolClosed
except ImportError as missing:
    raise ConfigError(f"a ledger in PostgreSQL needs an extra: {install('postgres')}") from missing

from cycles.local.ledger import leases
from cycles.local.ledger.values import Refusal, Unavailable, Unusable
from cycles.local.store.encoding import Unreadable
from cycles.local.store.postgres import integrity, schema
from cycles.local.store.postgres.batches import PreparingConnection
from cycles.local.store.postgres.clock import NOW, DatabaseClock
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
    from cycles.local.store.postgres.batches import Statement
    from cycles.local.store.protocols import StoredBooks

    Pool = ConnectionPool[PreparingConnection]

T = TypeVar("T")

CONNECTIONS: Final = 16
"""Connections of one process, at most. PostgreSQL itself allows 100 in all unless it is configured otherwise."""

CONNECT_WITHIN: Final = 3.0
"""Seconds to wait for a connection."""

LOCKS_WITHIN: Final = 5.0
"""Seconds to wait for another transaction's lock."""

TRY_WITHIN: Final = 5.0
"""Seconds within which a transaction that the database undid begins once more."""

IDLE_WITHIN: Final = 60.0
"""Seconds after which the database ends a transaction whose process does nothing, and holds everybody up."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.25

_SESSION: Final = (
    f"SELECT set_config('lock_timeout', '{round(LOCKS_WITHIN * 1000)}', false), "
    f"set_config('idle_in_transaction_session_timeout', '{round(IDLE_WITHIN * 1000)}', false), "
    "set_config('default_transaction_isolation', 'read committed', false)"
)
_KEEPALIVE: Final = {
    "connect_timeout": "3",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "application_name": "cycles",
}
"""Of a connection, unless the URL says otherwise: a machine that is gone without a word is noticed in seconds."""

_AGAIN: Final = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.UniqueViolation,  # another request used the same key a moment before: now it is there to be found
)
_GONE: Final = (psycopg.OperationalError, psycopg.InterfaceError)
"""Errors of a connection that broke, of a server that shuts down or starts, and of locks that were not to be had."""


class _CommitLostError(psycopg.OperationalError):
    """The connection broke before the database answered a COMMIT: nobody knows whether it was done."""


_log: Final = logging.getLogger("cycles.local")
_stores: Final[weakref.WeakSet[PostgresStore]] = weakref.WeakSet()
_inherited: Final[list[Any]] = []
"""Pools of the parent process, in its fork: kept, for closing one would end the parent's connections."""


def _after_fork() -> None:
    for store in list(_stores):
        store.forget_parent()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


class PostgresStore:
    """A `Store` on PostgreSQL, safe to share between threads; the database also between processes and machines.

    Args:
        url: postgresql://user:password@host/database, with libpq's parameters after a "?".

    Raises:
        ConfigError: when the database can't be reached or used; it is left untouched.
    """

    def __init__(self, url: str) -> None:
        self.place: Final = without_password(url)
        self.clock: Final = DatabaseClock()
        self.publish: Callable[[list[Notice], Origin | None], None] | None = None
        """See `Store.publish`."""
        self._conninfo: Final = self._checked(url)
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._closed = False
        self._prepare()
        _stores.add(self)

    @property
    def path(self) -> Path | None:
        """None: no file of this machine."""
        return None

    @property
    def writes_alone(self) -> bool:
        """No: transactions lock rows, and each query is a round trip during which others wait for them."""
        return False

    @property
    def is_memory(self) -> bool:
        """No: every transaction waits for the database."""
        return False

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def failure(self) -> type[Exception]:
        """What psycopg raises when it can't use the ledger."""
        return psycopg.Error

    def is_busy(self, error: Exception) -> bool:
        """Whether *error* may be gone when asked again."""
        return isinstance(error, (*_AGAIN, *_GONE))

    # -- opening -------------------------------------------------------------------------------------------------------
    def _checked(self, url: str) -> dict[str, Any]:
        """Return the parameters of *url*; what libpq says about a wrong one may quote the password."""
        with suppress(psycopg.ProgrammingError):
            return {**_KEEPALIVE, **conninfo_to_dict(url)}
        raise ConfigError(
            f"{self.place}: is no URL of a PostgreSQL database: write postgresql://user:password@host/database, "
            "with special characters of the password percent-encoded (@ is %40, / is %2F)"
        )

    def _prepare(self) -> None:
        """Make the tables, or upgrade them."""
        said = None
        try:
            with psycopg.connect(**self._conninfo, autocommit=True) as connection:
                version = connection.info.server_version
                if version < 150000:
                    raise ConfigError(f"{self.place}: is PostgreSQL {version // 10000}; 15 is the oldest that will do")
                schema.bring_up_to_date(connection, self.place)
        except psycopg.Error as error:
            said = self._told(error)
        if said is not None:  # out of the handler: the chained error knows the connection's parameters
            raise ConfigError(f"{self.place}: can't be used as a ledger: {said}")

    def _told(self, error: Exception) -> str:
        """Return what *error* says, in one line and without the password."""
        text = " ".join(str(error).split()) or type(error).__name__
        secret = str(self._conninfo.get("password") or "")
        return text.replace(secret, "***") if secret else text

    def _connections(self) -> Pool:
        pool = self._pool
        if pool is None:
            with self._lock:
                if self._closed:
                    raise Refusal(500, "INTERNAL_ERROR", "this authority is closed")
                pool = self._pool
                if pool is None:
                    pool = self._pool = ConnectionPool(
                        connection_class=PreparingConnection,
                        kwargs={**self._conninfo, "autocommit": True, "prepare_threshold": None},
                        min_size=1,
                        max_size=CONNECTIONS,
                        timeout=CONNECT_WITHIN,
                        configure=_configured,
                        name="cycles",
                        open=True,
                    )
        return pool

    @contextmanager
    def _connection(self) -> Iterator[PreparingConnection]:
        """Give a connection that is alive, and see that the next user finds it so, and in no transaction."""
        if self.clock.is_in_transaction:
            # A finalizer runs anywhere, also in the middle of this thread's own transaction, whose locks it would want.
            message = "the ledger was asked in the middle of its own transaction: ask again"
            raise Refusal(500, "INTERNAL_ERROR", message)
        pool = self._connections()
        connection = self._living(pool)
        try:
            with self.clock.transaction():
                yield connection
        except Unreadable as error:
            raise psycopg.DataError(str(error)) from None
        finally:
            _left_idle(connection)
            pool.putconn(connection)

    def _living(self, pool: Pool) -> PreparingConnection:
        """Return a connection that the database has not closed: after its restart all of the pool are dead."""
        while True:
            try:
                connection = pool.getconn()
            except PoolClosed:
                raise Refusal(500, "INTERNAL_ERROR", "this authority is closed") from None
            except psycopg.Error as error:
                raise self._unavailable(error) from None
            if not connection.closed and not _says_something(connection):
                return connection
            connection.close()
            pool.putconn(connection)

    def _unavailable(self, error: Exception) -> Unavailable:
        _log.warning("%s: the database did not do it: %s", self.place, self._told(error))
        return Unavailable("the ledger's database does not answer, or is too busy: ask again with the same key")

    def _unclear(self, error: Exception) -> Unusable:
        _log.warning("%s: the answer to a commit was lost: %s", self.place, self._told(error))
        return Unusable("the ledger's database was lost: it may have been done, so look before you ask again")

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
            except (*_AGAIN, *_GONE) as error:
                if touches is None and isinstance(error, _CommitLostError):  # no key tells whether it was done
                    raise self._unclear(error) from None
                if not patience.is_left(error):
                    raise self._unavailable(error) from None

    def _planned(self, operation: Callable[[StoredBooks], T], touched: Touched, *, looks: bool) -> T:
        with self._connection() as connection:
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
        with self._connection() as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCK, GATE))
            self._read_time(connection)
            yield (books := PostgresBooks(connection, self._notices()))
            try:
                connection.execute("COMMIT")
            except _GONE as error:
                raise _CommitLostError(*error.args) from None
        self._published(books)

    @contextmanager
    def writing(self) -> Iterator[PostgresBooks]:
        """Give the books in one transaction, which any exception undoes; nobody else writes meanwhile."""
        try:
            with self._alone() as books:
                yield books
        except _CommitLostError as error:
            raise self._unclear(error) from None
        except _GONE as error:
            raise self._unavailable(error) from None

    @contextmanager
    def reading(self) -> Iterator[PostgresBooks]:
        """Give the books as they are at one moment."""
        try:
            with self._connection() as connection:
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                self._read_time(connection)
                yield PostgresBooks(connection)
                connection.execute("COMMIT")
        except _GONE as error:
            raise self._unavailable(error) from None

    @contextmanager
    def glancing(self) -> Iterator[PostgresBooks]:
        """Give the books for one query, which needs no transaction around it."""
        try:
            with self._connection() as connection:
                yield PostgresBooks(connection)
        except _GONE as error:
            raise self._unavailable(error) from None

    def glance(self, question: Callable[[StoredBooks], T]) -> T:
        """Return what *question* finds out by one query; asked again when the connection broke."""
        patience = _Patience()
        while True:
            try:
                with self._connection() as connection:
                    return question(PostgresBooks(connection))
            except _GONE as error:
                if not patience.is_left(error):
                    raise self._unavailable(error) from None

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
                with self._connection() as connection:
                    books = SweepBooks(connection, self._notices(), looks=False, clock=self.clock)
                    count = work(books) if books.open_sweep(sweeper) else 0
                    books.flush()
            except (*_AGAIN, *_GONE) as error:
                if not patience.is_left(error):
                    raise self._unavailable(error) from None
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
    def forget_parent(self) -> None:
        """Begin anew in a fork, which neither uses nor closes the parent's connections and locks."""
        _inherited.append(self._pool)
        self._lock, self._pool = threading.Lock(), None

    def close(self) -> None:
        """Close the connections; ones in use are closed when they are given back."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

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


def _configured(connection: PreparingConnection) -> None:
    connection.execute(_SESSION.encode())


def _left_idle(connection: PreparingConnection) -> None:
    """End what was begun on a connection, or the connection, when it was left in the middle of an exchange."""
    state = connection.pgconn.transaction_status
    if state in (TransactionStatus.INTRANS, TransactionStatus.INERROR) and not connection.pgconn.pipeline_status:
        with suppress(psycopg.Error):
            connection.execute("ROLLBACK")
    if connection.pgconn.transaction_status != TransactionStatus.IDLE or connection.pgconn.pipeline_status:
        connection.close()


def _says_something(connection: PreparingConnection) -> bool:
    """Whether there is something to read on a connection that nobody asked anything: mostly its end."""
    waiting = select.poll() if hasattr(select, "poll") else None
    if waiting is None:  # Windows
        return bool(select.select([connection.fileno()], [], [], 0)[0])
    waiting.register(connection.fileno(), select.POLLIN)
    return bool(waiting.poll(0))
