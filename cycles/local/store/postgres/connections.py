"""`Connections`: one process's way to a ledger in PostgreSQL, and what its failures mean.

Each is given out to one transaction at a time, alive and idle. A fork begins with none, and leaves its parent's alone.
What libpq says may quote the password: it passes through `Connections.told`.
"""

from __future__ import annotations

import logging
import select
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolClosed

from cycles._outside.forks import renewed_in_forks
from cycles._outside.urls import without_password
from cycles.errors import ConfigError
from cycles.local.ledger.values import Refusal, Unavailable, Unusable
from cycles.local.store.encoding import Unreadable
from cycles.local.store.postgres.batches import PreparingConnection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles.local.store.postgres.clock import DatabaseClock

    Pool = ConnectionPool[PreparingConnection]

CONNECTIONS: Final = 16
"""Connections of one process, at most. PostgreSQL itself allows 100 in all unless it is configured otherwise."""

CONNECT_WITHIN: Final = 3.0
"""Seconds to wait for a connection."""

RECONNECT_WITHIN: Final = 1.0
"""Seconds for which the pool itself tries to replace a connection that broke. Then the next request does so, at once:
the pool's own pauses double, so that it would notice the end of an outage only after as long again."""

LOCKS_WITHIN: Final = 5.0
"""Seconds to wait for another transaction's lock."""

IDLE_WITHIN: Final = 60.0
"""Seconds after which the database ends a transaction whose process does nothing, and holds everybody up."""

AGAIN: Final = (
    errors.SerializationFailure,
    errors.DeadlockDetected,
    errors.UniqueViolation,  # another request used the same key a moment before: now it is there to be found
)
"""Errors of a transaction that the database undid, and that may go well the next time."""

GONE: Final = (psycopg.OperationalError, psycopg.InterfaceError)
"""Errors of a connection that broke, of a server that shuts down or starts, and of locks that were not free in time."""

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

_log: Final = logging.getLogger("cycles.local")
_inherited: Final[list[Any]] = []
"""Pools of the parent process, in its fork: kept, for closing one would end the parent's connections."""


class CommitLostError(psycopg.OperationalError):
    """The connection broke before the database answered a COMMIT: nobody knows whether it was done."""


class Connections:
    """The connections of one process to one database; safe to share between threads.

    Args:
        url: postgresql://user:password@host/database, with libpq's parameters after a "?".
        clock: Stands still while a thread has a connection.

    Raises:
        ConfigError: when *url* is none of a PostgreSQL database.
    """

    def __init__(self, url: str, clock: DatabaseClock) -> None:
        self.place: Final = without_password(url)
        self._clock: Final = clock
        self._conninfo: Final = self._checked(url)
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._closed = False
        renewed_in_forks(self)

    @property
    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def _checked(self, url: str) -> dict[str, Any]:
        """Return the parameters of *url*; what libpq says about a wrong one may quote the password."""
        with suppress(psycopg.ProgrammingError):
            return {**_KEEPALIVE, **conninfo_to_dict(url)}
        raise ConfigError(
            f"{self.place}: is no URL of a PostgreSQL database: write postgresql://user:password@host/database, "
            "with special characters of the password percent-encoded (@ is %40, / is %2F)"
        )

    # -- giving connections --------------------------------------------------------------------------------------------
    @contextmanager
    def alone(self) -> Iterator[psycopg.Connection[Any]]:
        """Give a connection that is closed afterwards, as opening a ledger needs one; what fails is psycopg's error."""
        with psycopg.connect(**self._conninfo, autocommit=True) as connection:
            yield connection

    @contextmanager
    def one(self) -> Iterator[PreparingConnection]:
        """Give a connection that is alive, and see that the next user finds it so, and in no transaction."""
        if self._clock.is_in_transaction:
            # A finalizer runs anywhere, also in the middle of this thread's own transaction, whose locks it would want.
            message = "the ledger was asked in the middle of its own transaction: ask again"
            raise Refusal(500, "INTERNAL_ERROR", message)
        pool = self.pool()
        connection = self._living(pool)
        try:
            with self._clock.transaction():
                yield connection
        except Unreadable as error:
            raise psycopg.DataError(str(error)) from None
        finally:
            _left_idle(connection)
            pool.putconn(connection)

    def pool(self) -> Pool:
        """Return the pool, opened at its first use."""
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
                        reconnect_timeout=RECONNECT_WITHIN,
                        configure=_configured,
                        name="cycles",
                        open=True,
                    )
        return pool

    def _living(self, pool: Pool) -> PreparingConnection:
        """Return a connection that the database has not closed: after its restart all of the pool are dead."""
        while True:
            try:
                connection = pool.getconn()
            except PoolClosed:
                raise Refusal(500, "INTERNAL_ERROR", "this authority is closed") from None
            except psycopg.Error as error:
                raise self.unavailable(error) from None
            if not connection.closed and not _says_something(connection):
                return connection
            connection.close()
            pool.putconn(connection)

    # -- what failures mean --------------------------------------------------------------------------------------------
    def told(self, error: Exception) -> str:
        """Return what *error* says, in one line and without the password."""
        text = " ".join(str(error).split()) or type(error).__name__
        secret = str(self._conninfo.get("password") or "")
        return text.replace(secret, "***") if secret else text

    def unavailable(self, error: Exception) -> Unavailable:
        """Return what callers hear of *error* when nothing was done, and log it."""
        _log.warning("%s: the database did not do it: %s", self.place, self.told(error))
        return Unavailable("the ledger's database does not answer, or is too busy: ask again with the same key")

    def unclear(self, error: Exception) -> Unusable:
        """Return what callers hear of *error* when nobody knows whether it was done, and log it."""
        _log.warning("%s: the answer to a commit was lost: %s", self.place, self.told(error))
        return Unusable("the ledger's database was lost: it may have been done, so look before you ask again")

    # -- ending --------------------------------------------------------------------------------------------------------
    def forked(self) -> None:
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
        return f"<Connections to {self.place!r}>"


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
