"""httpx transports to an authority inside the process: no socket, no thread of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx

from cycles.local.messages import Request

if TYPE_CHECKING:
    from cycles.local.app import App
    from cycles.local.messages import Response


class LocalTransport(httpx.BaseTransport):
    """A transport for `httpx.Client`; closing it leaves the authority open."""

    def __init__(self, app: App) -> None:
        self._app: Final = app

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return _answered(self._app.handle(_asked(request, request.read())), request)

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
        if self._app.is_memory:
            return _answered(self._app.handle(asked), request)
        from anyio import to_thread  # noqa: PLC0415 - httpx's own dependency; only needed here

        return _answered(await to_thread.run_sync(self._app.handle, asked), request)

    def __repr__(self) -> str:
        return f"<AsyncLocalTransport to {self._app!r}>"


def _asked(request: httpx.Request, body: bytes) -> Request:
    path, _, query = request.url.raw_path.partition(b"?")
    headers = {name.lower().decode("ascii"): value.decode("latin-1") for name, value in request.headers.raw}
    return Request(request.method, path.decode("ascii"), query.decode("ascii"), headers, body)


def _answered(response: Response, request: httpx.Request) -> httpx.Response:
    return httpx.Response(response.status, headers=response.headers, content=response.body, request=request)
