"""Lanes: how many requests a client and its siblings have in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cycles._drivers import threads
from cycles._drivers.lanes import Lanes

if TYPE_CHECKING:
    import asyncio

_MOST_IN_FLIGHT: Final = {"httpx": 20, "httpx2": 20, "aiohttp": 100}
"""Requests that a client has in flight, by engine: as many as it keeps connections alive. For more, httpx and httpx2
open others and close them again, each with a TLS handshake: 500 reserves at once took 8 s that way."""


def thread_lanes() -> threads.Permits:
    """Return lanes for threads: no more of them send at a time than connections are kept alive.

    More would only wait for each other in turn, and for the interpreter's lock: 1,000 threads that reserved at once
    left the thread that renews their leases no time for it (benchmarks/open.py).
    """
    return threads.Permits(_MOST_IN_FLIGHT["httpx"])


class LoopLanes:
    """Lanes for tasks, in whichever event loop the client is used.

    Args:
        http_engine: What sends, as in the setting of this name.

    Attributes:
        width: Requests in flight, and renewals among them.
    """

    def __init__(self, http_engine: str) -> None:
        self.width: Final = _MOST_IN_FLIGHT[http_engine]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lanes: Lanes | None = None

    def gate(self, loop: asyncio.AbstractEventLoop | None) -> Lanes:
        """Return what each request passes in *loop*."""
        if self._lanes is None or loop is not self._loop:
            self._loop, self._lanes = loop, Lanes(self.width)
        return self._lanes
