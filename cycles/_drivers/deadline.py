"""A deadline that blocking requests obey as a whole.

httpx bounds each read and write, and an authority that sends its answer byte by byte outlasts that for ever. Here every
read and write of a request is cut to what is left for all of it. Looking a name up is the system's, and can't be cut.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import httpcore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator


class _Deadline:
    """When a request must be over; *ends* is None until its first byte if waiting for a connection does not count."""

    __slots__ = ("ends", "seconds")

    def __init__(self, seconds: float, ends: float | None) -> None:
        self.seconds: Final = seconds
        self.ends = ends


_deadline: Final[ContextVar[_Deadline | None]] = ContextVar("cycles_deadline", default=None)


@contextmanager
def deadline(seconds: float, *, waiting_counts: bool) -> Iterator[None]:
    """End the request that is sent inside after *seconds*, of which waiting for a connection is a part or not."""
    token = _deadline.set(_Deadline(seconds, time.monotonic() + seconds if waiting_counts else None))
    try:
        yield
    finally:
        _deadline.reset(token)


def _left(timeout: float | None, over: type[httpcore.TimeoutException]) -> float | None:
    """Return the seconds that the next step of this thread's request may take."""
    found = _deadline.get()
    if found is None:
        return timeout
    now = time.monotonic()
    if found.ends is None:
        found.ends = now + found.seconds
    left = found.ends - now
    if left <= 0.0:
        raise over(f"the request took longer than its {found.seconds:.3g} s")
    return left if timeout is None else min(timeout, left)


class DeadlineBackend(httpcore.NetworkBackend):
    """What httpcore opens its connections with: *inner*, whose streams obey the deadline."""

    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner: Final = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, left, local_address, socket_options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_unix_socket(path, left, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner: Final = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
