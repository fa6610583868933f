# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""Clients: where requests go, and what goes along with each of them."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from attrs import Factory, define, evolve, field

from .types import UNSET, Unset

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from .http import AsyncHttpClient, HttpClient, HttpModule, HttpPhases, HttpRequest, HttpResponse, TimeoutTypes

DEFAULT_TIMEOUT: Final[HttpPhases] = (5.0, 10.0, 10.0, 10.0)
"""Seconds to connect, read, write and wait for a connection when no timeout is given."""

KEY_HEADERS: Final = (
    "X-Cycles-API-Key",
    "X-Admin-API-Key",
)
"""Headers that hold keys; public operations never send them."""


def _http_of(given: HttpModule | None) -> HttpModule:
    if given is None:
        import httpx

        return httpx
    return given


@define(eq=False)
class Client:
    """A client without a key, for the public operations. One can be shared by threads.

    Args:
        base_url: Address of the authority; a path in it is kept as a prefix.
        cookies: Sent with every request.
        headers: Sent with every request.
        timeout: Seconds for each phase of a request, a tuple of four (connect, read, write, pool), or a `Timeout` of
            either library; None waits for ever. By default 5 s to connect and 10 s for every other phase.
        verify_ssl: Whether, or by which context, the server's certificate is checked.
        follow_redirects: Whether redirects are followed. The key would go along to wherever they lead.
        http_module: The library that sends: the module `httpx` (when None), or `httpx2`.
        httpx_args: Further arguments of its `Client` and `AsyncClient`, such as `http2`, `proxy`, `transport`.
        client_factory, async_client_factory: What makes the httpx clients of blocking and of asynchronous calls: a
            subclass of the library's `Client` or `AsyncClient`, or a callable that takes its arguments.
        raise_on_unexpected_status: Whether a status that the operation does not list raises `UnexpectedStatus`.
    """

    raise_on_unexpected_status: bool = field(default=False, kw_only=True)
    _base_url: str = field(alias="base_url", repr=False)
    _cookies: dict[str, str] = field(factory=dict, kw_only=True, alias="cookies", converter=dict, repr=False)
    _headers: dict[str, str] = field(factory=dict, kw_only=True, alias="headers", converter=dict, repr=False)
    _timeout: TimeoutTypes | Unset = field(default=UNSET, kw_only=True, alias="timeout")
    _verify_ssl: str | bool | ssl.SSLContext = field(default=True, kw_only=True, alias="verify_ssl", repr=False)
    _follow_redirects: bool = field(default=False, kw_only=True, alias="follow_redirects")
    _http: HttpModule = field(default=None, kw_only=True, alias="http_module", converter=_http_of, repr=False)
    _httpx_args: dict[str, Any] = field(factory=dict, kw_only=True, alias="httpx_args", converter=dict, repr=False)
    _client_factory: Callable[..., HttpClient] | None = field(
        default=None, kw_only=True, alias="client_factory", repr=False
    )
    _async_client_factory: Callable[..., AsyncHttpClient] | None = field(
        default=None, kw_only=True, alias="async_client_factory", repr=False
    )
    _address: Any = field(  # whose repr hides a password
        init=False, default=Factory(lambda self: self._http.URL(self._base_url), takes_self=True)
    )
    _prefix: bytes = field(
        init=False, repr=False, default=Factory(lambda self: self._address.raw_path.rstrip(b"/"), takes_self=True)
    )
    _client: HttpClient | None = field(default=None, init=False, repr=False)
    _async_client: AsyncHttpClient | None = field(default=None, init=False, repr=False)
    _injected: bool = field(default=False, init=False, repr=False)
    _async_injected: bool = field(default=False, init=False, repr=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        _clients.add(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} can't be pickled or copied: it holds connections and may hold a key")

    # -- variants of this client ----------------------------------------------------------------------------------
    def with_headers(self, headers: Mapping[str, str]) -> Self:
        """Return a client like this one that sends *headers* too."""
        return self._variant(headers={**self._headers, **headers})

    def with_cookies(self, cookies: Mapping[str, str]) -> Self:
        """Return a client like this one that sends *cookies* too."""
        return self._variant(cookies={**self._cookies, **cookies})

    def with_timeout(self, timeout: TimeoutTypes) -> Self:
        """Return a client like this one with another timeout, in seconds."""
        return self._variant(timeout=timeout)

    def _variant(self, **changes: Any) -> Self:
        # It shares what was injected; else it makes connections of its own.
        variant = evolve(self, **changes)
        if self._injected:
            variant._client, variant._injected = self._client, True
        if self._async_injected:
            variant._async_client, variant._async_injected = self._async_client, True
        return variant

    # -- the httpx clients below ----------------------------------------------------------------------------------
    def set_httpx_client(self, client: HttpClient) -> Self:
        """Send through *client* from now on and leave closing it to you.

        Its transport, TLS, proxies, hooks and cookies apply. This client's address, headers and key are sent with each
        request, and its timeout if one was given.
        """
        with self._lock:
            self._client, self._injected = client, True
        return self

    def set_async_httpx_client(self, async_client: AsyncHttpClient) -> Self:
        """Send through *async_client* from now on and leave closing it to you; see `set_httpx_client`."""
        with self._lock:
            self._async_client, self._async_injected = async_client, True
        return self

    def get_httpx_client(self) -> HttpClient:
        """Return the httpx client that requests go through, made when first needed."""
        client = self._client
        if client is None:
            with self._lock:  # threads that race here get the same one
                client = self._client
                if client is None:
                    make = self._client_factory or self._http.Client
                    with _making:
                        client = self._client = make(**self._arguments(), **self._httpx_args)
        return client

    def get_async_httpx_client(self) -> AsyncHttpClient:
        """Return the httpx client that asynchronous requests go through, made when first needed."""
        client = self._async_client
        if client is None:
            with self._lock:
                client = self._async_client
                if client is None:
                    make = self._async_client_factory or self._http.AsyncClient
                    with _making:
                        client = self._async_client = make(**self._arguments(), **self._httpx_args)
        return client

    def _arguments(self) -> dict[str, Any]:
        return {
            "base_url": self._base_url,
            "cookies": self._cookies,
            "headers": self._all_headers(),
            "timeout": DEFAULT_TIMEOUT if isinstance(self._timeout, Unset) else _phases(self._timeout),
            "verify": self._verify_ssl,
            "follow_redirects": self._follow_redirects,
        }

    def _all_headers(self) -> Any:
        headers = self._http.Headers()
        for name, value in self._headers.items():
            headers[name] = value  # one by one: a later one wins whatever the case of its name
        return headers

    def close(self) -> None:
        """Close the connections of blocking calls, unless they were injected."""
        if self._client is not None and not self._injected:
            self._client.close()

    async def aclose(self) -> None:
        """Close the connections of asynchronous calls, unless they were injected."""
        if self._async_client is not None and not self._async_injected:
            await self._async_client.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # -- what endpoint functions call -----------------------------------------------------------------------------
    def _request(
        self,
        kwargs: dict[str, Any],
        timeout: TimeoutTypes | Unset,
        headers: Mapping[str, str] | None,
        *,
        public: bool = False,
    ) -> HttpResponse:
        client = self.get_httpx_client()
        self._complete(kwargs, timeout, headers, injected=self._injected)
        options = self._sending(client) if self._injected else {}
        if not public:
            return client.request(**kwargs, **options)
        return client.send(self._without_keys(client.build_request(**kwargs)), **options)

    async def _arequest(
        self,
        kwargs: dict[str, Any],
        timeout: TimeoutTypes | Unset,
        headers: Mapping[str, str] | None,
        *,
        public: bool = False,
    ) -> HttpResponse:
        client = self.get_async_httpx_client()
        self._complete(kwargs, timeout, headers, injected=self._async_injected)
        options = self._sending(client) if self._async_injected else {}
        if not public:
            return await client.request(**kwargs, **options)
        return await client.send(self._without_keys(client.build_request(**kwargs)), **options)

    def _complete(
        self,
        kwargs: dict[str, Any],
        timeout: TimeoutTypes | Unset,
        headers: Mapping[str, str] | None,
        *,
        injected: bool,
    ) -> None:
        """Add to *kwargs* what the httpx client does not know by itself; for our own that is next to nothing."""
        if injected:
            own = self._all_headers()
            if self._cookies:
                own["Cookie"] = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
            if "headers" in kwargs:
                own.update(kwargs["headers"])
            kwargs["headers"] = own
            kwargs["url"] = self._base_url.rstrip("/") + kwargs["url"]
            if isinstance(timeout, Unset):
                timeout = self._timeout
        else:  # httpx would parse a relative address once more
            kwargs["url"] = self._addressed(kwargs["url"])
        if not isinstance(timeout, Unset):
            kwargs["timeout"] = _phases(timeout)
        if headers and "headers" not in kwargs:
            kwargs["headers"] = headers
        elif headers:
            kwargs["headers"] = self._http.Headers(kwargs["headers"])
            kwargs["headers"].update(headers)

    def _addressed(self, path: str) -> Any:
        """Return the whole address of an operation's *path*, as httpx takes it: for subclasses, too."""
        return self._address.copy_with(raw_path=self._prefix + path.encode())

    def _sending(self, client: HttpClient | AsyncHttpClient) -> dict[str, Any]:
        """Return further options of requests through an injected *client*: for subclasses."""
        return {}

    def _without_keys(self, request: HttpRequest) -> HttpRequest:
        for name in KEY_HEADERS:
            request.headers.pop(name, None)
        return request


def _phases(timeout: TimeoutTypes) -> float | HttpPhases | None:
    """Return *timeout* as either library takes it: each knows its own Timeout only."""
    if timeout is None or isinstance(timeout, int | float | tuple):
        return timeout
    return timeout.connect, timeout.read, timeout.write, timeout.pool


def _valid_key(_instance: Client, _attribute: object, token: str) -> None:
    # Refused here because the HTTP library would quote the whole key in its complaint.
    if not (token.isascii() and token.isprintable() and token == token.strip()):
        raise ValueError("token: a header can't hold all of its characters (is there a space or line end around it?)")


@define(eq=False)
class AuthenticatedClient(Client):
    """A client with a key, for all operations. One can be shared by threads.

    Args:
        token: The key; empty sends none. It is never shown, pickled, or sent to a public operation.
        prefix: Put before the key, with a space; nothing by default.
        auth_header_name: Header of the key; X-Admin-API-Key for the operator's.

    The other arguments are those of `Client`.
    """

    token: str = field(repr=False, validator=_valid_key)
    prefix: str = field(default="", kw_only=True)
    auth_header_name: str = field(default=KEY_HEADERS[0], kw_only=True)

    def _all_headers(self) -> Any:
        headers = super()._all_headers()
        if self.token:
            headers[self.auth_header_name] = f"{self.prefix} {self.token}" if self.prefix else self.token
        return headers

    def _without_keys(self, request: HttpRequest) -> HttpRequest:
        request.headers.pop(self.auth_header_name, None)
        return super()._without_keys(request)


_clients: Final[weakref.WeakSet[Client]] = weakref.WeakSet()

_making: Final = threading.RLock()
"""Held while connections are made, and by a fork: TLS contexts take locks of OpenSSL's that a child can't make anew."""


def _in_child() -> None:
    _making.release()
    # A lock that another thread of the parent held would never be let go.
    for client in list(_clients):
        client._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_making.acquire, after_in_parent=_making.release, after_in_child=_in_child)
