"""A deadline that blocking requests obey as a whole.

httpx bounds each read and write, and an authority that sends its answer byte by byte outlasts that for ever. Here every
read and write of a request is cut to what is left for all of it. Looking a name up is the system's, and can't be cut.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from contextvars import Token


class Deadline:
    """When the request that is sent inside must be over.

    Args:
        seconds: How long it may take.
        waiting_counts: Whether waiting for a connection is a part of that; else it begins with the first byte.
    """

    __slots__ = ("_token", "ends", "seconds")

    _token: Token[Deadline | None]

    def __init__(self, seconds: float, *, waiting_counts: bool) -> None:
        self.seconds: Final = seconds
        self.ends = time.monotonic() + seconds if waiting_counts else None

    def __enter__(self) -> None:
        self._token = _deadline.set(self)

    def __exit__(self, *_: object) -> None:
        _deadline.reset(self._token)


_deadline: Final[ContextVar[Deadline | None]] = ContextVar("cycles_deadline", default=None)


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
