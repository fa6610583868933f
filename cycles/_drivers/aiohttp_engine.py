"""A quicker engine beneath httpx's asynchronous API: aiohttp, through httpx-aiohttp (the extra `fast`).

httpx's own engine looks through its whole pool at every request, so each costs more the more tasks there are. What
callers see stays httpx's: requests, responses, timeouts, exceptions. Needs asyncio.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from cycles._drivers.bodies import Body, close_surplus, filled
from cycles._drivers.httpx_engine import AsyncDirectClient, AsyncTransport

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

MOST_CONNECTIONS: Final = 100
"""As many as httpx has."""

_KEPT_FOR: Final = 5.0
"""Seconds that an idle connection is kept, as httpx does: many servers close theirs soon after."""


def quick_client(**options: Any) -> AsyncDirectClient:
    """Return a client with these *options*; under trio, which aiohttp does not know, one with httpx's own engine."""
    trio: Any = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return AsyncDirectClient(**options)
    return AiohttpClient(**options)


class AiohttpClient(AsyncDirectClient):
    """An httpx.AsyncClient whose requests go straight to aiohttp; for one event loop. See `AsyncDirectClient`."""

    def _engine(self, proxy: httpx.Proxy | None, options: Mapping[str, Any]) -> httpx.AsyncBaseTransport:
        if proxy is not None and proxy.url.scheme not in ("http", "https"):  # aiohttp speaks no SOCKS
            return AsyncTransport(proxy=proxy, **options)
        return _Engine(verify=options["verify"], proxy=proxy)


class _Engine(AiohttpTransport):
    """httpx-aiohttp's transport, read to the end, and exact about which requests may have left."""

    def __init__(self, *, verify: ssl.SSLContext, proxy: httpx.Proxy | None) -> None:
        super().__init__(verify=verify, proxy=proxy, client=self._opened)

    def _opened(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=MOST_CONNECTIONS, keepalive_timeout=_KEPT_FOR, ssl=self.ssl_context)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())  # they are httpx's

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        close_surplus(self.client)
        try:
            response = await super().handle_async_request(request)
            stream: Any = response.stream
            try:
                body = Body(response.status_code, response.headers)
                async for chunk in stream:
                    body.feed(chunk)
                content = body.end()
            finally:
                await stream.aclose()  # also when it broke off, or its reader was cancelled
        except httpx.TransportError as error:
            raise _meant(error, request) from None
        except aiohttp.ClientError as error:  # one that httpx-aiohttp has no name for
            raise httpx.RemoteProtocolError(f"{type(error).__name__}: {error}", request=request) from None
        whole: httpx.Response = filled(httpx, response, content)
        return whole

    async def aclose(self) -> None:
        # A request that comes meanwhile, in a loop that is ending, has a session of its own.
        session, self.client = self.client, self._opened
        if isinstance(session, aiohttp.ClientSession):
            await session.close()


def _meant(error: httpx.TransportError, request: httpx.Request) -> httpx.TransportError:
    """Return what *error* would be in httpx's own words.

    httpx-aiohttp calls every broken connection a ConnectTimeout; that would say that nothing was sent, when the answer
    was lost and the budget may be held or charged.
    """
    cause = error.__cause__
    text = f"{type(cause).__name__}: {cause}"
    if isinstance(cause, aiohttp.ClientProxyConnectionError):
        return httpx.ProxyError(text, request=request)
    if isinstance(cause, aiohttp.ClientConnectorError):
        return httpx.ConnectError(text, request=request)
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return httpx.ConnectTimeout(text, request=request)
    if isinstance(cause, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return httpx.RemoteProtocolError(text, request=request)
    if isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(cause, aiohttp.ServerTimeoutError):
        return httpx.ReadError(text, request=request)
    error.request = request
    return error
