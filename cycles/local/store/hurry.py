"""Threads that must not wait, such as an event loop's: they answer from a ledger file as long as nothing waits.

Most transactions on a file wait for nothing: SQLite writes into the log, and the system writes the log to the disk
later. A thread in a hurry goes on with those, and leaves at the first sign of a wait, before anything was written:
another thread or process has the writer's turn, the log is to be moved into the file, reservations are to be expired.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class WouldWait(BaseException):  # so that no handler on its way takes it for a failure
    """A transaction would have to wait; it was not begun, or has written nothing."""


class _Hurry(threading.local):
    is_on = False


HURRY: Final = _Hurry()
"""Whether this thread must not wait."""


def at_once(work: Callable[[], T]) -> T | None:
    """Return what *work* returns, or None when one of its transactions would wait; it can be done again then.

    What it does before its transaction it does twice, so that must leave nothing behind.
    """
    HURRY.is_on = True
    try:
        return work()
    except WouldWait:
        return None
    finally:
        HURRY.is_on = False


def patiently(work: Callable[[], T]) -> T:
    """Return what *work* returns, with all the time that it takes.

    Finalizers run anywhere: one that releases a forgotten reservation may be called in the middle of what hurries.
    """
    before, HURRY.is_on = HURRY.is_on, False
    try:
        return work()
    finally:
        HURRY.is_on = before


def must_not_wait() -> None:
    """Leave, when this thread is in a hurry: what follows waits, or takes long."""
    if HURRY.is_on:
        raise WouldWait
