"""Connections that send each request in one piece, and obey its `deadline` in blocking code.

httpcore writes the head of a request, its body and its end one after the other. Each of those would be a call of the
system, and a packet that wakes the authority; so what is written leaves with the next read.

What arrives from outside meanwhile passes httpcore unchanged: it takes each OSError for the socket's own, and goes on
after one in a write, or at one of a host's addresses.
"""

from __future__ import annotations

import select
import socket
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread

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
        with passing:
            opened = self._inner.connect_tcp(host, port, seconds, local_address, socket_options)
        return _Stream(opened, self._core)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> _Stream:
        seconds = left(timeout, self._core.ConnectTimeout)
        with passing:
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
            with passing:
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
        self._unsent: Final = _Unsent()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._unsent.parts:
            self._send()
        with passing:
            received: bytes = self._inner.read(max_bytes, left(timeout, self._core.ReadTimeout))
            return received

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._unsent.add(buffer, timeout)

    def _send(self) -> None:
        buffer, timeout = self._unsent.take()
        # As httpcore does: an answer may come before the end of its request.
        with suppress(self._core.WriteError), passing:
            self._inner.write(buffer, left(timeout, self._core.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        seconds = left(timeout, self._core.ConnectTimeout)
        with passing:
            secured = self._inner.start_tls(ssl_context, server_hostname, seconds)
        return _Stream(secured, self._core)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Unsent:
    """What was written to a connection since its last read."""

    __slots__ = ("_timeout", "parts")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._timeout: float | None = None

    def add(self, buffer: bytes, timeout: float | None) -> None:
        """Note what is written, and how long sending it may take."""
        self._timeout = timeout
        if buffer:
            self.parts.append(buffer)

    def take(self) -> tuple[bytes, float | None]:
        """Return all of it in one piece, with its timeout, to be sent now."""
        parts, self.parts = self.parts, []
        return b"".join(parts), self._timeout


_HAS_POLL: Final = hasattr(select, "poll")  # not on Windows


# -- asynchronous ------------------------------------------------------------------------------------------------------
class AsyncBackend:
    """What httpcore opens its asynchronous connections with; the driver bounds each request as a whole.

    Args:
        inner: The backend of the library.
        core: The library: httpcore, or httpcore2.
    """

    def __init__(self, inner: Any, core: Any) -> None:
        self._inner: Final = inner
        self._core: Final = core

    async def connect_tcp(self, host: str, *args: Any, **options: Any) -> _AsyncStream:
        last: Exception | None = None
        for address in await self._addresses(host):
            try:
                return _AsyncStream(await self._inner.connect_tcp(address, *args, **options), self._core)
            except (self._core.ConnectError, self._core.ConnectTimeout) as error:
                last = error
        raise last or self._core.ConnectError(f"{host} has no address")

    async def _addresses(self, host: str) -> list[str]:
        """Return *host* itself, or once the main thread has ended its addresses.

        Threads may go on then for as long as they like, but the ones in which asyncio looks names up are gone.
        """
        if threading.main_thread().is_alive():
            return [host]
        look_up = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
        try:
            try:
                found = await anyio.to_thread.run_sync(look_up)
            except RuntimeError:  # no thread can start any more: nobody is kept waiting at the program's very end
                found = look_up()
        except OSError as error:
            raise self._core.ConnectError(str(error)) from error
        return list(dict.fromkeys(_spelled(place) for *_, place in found))

    async def connect_unix_socket(self, *args: Any, **options: Any) -> _AsyncStream:
        return _AsyncStream(await self._inner.connect_unix_socket(*args, **options), self._core)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _AsyncStream:
    def __init__(self, inner: Any, core: Any) -> None:
        self._inner: Final = inner
        self._core: Final = core
        self._unsent: Final = _Unsent()
        self._poll: Any = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's own
        if self._unsent.parts:
            with suppress(self._core.WriteError):  # see `_Stream`
                await self._inner.write(*self._unsent.take())
        received: bytes = await self._inner.read(max_bytes, timeout)
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        self._unsent.add(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(self, *args: Any, **options: Any) -> _AsyncStream:
        return _AsyncStream(await self._inner.start_tls(*args, **options), self._core)

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and _HAS_POLL:  # asked of each idle connection before and after each request
            return self._is_readable()
        return self._inner.get_extra_info(info)

    def _is_readable(self) -> bool:
        """Return what the library does, but don't look all about the connection up for it each time."""
        if self._poll is None:
            descriptor = self._inner.get_extra_info("socket").fileno()
            if descriptor < 0:  # closed: the end can be read
                return True
            self._poll = select.poll()
            self._poll.register(descriptor, select.POLLIN)
        return bool(self._poll.poll(0))
