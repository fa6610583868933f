"""Connections of a `SqliteStore`: opened when they are needed, lent to one thread at a time, never used in a fork."""

from __future__ import annotations

import ctypes
import logging
import os
import sqlite3
import threading
import weakref
from typing import TYPE_CHECKING, Final

from cycles.local.ledger.values import Refusal, Unusable
from cycles.local.store import tenants
from cycles.local.store.files import prepare, switch_to_wal
from cycles.local.store.known import Known
from cycles.local.store.places import Place
from cycles.local.store.turns import BUSY_TIMEOUT

if TYPE_CHECKING:
    from pathlib import Path

IDLE_CONNECTIONS: Final = 8
"""Connections to a file that stay open for the next request."""

_log: Final = logging.getLogger("cycles.local")


class Connection(sqlite3.Connection):
    """A connection of a store.

    Attributes:
        known: What it knows of the ledger's rows. Only whoever has the writer's turn may use that.
        waits: Whether SQLite itself waits for another process that writes.
    """

    known: Known
    waits: bool


_abandoned: Final[list[Connection]] = []
"""Connections to files that are not there any more; see `_abandon`."""

_inherited: Final[list[Connection]] = []
"""Connections of the parent process, in its fork: kept, for SQLite forbids any use of them there, closing included."""


def _abandon(connection: Connection) -> None:
    """Keep *connection* open until the process ends, even when nobody else refers to it.

    Its file is not there any more. The last connection to a file deletes the log by its name when it is closed, and
    that may be the log of the ledger which is there now.
    """
    if connection not in _abandoned:
        _abandoned.append(connection)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))  # or the end of the interpreter would close it


def _forgotten(connection: Connection, pid: int) -> None:
    """Close the connection of a ledger in memory that went without `close`, in the process that made it.

    Nothing is lost with it that anybody could ask for; from 3.13 on, Python would warn of it. Of a file it may warn.
    """
    if os.getpid() == pid:
        connection.close()


class Connections:
    """The connections to a ledger, safe to share between threads.

    Args:
        path: The file; None for a ledger in memory, which has one connection.

    Attributes:
        place: Whether the file is still the one that was opened; None in memory.
        idle: Those that wait for the next request.
        is_closed: Whether `close` was called.
    """

    def __init__(self, path: Path | None) -> None:
        self._path: Final = path
        self._lock = threading.RLock()  # guards the two sets of connections
        self.idle: list[Connection] = []  # writers take the last one, readers the first, so each find their own
        self._busy: set[Connection] = set()
        self._inherited = False  # a ledger in memory, in a fork of the process that made it
        self.is_closed = False
        self.place: Final = None if path is None else Place(path)

    def begin(self) -> None:
        """Open the first connection, and prepare the ledger with it; when that fails, nothing stays open."""
        connection = self._opened()
        try:
            prepare(connection, self._path)
            if self.place is not None:
                connection.execute("SELECT count(*) FROM tenants").fetchone()  # now its log is there
                self.place.opened(connection)
                for told in tenants.that_share(connection):
                    _log.warning("%s: %s", self._path, told)
        except BaseException:
            connection.close()  # which undoes what was begun
            if self.place is not None:
                self.place.close()
            raise
        self.idle.append(connection)

    def take(self, end: int) -> Connection:
        """Take a connection, from the *end* of the idle ones that readers (0) or writers (-1) use."""
        with self._lock:
            self._must_be_open()
            connection = self.idle.pop(end) if self.idle else self._connect()
            self._busy.add(connection)
        if self.place is not None:
            trouble = self.place.trouble()
            if trouble is not None:
                with self._lock:
                    for each in (*self.idle, *self._busy):
                        _abandon(each)
                self.give_back(connection)
                raise Unusable(trouble)
        return connection

    def give_back(self, connection: Connection, end: int = -1) -> None:
        """Take back what `take` gave, at the same *end*."""
        if connection.in_transaction:  # a second interrupt came while what the first one left was undone
            connection.execute("ROLLBACK")
            connection.known.undone()
        with self._lock:
            if connection not in self._busy:  # the process forked meanwhile, and this is the fork
                return
            self._busy.remove(connection)
            if not self.is_closed and len(self.idle) < IDLE_CONNECTIONS:
                self.idle.insert(len(self.idle) if end else 0, connection)
                return
        self._parted(connection)
        self._leave()

    def _leave(self) -> None:
        """Forget the file when this store has closed its last connection to it."""
        with self._lock:
            is_over = self.is_closed and not self._busy and not self.idle
        if is_over and self.place is not None:
            self.place.close()

    def _parted(self, connection: Connection) -> None:
        """Close a connection; one to a file that is not there any more stays open, see `_abandon`."""
        if self.place is not None and self.place.trouble() is not None:
            _abandon(connection)
        else:
            connection.close()

    def _must_be_open(self) -> None:
        if self.is_closed:
            raise Refusal(500, "INTERNAL_ERROR", "this authority is closed")
        if self._inherited:
            raise Refusal(
                500,
                "INTERNAL_ERROR",
                "a ledger in memory belongs to the process that made it, and this one is its fork: "
                "use local:PATH to share one",
            )

    def forked(self) -> None:
        """Begin anew in a fork, which neither uses nor closes the parent's connections."""
        _inherited.extend(self.idle)
        _inherited.extend(self._busy)
        self._lock, self.idle, self._busy = threading.RLock(), [], set()
        self._inherited = self._path is None

    def _connect(self) -> Connection:
        """Return one more connection; the first in a fork opens the log anew."""
        connection = self._opened()
        if self.place is not None:
            switch_to_wal(connection)
            if not self._busy and not self.idle:
                connection.execute("SELECT count(*) FROM tenants").fetchone()
                self.place.opened(connection)
        return connection

    def _opened(self) -> Connection:
        connection = sqlite3.connect(
            ":memory:" if self._path is None else self._path,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
            factory=Connection,
        )
        connection.known, connection.waits = Known(), True
        if self._path is None:
            weakref.finalize(self, _forgotten, connection, os.getpid()).atexit = False
        else:
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    def close(self) -> None:
        """Close the connections; ones in use are closed when they are given back."""
        with self._lock:
            self.is_closed = True
            idle, self.idle = self.idle, []
        for connection in idle:
            self._parted(connection)
        self._leave()
