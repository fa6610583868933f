"""Lanes: how many requests a client and its siblings have in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles._drivers import threads

if TYPE_CHECKING:
    import asyncio
    from contextlib import AbstractAsyncContextManager

_MOST_IN_FLIGHT: Final = {"httpx": 20, "httpx2": 20, "aiohttp": 100}
"""Requests that a client has in flight, by engine: as many as it keeps connections alive. For more, httpx and httpx2
open others and close them again, and httpx looks through all connections and all that wait whenever a request ends:
500 reserves at once took 8 s that way (docs/performance.md)."""


def thread_lanes() -> threads.Lock:
    """Return lanes for threads: no more of them send at a time than connections are kept alive.

    More would only wait for each other in turn, and for the interpreter's lock: 1,000 threads that reserved at once
    left the thread that renews their leases no time for it (benchmarks/open.py).
    """
    return threads.Lock("Semaphore", _MOST_IN_FLIGHT["httpx"])


class LoopLanes:
    """Lanes for tasks, in whichever event loop the client is used.

    Args:
        http_engine: What sends, as in the setting of this name.
    """

    def __init__(self, http_engine: str) -> None:
        self._width: Final = _MOST_IN_FLIGHT[http_engine]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate: AbstractAsyncContextManager[Any] | None = None

    def gate(self, loop: asyncio.AbstractEventLoop | None) -> AbstractAsyncContextManager[Any]:
        """Return what each request passes in *loop*."""
        if self._gate is None or loop is not self._loop:
            import anyio  # noqa: PLC0415 - costs import time, and httpx's async client has loaded it by now

            self._loop, self._gate = loop, anyio.Semaphore(self._width, fast_acquire=True)
        return self._gate
