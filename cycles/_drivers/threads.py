"""Threads as the program has them: native ones, or the greenlets that gevent and eventlet put in their place.

They may do so after this package was loaded and its clients were made: `gunicorn --preload -k gevent` does. A native
lock is no good then, wherever its holder waits for anything: the next greenlet that wants it stops them all.
"""

from __future__ import annotations

import _thread
import threading
from types import BuiltinFunctionType
from typing import Any, Final, Literal


def are_greenlets() -> bool:
    """Return whether threads are greenlets now."""
    return not isinstance(_thread.start_new_thread, BuiltinFunctionType)


class Lock:
    """A lock of the program's kind of threads, for whoever waits for something while holding it.

    It is made anew when the kind changes; nothing can hold it then, for the program has just begun or has just forked.

    Args:
        kind: Which class of `threading` it is of.
        *args: What that takes.
    """

    __slots__ = ("_args", "_inner", "_kind", "_threads")

    def __init__(self, kind: Literal["Lock", "RLock", "Semaphore"] = "Lock", *args: Any) -> None:
        self._kind: Final = kind
        self._args: Final = args
        self._threads: Any = None
        self._inner: Any = self._fitting()

    def _fitting(self) -> Any:
        if self._threads is not threading.Lock:  # which both of them replace
            self._threads, self._inner = threading.Lock, getattr(threading, self._kind)(*self._args)
        return self._inner

    @property
    def native(self) -> Any:
        """The lock as threads are now: `with lock.native` takes it for a block.

        The block's steps are the interpreter's own. Between Python's own steps, of an `__enter__` of this class, a
        signal handler could raise: the lock would be taken, without a block that gives it back.
        """
        return self._fitting()

    def acquire(self, timeout: float | None = None) -> bool:
        """Take it, and return whether that was possible within *timeout* seconds, or however long it takes."""
        lock = self._fitting()
        taken: bool = lock.acquire() if timeout is None else lock.acquire(timeout=timeout)
        return taken

    def release(self) -> None:
        """Give it back."""
        self._inner.release()
