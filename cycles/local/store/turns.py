"""The locks of the authority whose holders may sleep."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any, Final

from cycles.local.ledger.values import Refusal
from cycles.local.store.hurry import HURRY, WouldWait

BUSY_TIMEOUT: Final = 10.0
"""Seconds to wait for another writer before giving up."""


class SleepersLock:
    """A lock whose holder may sleep, of the kind of threads that the program has.

    gevent and eventlet put greenlets in the place of threads, sometimes after this module was loaded and locks were
    made (`gunicorn --preload -k gevent`). A native lock whose holder sleeps stops them all then; it is made anew.
    """

    __slots__ = ("_inner", "_threads")

    def __init__(self) -> None:
        self._threads: Any = None
        self._inner: Any = self._fitting()

    def _fitting(self) -> Any:
        if self._threads is not threading.Lock:  # which both of them replace
            self._threads, self._inner = threading.Lock, threading.Lock()
        return self._inner

    def acquire(self, timeout: float = -1) -> bool:
        """Take it, and return whether that was possible within *timeout* seconds."""
        taken: bool = self._fitting().acquire(timeout=timeout)
        return taken

    def release(self) -> None:
        """Give it back."""
        self._inner.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Turn:
    """A lock for one thread at a time, which waits no longer than BUSY_TIMEOUT, and not at all in a hurry.

    A thread that holds it already is refused: finalizers run anywhere, and one that releases a forgotten reservation
    may be called while this very thread is in the middle of a transaction.
    """

    __slots__ = ("_lock", "_owner")

    def __init__(self) -> None:
        self._lock: Final = SleepersLock()
        self._owner = 0

    def __enter__(self) -> None:
        me = threading.get_ident()
        if self._owner == me:
            raise Refusal(500, "INTERNAL_ERROR", "the ledger was asked in the middle of its own transaction: ask again")
        if HURRY.is_on:
            if not self._lock.acquire(timeout=0):
                raise WouldWait
        elif not self._lock.acquire(timeout=BUSY_TIMEOUT):
            raise sqlite3.OperationalError("database is locked")
        self._owner = me

    def __exit__(self, *_: object) -> None:
        self._owner = 0
        self._lock.release()
