"""httpx clients that go straight to their transport.

Between a client and its transport httpx looks for authentication, redirects, hooks and cookies, and logs a line: a
fifth of what a request costs, for nothing where none of that was asked for. What was asked for still happens, in httpx.
"""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping


class DirectClient(httpx.Client):
    """An httpx.Client without detours.

    Args:
        verify: Whether, or by which context, the server's certificate is checked.
        **options: What else httpx.Client takes.
    """

    def __init__(self, *, verify: ssl.SSLContext | str | bool = True, **options: Any) -> None:
        from cycles._drivers.network import DeadlineBackend  # noqa: PLC0415 - httpcore, which httpx loads late too

        self._engine: Final = httpx.HTTPTransport(verify=verify, proxy=proxy_for(options))
        pool: Any = self._engine._pool  # noqa: SLF001 - httpx passes no backend on to httpcore, which takes one
        pool._network_backend = DeadlineBackend(pool._network_backend)  # noqa: SLF001
        super().__init__(transport=self._engine, **options)

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send *request* and return its answer, read to the end."""
        if not _is_plain(self, request, options):
            return super().send(request, **options)
        response = self._engine.handle_request(request)
        response.request = request
        try:
            response.read()
        except BaseException:
            response.close()
            raise
        return _noted(self, response)


class AsyncDirectClient(httpx.AsyncClient):
    """An httpx.AsyncClient without detours; see `DirectClient`.

    Args:
        engine: What sends; httpx's own transport when None.
        verify, **options: See `DirectClient`.
    """

    def __init__(
        self,
        *,
        engine: httpx.AsyncBaseTransport | None = None,
        verify: ssl.SSLContext | str | bool = True,
        **options: Any,
    ) -> None:
        self._engine: Final = engine or httpx.AsyncHTTPTransport(verify=verify, proxy=proxy_for(options))
        super().__init__(transport=self._engine, **options)

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """Send *request* and return its answer, read to the end."""
        if not _is_plain(self, request, options):
            return await super().send(request, **options)
        response = await self._engine.handle_async_request(request)
        response.request = request
        try:
            await response.aread()
        except BaseException:
            await response.aclose()
            raise
        return _noted(self, response)


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


def proxy_for(options: Mapping[str, Any]) -> httpx.Proxy | None:
    """Return the environment's proxy for the base URL in a client's *options*: a transport that is given knows none."""
    url, found = httpx.URL(options.get("base_url", "")), urllib.request.getproxies()
    address = found.get(url.scheme) or found.get("all")
    return None if not address or urllib.request.proxy_bypass(url.host) else httpx.Proxy(address)
