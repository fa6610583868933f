"""Threads as the program has them: native ones, or the greenlets that gevent and eventlet put in their place.

They may do so after this package was loaded and its clients were made: `gunicorn --preload -k gevent` does. A native
lock is no good then, wherever its holder waits for anything: the next greenlet that wants it stops them all.
"""

from __future__ import annotations

import _thread
import threading
from functools import partial
from queue import Empty, SimpleQueue
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Steps: TypeAlias = "tuple[Callable[[float | None], object], Callable[[object], object]]"
"""What takes a permit, within so many seconds or however long it takes, or raises `queue.Empty`; what puts it back."""


def are_greenlets() -> bool:
    """Return whether threads are greenlets now."""
    return not isinstance(_thread.start_new_thread, BuiltinFunctionType)


class Lock:
    """A lock of the program's kind of threads, for whoever waits for something while holding it.

    It is made anew when the kind changes; nothing can hold it then, for the program has just begun or has just forked.

    Args:
        kind: Which class of `threading` it is of.
    """

    __slots__ = ("_inner", "_kind", "_threads")

    def __init__(self, kind: Literal["Lock", "RLock"] = "Lock") -> None:
        self._kind: Final = kind
        self._threads: Any = None
        self._inner: Any = self._fitting()

    def _fitting(self) -> Any:
        if self._threads is not threading.Lock:  # which both of them replace
            self._threads, self._inner = threading.Lock, getattr(threading, self._kind)()
        return self._inner

    @property
    def native(self) -> Any:
        """The lock as threads are now: `with lock.native` takes it for a block.

        The block's steps are the interpreter's own. Between Python's own steps, of an `__enter__` of this class, a
        signal handler could raise: the lock would be taken, without a block that gives it back.
        """
        return self._fitting()


class Permits:
    """So many permits, for threads of the program's kind; who takes one keeps it in a list.

    Native ones are in a queue of the interpreter's own. `taken.extend(map(take, (timeout,)))` takes one and keeps it,
    and `any(map(put, taken))` gives back what was kept, each in one step of the interpreter: no signal handler can
    raise in between. A semaphore of `threading` has steps in Python: what was raised between them left a permit taken,
    or the semaphore's own lock, and then all threads waited for ever.

    Args:
        count: How many there are.
    """

    __slots__ = ("_count", "_steps", "_threads")

    def __init__(self, count: int) -> None:
        self._count: Final = count
        self._threads: Any = None
        self._steps = self._made()

    @property
    def steps(self) -> Steps:
        """What takes a permit, and what puts it back, as threads are now; made anew like a `Lock`."""
        if self._threads is not threading.Lock:
            self._steps = self._made()
        return self._steps

    def _made(self) -> Steps:
        self._threads = threading.Lock
        if are_greenlets():
            semaphore = threading.Semaphore(self._count)

            def take(timeout: float | None) -> None:
                if not semaphore.acquire(timeout=timeout):
                    raise Empty

            return take, lambda _: semaphore.release()
        permits: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._count):
            permits.put(None)
        return partial(permits.get, True), permits.put  # type: ignore[return-value]  # noqa: FBT003 - it waits
