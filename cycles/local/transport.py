"""httpx transports to an authority inside the process: no socket, no thread of their own."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import httpx

from cycles.local.clock import ManualClock
from cycles.local.faults import FaultKind
from cycles.local.messages import Request

if TYPE_CHECKING:
    from cycles.local.app import App
    from cycles.local.faults import Fault, Spoilt
    from cycles.local.messages import Response


class LocalTransport(httpx.BaseTransport):
    """A transport for `httpx.Client`; closing it leaves the authority open."""

    def __init__(self, app: App) -> None:
        self._app: Final = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = _asked(request, request.read())
        fault = self._app.fault_of(asked)
        if fault is None:
            return _answered(self._app.handle(asked), request)
        time.sleep(_held_up(self._app, fault, request))
        return _spoilt(self._app.handle_badly(asked, fault), request, fault)

    def __repr__(self) -> str:
        return f"<LocalTransport to {self._app!r}>"


class AsyncLocalTransport(httpx.AsyncBaseTransport):
    """A transport for `httpx.AsyncClient` (asyncio or trio); closing it leaves the authority open.

    A ledger in memory answers at once. A file may make a request wait for its disk or for another process's
    transaction, so there the answer comes from a worker thread. Like a server, that thread ends what it began when the
    task that asked is cancelled.
    """

    def __init__(self, app: App) -> None:
        self._app: Final = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = _asked(request, await request.aread())
        fault = self._app.fault_of(asked)
        if fault is None:
            if self._app.is_memory:
                return _answered(self._app.handle(asked), request)
            from anyio import to_thread  # noqa: PLC0415 - httpx's own dependency; only needed here

            return _answered(await to_thread.run_sync(self._app.handle, asked), request)
        import anyio  # noqa: PLC0415 - as above

        await anyio.sleep(_held_up(self._app, fault, request))
        return _spoilt(await anyio.to_thread.run_sync(self._app.handle_badly, asked, fault), request, fault)

    def __repr__(self) -> str:
        return f"<AsyncLocalTransport to {self._app!r}>"


def _asked(request: httpx.Request, body: bytes) -> Request:
    path, _, query = request.url.raw_path.partition(b"?")
    headers = {name.lower().decode("ascii"): value.decode("latin-1") for name, value in request.headers.raw}
    return Request(request.method, path.decode("ascii"), query.decode("ascii"), headers, body)


def _patience(request: httpx.Request) -> float:
    """Return the seconds after which the client gives up reading."""
    patience = request.extensions.get("timeout", {}).get("read")
    return math.inf if patience is None else patience


def _held_up(app: App, fault: Fault, request: httpx.Request) -> float:
    """Return the seconds that *request* must really wait; a clock of a test's is moved instead."""
    if fault.seconds and isinstance(app.clock, ManualClock):
        app.clock.advance(fault.seconds)
        return 0.0
    return min(fault.seconds, _patience(request))


def _spoilt(spoilt: Spoilt, request: httpx.Request, fault: Fault) -> httpx.Response:
    """Return what the client sees of a request with a fault, or raise it."""
    if fault.kind is FaultKind.CONNECT_REFUSED:
        raise httpx.ConnectError("connection refused (an injected fault)", request=request)
    if spoilt.response is None or not spoilt.arrives or fault.seconds > _patience(request):
        raise httpx.ReadTimeout(f"no answer came (an injected fault: {fault.kind})", request=request)
    return _answered(spoilt.response, request)


def _answered(response: Response, request: httpx.Request) -> httpx.Response:
    return httpx.Response(response.status, headers=response.headers, content=response.body, request=request)
