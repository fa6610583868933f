"""httpx clients that go straight to their transport, and read answers within bounds.

Between a client and its transport httpx looks for authentication, redirects, hooks and cookies, and logs a line: a
fifth of what a request costs, for nothing where none of that was asked for. What was asked for still happens, in httpx.
Which proxy and which certificates a request takes is httpx's own choice, by the environment.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Final

import httpx

from cycles._drivers.bodies import ACCEPTED, Body, drop_if_more_follows, filled
from cycles._drivers.loop_end import LoopEnd
from cycles._outside.arrivals import Arrival

if TYPE_CHECKING:
    from collections.abc import Mapping


class DirectClient(httpx.Client):
    """An httpx.Client without detours.

    Args:
        verify: Whether, or by which context, the server's certificate is checked.
        **options: What else httpx.Client takes.
    """

    def __init__(self, *, verify: ssl.SSLContext | str | bool = True, **options: Any) -> None:
        super().__init__(verify=_context(verify, options), **options)
        self.headers["accept-encoding"] = ACCEPTED

    # httpx asks these two for the engines of the direct way, and of the way through each proxy of the environment.
    def _init_transport(self, *_: Any, **options: Any) -> httpx.BaseTransport:
        given: httpx.BaseTransport | None = options.pop("transport", None)
        return given or _Engine(**options)

    def _init_proxy_transport(self, *proxy: Any, **options: Any) -> httpx.BaseTransport:
        return _Engine(proxy=proxy[0], **options)

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send *request* and return its answer, read to the end."""
        try:
            return self._sent(request, options)
        except Arrival as passing:
            error = passing.error
        raise error

    def _sent(self, request: httpx.Request, options: Mapping[str, Any]) -> httpx.Response:
        if not _is_plain(self, request, options):
            return super().send(request, **options)
        response = self._transport_for_url(request.url).handle_request(request)
        response.request = request
        return _noted(self, response)


class _Engine(httpx.HTTPTransport):
    """httpx's transport; its answers are read to the end."""

    def __init__(self, **options: Any) -> None:
        from cycles._drivers.network import (  # noqa: PLC0415 - httpcore, which httpx loads late too
            DeadlineBackend,
            EachAddress,
        )

        super().__init__(**options)
        pool: Any = self._pool  # httpx passes no backend on to httpcore, which takes one
        pool._network_backend = EachAddress(DeadlineBackend(pool._network_backend))  # noqa: SLF001 - as above

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        stream: Any = response.stream
        try:
            body = Body(response.status_code, response.headers)
            for chunk in stream:
                body.feed(chunk)
            content = body.end()
            drop_if_more_follows(stream)
        finally:
            stream.close()
        return filled(response, content)


class AsyncDirectClient(httpx.AsyncClient):
    """An httpx.AsyncClient without detours; see `DirectClient`. Its connections end with the event loop.

    Args:
        verify, **options: See `DirectClient`.
    """

    def __init__(self, *, verify: ssl.SSLContext | str | bool = True, **options: Any) -> None:
        super().__init__(verify=_context(verify, options), **options)
        self.headers["accept-encoding"] = ACCEPTED
        self._loop_end: Final = LoopEnd(self._close_engines)

    def _init_transport(self, *_: Any, **options: Any) -> httpx.AsyncBaseTransport:
        given: httpx.AsyncBaseTransport | None = options.pop("transport", None)
        return given or self._engine(None, options)

    def _init_proxy_transport(self, *proxy: Any, **options: Any) -> httpx.AsyncBaseTransport:
        return self._engine(proxy[0], options)

    def _engine(self, proxy: httpx.Proxy | None, options: Mapping[str, Any]) -> httpx.AsyncBaseTransport:
        return AsyncEngine(proxy=proxy, **options)

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send *request* and return its answer, read to the end."""
        async with self._loop_end:
            if not _is_plain(self, request, options):
                return await super().send(request, **options)
            response = await self._transport_for_url(request.url).handle_async_request(request)
            response.request = request
            return _noted(self, response)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._loop_end.aclose()
        await super().aclose()

    async def _close_engines(self) -> None:
        for engine in (self._transport, *self._mounts.values()):
            if engine is not None:
                await engine.aclose()


class AsyncEngine(httpx.AsyncHTTPTransport):
    """httpx's asynchronous transport; its answers are read to the end."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        stream: Any = response.stream
        try:
            body = Body(response.status_code, response.headers)
            async for chunk in stream:
                body.feed(chunk)
            content = body.end()
            drop_if_more_follows(stream)
        finally:
            await stream.aclose()
        return filled(response, content)


def _context(verify: Any, options: Mapping[str, Any]) -> ssl.SSLContext:
    """Return one TLS context for all engines of a client; to make one takes longer than the rest."""
    if isinstance(verify, ssl.SSLContext):
        return verify
    return httpx.create_ssl_context(verify, trust_env=options.get("trust_env", True))


def _is_plain(client: httpx.Client | httpx.AsyncClient, request: httpx.Request, options: Mapping[str, Any]) -> bool:
    """Return whether httpx has nothing to do before and after the transport."""
    return (
        all(value is httpx.USE_CLIENT_DEFAULT for value in options.values())
        and not client.follow_redirects
        and client.auth is None
        and not any(client.event_hooks.values())
        and not request.url.userinfo
        and not client.is_closed  # which httpx complains of
    )


def _noted(client: httpx.Client | httpx.AsyncClient, response: httpx.Response) -> httpx.Response:
    if "set-cookie" in response.headers:  # balancers keep their clients together by them
        client.cookies.extract_cookies(response)
    return response
