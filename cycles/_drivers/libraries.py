"""HTTP libraries: httpx, and httpx2, its maintained fork. Both have the same classes; clients of either are taken."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from cycles._core.outcomes import Trouble
from cycles._outside.extras import install
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles_api.http import AsyncHttpClient, HttpClient

NAMES: Final = ("httpx", "httpx2")
"""The libraries, as they are imported."""


class Library(NamedTuple):
    """What sends.

    Attributes:
        name: "httpx" or "httpx2".
        http: The module.
        core: The name of what opens its connections, which it loads with its first pool.
        client: Makes a blocking client.
        async_client: Makes an asynchronous client.
        bounded_auth: Makes what reads the answers of a client that was given.
    """

    name: str
    http: Any
    core: str
    client: Callable[..., HttpClient]
    async_client: Callable[..., AsyncHttpClient]
    bounded_auth: Callable[[HttpClient | AsyncHttpClient], object]


_found: Final[dict[str, Library]] = {}


def library(engine: str) -> Library:
    """Return the library of an *engine*, as in the setting `http_engine`; aiohttp's is httpx.

    Raises:
        ConfigError: when it is not installed.
    """
    name = "httpx2" if engine == "httpx2" else "httpx"
    if name not in _found:
        try:
            made = _made(name)
        except ModuleNotFoundError as missing:
            raise ConfigError(
                f"http_engine={name!r} needs an extra ({missing.name} is not installed): "
                f"{install(name)}, or set it to httpx"
            ) from None
        core = made.Transport.core
        _found[name] = Library(
            name, sys.modules[name], core, made.DirectClient, made.AsyncDirectClient, made.BoundedAuth
        )
    return _found[name]


def _made(name: str) -> Any:
    if name == "httpx2":
        from cycles._drivers import httpx2_engine  # noqa: PLC0415 - needs the extra

        return httpx2_engine
    from cycles._drivers import httpx_engine  # noqa: PLC0415 - as above

    return httpx_engine


def module_of(engine: str) -> Any:
    """Return the module of an *engine*'s library; httpx where it is not installed, which the client will say."""
    if engine == "httpx2":
        try:
            import httpx2  # noqa: PLC0415 - needs the extra
        except ModuleNotFoundError:
            pass
        else:
            return httpx2
    import httpx  # noqa: PLC0415 - where it is used

    return httpx


def is_blocking(given: object) -> TypeGuard[HttpClient]:
    """Return whether *given* is a `Client` of one of the libraries."""
    return _is_a(given, "Client")


def is_asynchronous(given: object) -> TypeGuard[AsyncHttpClient]:
    """Return whether *given* is an `AsyncClient` of one of the libraries."""
    return _is_a(given, "AsyncClient")


def _is_a(given: object, kind: str) -> bool:
    return any(isinstance(given, getattr(module, kind, ())) for name in NAMES if (module := sys.modules.get(name)))


def library_of(client: object) -> Library:
    """Return the library that *client* is of."""
    http2 = sys.modules.get("httpx2")
    is_second = http2 is not None and isinstance(client, (http2.Client, http2.AsyncClient))
    return library("httpx2" if is_second else "httpx")


# -- exceptions --------------------------------------------------------------------------------------------------------
_NOT_SENT: Final = frozenset(
    ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "LocalProtocolError", "ProxyError")
)
"""The exceptions of either library in which no byte of the request reached the authority."""

_FAILED: Final = frozenset(("HTTPError", "InvalidURL"))
"""The roots of what either library raises for a request."""


def trouble_of(error: BaseException) -> Trouble | None:
    """Return what an exception of either library says of its request; None when it is no such exception."""
    names = {kind.__name__ for kind in type(error).__mro__ if kind.__module__.partition(".")[0] in NAMES}
    if names & _NOT_SENT:
        return Trouble.NOT_SENT
    return Trouble.LOST if names & _FAILED else None
