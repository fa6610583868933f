"""httpx clients that go straight to their transport, and read answers within bounds.

Between a client and its transport httpx looks for authentication, redirects, hooks and cookies, and logs a line: a
fifth of what a request costs, for nothing where none of that was asked for. What was asked for still happens, in httpx.
Which proxy and which certificates a request takes is httpx's own choice, by the environment.

Each class is one half; the other half is httpx's or httpx2's class of the same kind (`httpx_engine`, `httpx2_engine`).
"""

from __future__ import annotations

import importlib
import ssl
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Final

from cycles._drivers.bodies import ACCEPTED, Body, drop_if_more_follows, filled
from cycles._drivers.loop_end import LoopEnd
from cycles._outside.arrivals import Arrival

if TYPE_CHECKING:
    from collections.abc import Mapping


class Direct:
    """A blocking client without detours.

    Args:
        verify: Whether, or by which context, the server's certificate is checked.
        **options: What else the library's Client takes.
    """

    http: ClassVar[Any]
    """The library."""
    transport: ClassVar[Any]
    """Makes its transports."""

    def __init__(self, *, verify: ssl.SSLContext | str | bool = True, **options: Any) -> None:
        base: Any = super()
        self.tls: Final = _context(self.http, verify, options)
        base.__init__(verify=self.tls, **options)
        client: Any = self
        client.headers["accept-encoding"] = ACCEPTED

    # httpx asks these two for the engines of the direct way, and of the way through each proxy of the environment.
    def _init_transport(self, *_: Any, **options: Any) -> Any:
        given = options.pop("transport", None)
        return given or type(self).transport(**options)

    def _init_proxy_transport(self, *proxy: Any, **options: Any) -> Any:
        return type(self).transport(proxy=proxy[0], **options)

    def send(self, request: Any, **options: Any) -> Any:
        """Send *request* and return its answer, read to the end."""
        try:
            return self._sent(request, options)
        except Arrival as passing:
            error = passing.error
        raise error

    def _sent(self, request: Any, options: Mapping[str, Any]) -> Any:
        client: Any = self
        if not _is_plain(client, request, options):
            base: Any = super()
            return base.send(request, **options)
        response = client._transport_for_url(request.url).handle_request(request)  # noqa: SLF001 - the other half's
        response.request = request
        return _noted(client, response)


class Engine:
    """A blocking transport whose answers are read to the end."""

    http: ClassVar[Any]
    """The library."""
    core: ClassVar[str]
    """The name of the library beneath it."""
    _pool: Any

    def __init__(self, **options: Any) -> None:
        from cycles._drivers.network import DeadlineBackend, EachAddress  # noqa: PLC0415 - only where something is sent

        base: Any = super()
        base.__init__(**options)
        core, pool = importlib.import_module(self.core), self._pool
        inner = DeadlineBackend(pool._network_backend, core)  # noqa: SLF001 - httpx passes none on to httpcore
        pool._network_backend = EachAddress(inner, core)  # noqa: SLF001 - as above
        # Its own lock has steps in Python: what a signal handler raised between them would leave it taken, and all
        # requests after that would wait for ever (`threads.Lock.native`).
        pool._optional_thread_lock = threading.Lock()  # noqa: SLF001 - as above

    def handle_request(self, request: Any) -> Any:
        base: Any = super()
        response = base.handle_request(request)
        stream: Any = response.stream
        try:
            body = Body(response.status_code, response.headers)
            for chunk in stream:
                body.feed(chunk)
            content = body.end()
            drop_if_more_follows(stream)
        finally:
            stream.close()
        return filled(self.http, response, content)


class AsyncDirect:
    """An asynchronous client without detours; see `Direct`. Its connections end with the event loop.

    Args:
        verify, **options: See `Direct`.
    """

    http: ClassVar[Any]
    transport: ClassVar[Any]

    def __init__(self, *, verify: ssl.SSLContext | str | bool = True, **options: Any) -> None:
        base: Any = super()
        self.tls: Final = _context(self.http, verify, options)
        base.__init__(verify=self.tls, **options)
        client: Any = self
        client.headers["accept-encoding"] = ACCEPTED
        self._loop_end: Final = LoopEnd(self._close_engines)

    def _init_transport(self, *_: Any, **options: Any) -> Any:
        given = options.pop("transport", None)
        return given or self._engine(None, options)

    def _init_proxy_transport(self, *proxy: Any, **options: Any) -> Any:
        return self._engine(proxy[0], options)

    def _engine(self, proxy: Any, options: Mapping[str, Any]) -> Any:
        return type(self).transport(proxy=proxy, **options)

    async def send(self, request: Any, **options: Any) -> Any:
        """Send *request* and return its answer, read to the end."""
        client: Any = self
        async with self._loop_end:
            if not _is_plain(client, request, options):
                base: Any = super()
                return await base.send(request, **options)
            transport = client._transport_for_url(request.url)  # noqa: SLF001 - the other half's
            response = await transport.handle_async_request(request)
            response.request = request
            return _noted(client, response)

    async def aclose(self) -> None:
        """Close the connections."""
        base: Any = super()
        await self._loop_end.aclose()
        await base.aclose()

    async def _close_engines(self) -> None:
        client: Any = self
        for engine in (client._transport, *client._mounts.values()):  # noqa: SLF001 - the other half's
            if engine is not None:
                await engine.aclose()


class AsyncEngine:
    """An asynchronous transport whose answers are read to the end."""

    http: ClassVar[Any]
    core: ClassVar[str]
    _pool: Any

    def __init__(self, **options: Any) -> None:
        from cycles._drivers.network import AsyncBackend  # noqa: PLC0415 - only where something is sent

        base: Any = super()
        base.__init__(**options)
        core, pool = importlib.import_module(self.core), self._pool
        pool._network_backend = AsyncBackend(pool._network_backend, core)  # noqa: SLF001 - as in `Engine`

    async def handle_async_request(self, request: Any) -> Any:
        base: Any = super()
        response = await base.handle_async_request(request)
        stream: Any = response.stream
        try:
            body = Body(response.status_code, response.headers)
            async for chunk in stream:
                body.feed(chunk)
            content = body.end()
            drop_if_more_follows(stream)
        finally:
            await stream.aclose()
        return filled(self.http, response, content)


def _context(http: Any, verify: Any, options: Mapping[str, Any]) -> ssl.SSLContext:
    """Return one TLS context for all engines of a client; to make one takes longer than the rest."""
    if isinstance(verify, ssl.SSLContext):
        return verify
    context: ssl.SSLContext = http.create_ssl_context(verify, trust_env=options.get("trust_env", True))
    return context


def _is_plain(client: Any, request: Any, options: Mapping[str, Any]) -> bool:
    """Return whether httpx has nothing to do before and after the transport."""
    return (
        all(value is client.http.USE_CLIENT_DEFAULT for value in options.values())
        and not client.follow_redirects
        and client.auth is None
        and not any(client.event_hooks.values())
        and not request.url.userinfo
        and not client.is_closed  # which httpx complains of
    )


def _noted(client: Any, response: Any) -> Any:
    if "set-cookie" in response.headers:  # balancers keep their clients together by them
        client.cookies.extract_cookies(response)
    return response
