"""A deadline that blocking requests obey as a whole.

httpx bounds each read and write, and an authority that sends its answer byte by byte outlasts that for ever. Here every
read and write of a request is cut to what is left for all of it. Looking a name up is the system's, and can't be cut.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Deadline:
    """When a request must be over; *ends* is None until its first byte if waiting for a connection does not count."""

    __slots__ = ("ends", "seconds")

    def __init__(self, seconds: float, ends: float | None) -> None:
        self.seconds: Final = seconds
        self.ends = ends


_deadline: Final[ContextVar[_Deadline | None]] = ContextVar("cycles_deadline", default=None)


@contextmanager
def deadline(seconds: float, *, waiting_counts: bool) -> Iterator[None]:
    """End the request that is sent inside after *seconds*, of which waiting for a connection is a part or not."""
    token = _deadline.set(_Deadline(seconds, time.monotonic() + seconds if waiting_counts else None))
    try:
        yield
    finally:
        _deadline.reset(token)


def left(timeout: float | None, over: type[Exception]) -> float | None:
    """Return the seconds that the next step of this thread's request may take; raise *over* when there are none."""
    found = _deadline.get()
    if found is None:
        return timeout
    now = time.monotonic()
    if found.ends is None:
        found.ends = now + found.seconds
    seconds = found.ends - now
    if seconds <= 0.0:
        raise over(f"the request took longer than its {found.seconds:.3g} s")
    return seconds if timeout is None else min(timeout, seconds)
