"""The connections of a server: how many there may be, and how long one may do nothing.

uvicorn takes every connection, and waits without end for a first request, or for the rest of one. So idle connections
could use up all files that the process may open, and keep everybody else out. What asyncio then logs is limited, too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.auto import AutoHTTPProtocol

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

MOST: Final = 1000
"""Connections at once, where the process may have twice as many open files."""

REQUEST_WITHIN: Final = 20.0
"""Seconds for a request to arrive whole: from the connection, or from its first byte, to the last of its body."""

ACCEPT_ERRORS_EVERY: Final = 30.0
"""Seconds between two lines about connections that could not be taken."""

_log: Final = logging.getLogger("cycles.local")


def most_connections() -> int:
    """Return how many connections this process may have: at most half of its open files, the ledger needs some too."""
    files = 1024 if resource is None else resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return MOST if resource is not None and files == resource.RLIM_INFINITY else max(8, min(MOST, files // 2))


_Protocol: Any = AutoHTTPProtocol  # which one it is depends on what is installed


class Connection(_Protocol):  # type: ignore[misc]  # see above
    """A connection that is closed when no request arrives in time, or when another needs its place."""

    most = MOST
    """Connections at once; the server sets it."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._was_useful = False
        self._since = self.loop.time()
        self._deadline: asyncio.TimerHandle | None = None
        self._wait_for_request()
        if len(self.connections) > self.most:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._is_waiting:
            self._stop_waiting()
        elif self._deadline is None and not self.transport.is_closing():
            self._wait_for_request()  # the beginning of the next one

    def on_response_complete(self) -> None:
        self._was_useful = True
        self._since = self.loop.time()
        super().on_response_complete()

    @property
    def is_idle(self) -> bool:
        """Whether no request is being read or answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _is_waiting(self) -> bool:
        """Whether a request, or the rest of one, is still to arrive."""
        return self.is_idle or self.cycle.more_body

    def _wait_for_request(self) -> None:
        self._deadline = self.loop.call_later(REQUEST_WITHIN, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self.is_idle:
            self.transport.close()
        elif self.cycle.more_body:
            self.transport.abort()

    def _make_room(self) -> None:
        """Close the connection that has been idle longest; of those that never asked anything, if there is one."""
        idle = [each for each in self.connections if each.is_idle and not each.transport.is_closing()]
        # This one is idle as well, so there is always one.
        least = min(idle, key=lambda each: (each._was_useful, each is self, each._since))  # noqa: SLF001 - our own kind
        least.transport.abort()


def limited(most: int) -> type[Connection]:
    """Return the kind of connections of a server that has at most so many."""
    return type("LimitedConnection", (Connection,), {"most": most})


def quieter(
    loop: asyncio.AbstractEventLoop, clock: Callable[[], float]
) -> Callable[[asyncio.AbstractEventLoop, Mapping[str, Any]], None]:
    """Return an exception handler for *loop* that logs accept errors once in a while only.

    asyncio calls it for each connection in the backlog, a thousand times a second while there are no more open files.
    """
    before = loop.get_exception_handler()
    last, dropped = -ACCEPT_ERRORS_EVERY, 0

    def handler(loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        nonlocal last, dropped
        error = context.get("exception")
        if not (isinstance(error, OSError) and "accept" in str(context.get("message", ""))):
            (before or type(loop).default_exception_handler)(loop, context)  # type: ignore[arg-type]
            return
        now = clock()
        if now - last < ACCEPT_ERRORS_EVERY:
            dropped += 1
            return
        _log.error("no connection can be taken: %s (%d more times since the last such line)", error.strerror, dropped)
        last, dropped = now, 0

    return handler
