"""Connections whose reads and writes obey the `deadline` of the request that they serve.

What arrives from outside meanwhile passes httpcore unchanged: it takes each OSError for the socket's own, and goes on
after one in a write, or at one of a host's addresses.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Final

from cycles._drivers.deadline import left
from cycles._outside.arrivals import passing

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable


class DeadlineBackend:
    """What httpcore opens its connections with: *inner*, whose streams obey the deadline.

    Args:
        inner: The backend of the library.
        core: The library: httpcore, or httpcore2.
    """

    def __init__(self, inner: Any, core: Any) -> None:
        self._inner: Final = inner
        self._core: Final = core

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> _Stream:
        seconds = left(timeout, self._core.ConnectTimeout)
        with passing():
            opened = self._inner.connect_tcp(host, port, seconds, local_address, socket_options)
        return _Stream(opened, self._core)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> _Stream:
        seconds = left(timeout, self._core.ConnectTimeout)
        with passing():
            opened = self._inner.connect_unix_socket(path, seconds, socket_options)
        return _Stream(opened, self._core)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class EachAddress:
    """Connects to a host's addresses one by one, each through *inner*.

    The system's own way to do so (`socket.create_connection`) takes an OSError for a failure of the address, and goes
    on to the next one: what arrives from outside meanwhile would be lost. So each address is a step of its own here.

    Args:
        inner: What connects to one address.
        core: The library: httpcore, or httpcore2.
    """

    def __init__(self, inner: Any, core: Any) -> None:
        self._inner: Final = inner
        self._core: Final = core

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Any:
        last: Exception | None = None
        for address in self._addresses(host, port):
            try:
                return self._inner.connect_tcp(address, port, timeout, local_address, socket_options)
            except (self._core.ConnectError, self._core.ConnectTimeout) as error:
                last = error
        raise last or self._core.ConnectError(f"{host} has no address")

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> Any:
        return self._inner.connect_unix_socket(path, timeout, socket_options)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)

    def _addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of *host*, as text that needs no looking up."""
        try:
            with passing():
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise self._core.ConnectError(str(error)) from error
        return list(dict.fromkeys(_spelled(place) for *_, place in found))


def _spelled(place: tuple[Any, ...]) -> str:
    """Return the address in *place*; one of IPv6 may have a zone, which stands apart from it."""
    zone = place[3] if len(place) == 4 else 0
    return f"{place[0]}%{zone}" if zone and "%" not in place[0] else str(place[0])


class _Stream:
    def __init__(self, inner: Any, core: Any) -> None:
        self._inner: Final = inner
        self._core: Final = core

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with passing():
            received: bytes = self._inner.read(max_bytes, left(timeout, self._core.ReadTimeout))
            return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with passing():
            self._inner.write(buffer, left(timeout, self._core.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        seconds = left(timeout, self._core.ConnectTimeout)
        with passing():
            secured = self._inner.start_tls(ssl_context, server_hostname, seconds)
        return _Stream(secured, self._core)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
