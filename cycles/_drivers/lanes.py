"""Lanes: the requests that an asynchronous client has in flight, and who is next when all are taken.

A renewal goes at once. Whenever one of the lanes is free again, it goes to the settlement whose lease ends first, and
when no settlement waits, to the request that has waited longest.
"""

from __future__ import annotations

import heapq
import itertools
import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import anyio

    from cycles._core.effects import Call

_NO_LEASE: Final = float(2**63)
"""Where a settlement stands that no lease presses: behind all whose lease ends at some time."""


class Lanes:
    """The lanes of one client in one event loop.

    Args:
        width: Requests in flight. There are more only while renewals find no lane free: they take one all the same.

    Attributes:
        taken: Requests that are in flight.
    """

    __slots__ = ("_order", "_waiting", "taken", "width")

    def __init__(self, width: int) -> None:
        self.width: Final = width
        self.taken = 0
        self._waiting: list[tuple[float, int, _Turn]] = []
        self._order: Final = itertools.count()

    def lane(self, call: Call[Any]) -> _Lane:
        """Return what *call* is sent in: entering it waits for its turn."""
        return _Lane(self, call)

    async def wait(self, call: Call[Any]) -> None:
        """Take a lane when it is the turn of *call*."""
        turn = _Turn()
        heapq.heappush(self._waiting, (_place(call), next(self._order), turn))
        try:
            await turn.event.wait()
        except BaseException:
            turn.is_left = True
            if turn.event.is_set():  # at the same moment
                self.leave()
            raise

    def leave(self) -> None:
        """Give a lane back; whoever is next has it."""
        self.taken -= 1
        while self._waiting and self.taken < self.width:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.is_left:
                self.taken += 1
                turn.event.set()


class _Lane:
    """One request's lane."""

    __slots__ = ("_call", "_lanes")

    def __init__(self, lanes: Lanes, call: Call[Any]) -> None:
        self._lanes: Final = lanes
        self._call: Final = call

    async def __aenter__(self) -> None:
        lanes, call = self._lanes, self._call
        # While a lane is free nobody waits. What has a timeout of its own, as a renewal has, needs it for the wire.
        if lanes.taken < lanes.width or "request_timeout" in call.arguments:
            lanes.taken += 1
        else:
            await lanes.wait(call)

    async def __aexit__(self, *_: object) -> None:
        self._lanes.leave()


class _Turn:
    """One that waits. Whoever leaves stays in the heap until its turn: to look for it there would take long."""

    __slots__ = ("event", "is_left")

    def __init__(self) -> None:
        import anyio  # noqa: PLC0415 - costs import time, and httpx's async client has loaded it by now

        self.event: Final[anyio.Event] = anyio.Event()
        self.is_left = False


def _place(call: Call[Any]) -> float:
    """Return where *call* stands in the queue: the lower, the earlier."""
    if call.lease_ends_ms is not None:
        return call.lease_ends_ms
    return _NO_LEASE if call.operation.settles else math.inf
