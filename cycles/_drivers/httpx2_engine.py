"""The engine httpx2: its clients and transports, without detours and within bounds (`connections`, `bounds`)."""

from __future__ import annotations

from typing import Any, ClassVar

import httpx2

from cycles._drivers.bounds import Bounds
from cycles._drivers.connections import AsyncDirect, AsyncEngine, Direct, Engine


class Transport(Engine, httpx2.HTTPTransport):
    """A blocking transport."""

    http: ClassVar[Any] = httpx2
    core = "httpcore2"


class DirectClient(Direct, httpx2.Client):
    """A blocking client."""

    http: ClassVar[Any] = httpx2
    transport = Transport


class AsyncTransport(AsyncEngine, httpx2.AsyncHTTPTransport):
    """An asynchronous transport."""

    http: ClassVar[Any] = httpx2
    core = "httpcore2"


class AsyncDirectClient(AsyncDirect, httpx2.AsyncClient):
    """An asynchronous client."""

    http: ClassVar[Any] = httpx2
    transport = AsyncTransport


class BoundedAuth(Bounds, httpx2.Auth):
    """What reads the answers of a client that was given."""

    http: ClassVar[Any] = httpx2
