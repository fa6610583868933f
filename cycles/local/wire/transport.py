"""httpx to an authority inside the process: no socket, no thread of its own.

The transports take whatever httpx makes. The clients besides send the plain JSON requests of the bindings straight to
the authority: URLs, cookies, redirects and hooks took httpx longer than the ledger takes (docs/performance.md).
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx

from cycles.local.ledger.encoding import answer
from cycles.local.wire.clock import ManualClock
from cycles.local.wire.fault_kinds import FaultKind
from cycles.local.wire.messages import ORIGIN, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local.wire.app import App
    from cycles.local.wire.fault_kinds import Spoilt
    from cycles.local.wire.faults import Fault
    from cycles.local.wire.messages import Response

R = TypeVar("R")

_PLAIN: Final = frozenset({"json", "headers", "timeout"})
"""The options of a request that needs nothing of httpx; without a network timeouts mean nothing."""

_EMPTY: Final = httpx.SyncByteStream()


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

    A ledger in memory answers at once, and so does a file that nobody else is writing to. Where a request may wait, for
    a disk, another process's transaction or a database, the answer comes from a worker thread. Like a server, that
    thread finishes a request even when the task that sent it is cancelled.
    """

    def __init__(self, app: App) -> None:
        self._app: Final = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        asked = _asked(request, await request.aread())
        fault = self._app.fault_of(asked)
        if fault is None:
            return _answered(await _handled(self._app, asked), request)
        import anyio  # noqa: PLC0415 - httpx's own dependency; only needed here

        await anyio.sleep(_held_up(self._app, fault, request))
        if self._app.is_memory:
            return _spoilt(self._app.handle_badly(asked, fault), request, fault)
        return _spoilt(await in_thread(self._app.handle_badly, asked, fault), request, fault)

    def __repr__(self) -> str:
        return f"<AsyncLocalTransport to {self._app!r}>"


class LocalClient(httpx.Client):
    """An httpx client of an authority inside the process; closing it leaves the authority open.

    A request with nothing but JSON and headers of its own takes the short way; the client's own defaults are not added.
    """

    def __init__(self, app: App, **settings: Any) -> None:
        super().__init__(transport=LocalTransport(app), base_url=ORIGIN, **settings)
        self.app: Final = app

    def request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Response:
        """Send a request; see `httpx.Client.request`."""
        plain = None if self.is_closed or self.app.faults else _plain(method, url, options)
        return super().request(method, url, **options) if plain is None else _Whole(self.app.handle(plain))


class AsyncLocalClient(httpx.AsyncClient):
    """An asynchronous httpx client of an authority inside the process; see `LocalClient`."""

    def __init__(self, app: App, **settings: Any) -> None:
        super().__init__(transport=AsyncLocalTransport(app), base_url=ORIGIN, **settings)
        self.app: Final = app

    async def request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Response:
        """Send a request; see `httpx.AsyncClient.request`."""
        plain = None if self.is_closed or self.app.faults else _plain(method, url, options)
        if plain is None:
            return await super().request(method, url, **options)
        return _Whole(await _handled(self.app, plain))


class _Whole(httpx.Response):
    """A response whose body is there at once: httpx would read it out of a stream, through a decoder."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status, headers=response.headers, stream=_EMPTY)
        self._body: Final = response.body

    @property
    def content(self) -> bytes:
        return self._body

    def read(self) -> bytes:
        return self._body

    async def aread(self) -> bytes:
        return self._body


async def _handled(app: App, request: Request) -> Response:
    response = app.handle_at_once(request)
    return await in_thread(app.handle, request) if response is None else response


async def in_thread(handle: Callable[..., R], *arguments: Any) -> R:
    """Run *handle* on another thread, so that the disk does not hold up the loop; here when none can start."""
    from anyio import to_thread  # noqa: PLC0415 - httpx's own dependency; only needed here

    has_begun = False

    def begun() -> R:
        nonlocal has_begun
        has_begun = True
        return handle(*arguments)

    try:
        return await to_thread.run_sync(begun)
    except RuntimeError:
        if has_begun:
            raise
    return handle(*arguments)


def _plain(method: str, url: httpx.URL | str, options: dict[str, Any]) -> Request | None:
    """Return the request when it needs nothing of httpx."""
    if "json" not in options or not options.keys() <= _PLAIN or not isinstance(url, str) or "?" in url:
        return None
    path = url.removeprefix(ORIGIN)
    if not path.startswith("/"):
        return None
    given = options.get("headers")
    headers = {name.lower(): value for name, value in given.items()} if given else {}
    return Request(method, path, "", headers, answer(options["json"]).encode())


def _asked(request: httpx.Request, body: bytes) -> Request:
    path, _, query = request.url.raw_path.partition(b"?")
    headers = {name.lower().decode("ascii"): value.decode("latin-1") for name, value in request.headers.raw}
    return Request(request.method, path.decode("ascii"), query.decode("ascii"), headers, body)


def _patience(request: httpx.Request) -> float:
    """Return the seconds after which the client gives up reading."""
    patience = request.extensions.get("timeout", {}).get("read")
    return math.inf if patience is None else patience


def _held_up(app: App, fault: Fault, request: httpx.Request) -> float:
    """Return the seconds that *request* must really wait; a test's own clock is moved instead."""
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
