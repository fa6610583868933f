"""The engine httpx: its clients and transports, without detours and within bounds (`connections`, `bounds`)."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import httpx

from cycles._drivers.bounds import Bounds
from cycles._drivers.connections import AsyncDirect, AsyncEngine, Direct, Engine
from cycles._drivers.pools import AsyncPools, Pools


class Transport(Engine, httpx.HTTPTransport):
    """A blocking transport."""

    http: ClassVar[Any] = httpx
    core = "httpcore"


class DirectClient(Direct, httpx.Client):
    """A blocking client."""

    http: ClassVar[Any] = httpx
    transport: ClassVar[Any] = staticmethod(partial(Pools, Transport))


class AsyncTransport(AsyncEngine, httpx.AsyncHTTPTransport):
    """An asynchronous transport."""

    http: ClassVar[Any] = httpx
    core = "httpcore"


class AsyncDirectClient(AsyncDirect, httpx.AsyncClient):
    """An asynchronous client."""

    http: ClassVar[Any] = httpx
    transport: ClassVar[Any] = staticmethod(partial(AsyncPools, AsyncTransport))


class BoundedAuth(Bounds, httpx.Auth):
    """What reads the answers of a client that was given."""

    http: ClassVar[Any] = httpx
