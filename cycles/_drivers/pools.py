"""Several small pools of connections in place of one large one.

Before and after each request httpx's pool looks at all its connections, and for each that is idle at all of them again.
With 20 that takes longer than the request itself. So each pool has few here, and the next one is used when those are in
use.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

_CONNECTIONS: Final = 4
"""Requests in flight in one pool before the next one is used."""

_MOST: Final = 8
"""Pools; when all of them are in use, each further request goes to the one with the fewest."""

_KEPT: Final = 5.0
"""Seconds after its last request at which a pool that is not needed any more is closed: those that httpx keeps an idle
connection for. A pool looks at its connections only when it is used."""


class _Pool:
    """One pool, and how many requests are in flight in it."""

    __slots__ = ("in_flight", "transport", "used_at")

    def __init__(self, transport: Any) -> None:
        self.transport: Final = transport
        self.in_flight = 0
        self.used_at = 0.0


class _Pools:
    """What both kinds of transports share.

    Args:
        engine: Makes the transport of one pool.
        **options: What that takes.
    """

    def __init__(self, engine: Callable[..., Any], **options: Any) -> None:
        self._opened: Final = partial(engine, **options)
        # The first one at once: what can't be opened is said when a client is made.
        self._pools: Final = [_Pool(self._opened())]
        self._lock: Final = threading.Lock()  # nobody begins in a pool that another thread is about to close

    def _begin(self) -> _Pool:
        """Return the pool that the next request goes to, which is in flight from now on."""
        with self._lock:
            pool = next((pool for pool in self._pools if pool.in_flight < _CONNECTIONS), None)
            if pool is None and len(self._pools) < _MOST:
                pool = _Pool(self._opened())
                self._pools.append(pool)
            if pool is None:
                pool = min(self._pools, key=lambda pool: pool.in_flight)
            pool.in_flight += 1
            return pool

    def _end(self, pool: _Pool) -> _Pool | None:
        """Note the end of a request in *pool*; take out and return the last pool when it is not needed any more.

        The first one stays.
        """
        with self._lock:
            pool.in_flight -= 1
            now = pool.used_at = time.monotonic()
            last = self._pools[-1]
            if len(self._pools) == 1 or last.in_flight or last.used_at + _KEPT > now:
                return None
            return self._pools.pop()


class Pools(_Pools, httpx.BaseTransport):
    """A blocking transport that has several pools."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* through the first pool that is not in full use."""
        pool = self._begin()
        try:
            response: httpx.Response = pool.transport.handle_request(request)
            return response
        finally:
            if (left_over := self._end(pool)) is not None:
                left_over.transport.close()

    def close(self) -> None:
        """Close the connections."""
        for pool in list(self._pools):
            pool.transport.close()


class AsyncPools(_Pools, httpx.AsyncBaseTransport):
    """An asynchronous transport that has several pools."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* through the first pool that is not in full use."""
        pool = self._begin()
        try:
            response: httpx.Response = await pool.transport.handle_async_request(request)
            return response
        finally:
            if (left_over := self._end(pool)) is not None:
                await left_over.transport.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        for pool in list(self._pools):
            await pool.transport.aclose()
