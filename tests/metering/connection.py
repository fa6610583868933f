"""One connection to the endpoint: HTTP/1.1 on raw asyncio, so that a test decides what each byte does."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 503: "Service Unavailable"}


class Gone(Exception):
    """The client has ended the connection."""


class Head(NamedTuple):
    """The beginning of a request."""

    method: str
    path: str
    query: str
    headers: dict[str, str]


@dataclass
class Body:
    """How an answer's body is written: compressed or not, chunked, and in pieces of how many bytes."""

    gzip: bool = False
    piece: int | None = None


class Connection(asyncio.Protocol):
    """Reads requests one after the other; `woken` is set by whatever somebody waits for."""

    def __init__(self, serve: Callable[[Connection], Coroutine[Any, Any, None]]) -> None:
        self._serve = serve
        self.error: BaseException | None = None  # of the endpoint itself
        self._received = bytearray()
        self._compressor: Any = None
        self._body = Body()
        self.gone = False
        self.woken = asyncio.Event()

    # -- asyncio's side ------------------------------------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._task = asyncio.get_running_loop().create_task(self._served())

    async def _served(self) -> None:
        try:
            await self._serve(self)
        except Gone:
            pass
        except Exception as error:
            self.error = error
        finally:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        self.woken.set()

    def eof_received(self) -> None:
        self.connection_lost(None)  # a client that stops sending has left: none of the SDKs half-closes

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self.woken.set()

    # -- the endpoint's side -------------------------------------------------------------------------------------------
    async def until(self, ready: Callable[[], Any]) -> None:
        """Wait until *ready*.

        Raises:
            Gone: the client left first.
        """
        while not ready():
            if self.gone:
                raise Gone
            self.woken.clear()
            await self.woken.wait()

    async def head(self) -> Head:
        await self.until(lambda: b"\r\n\r\n" in self._received)
        raw, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        self._received = bytearray(rest)
        first, *lines = raw.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        path, _, query = target.partition("?")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Head(method, path, query, headers)

    async def body(self, head: Head) -> bytes:
        length = int(head.headers.get("content-length") or 0)
        if head.headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await self.until(lambda: len(self._received) >= length)
        body, self._received = bytes(self._received[:length]), self._received[length:]
        return body

    def answer(self, status: int, body: bytes, headers: dict[str, str], how: Body) -> None:
        """Write a whole answer."""
        if how.gzip:
            compressor = zlib.compressobj(wbits=31)
            body = compressor.compress(body) + compressor.flush()
            headers = headers | {"content-encoding": "gzip"}
        self._head(status, headers | {"content-length": str(len(body))})
        self._write(body, how.piece)

    def begin(self, headers: dict[str, str], how: Body) -> None:
        """Write the head of a stream."""
        self._body = how
        self._compressor = zlib.compressobj(wbits=31) if how.gzip else None
        coded = {"content-encoding": "gzip"} if how.gzip else {}
        self._head(200, headers | coded | {"transfer-encoding": "chunked"})

    def chunk(self, data: bytes) -> None:
        """Write a part of a stream; what was written before it has reached the client's decoder, too."""
        if self._compressor is not None:
            data = self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        step = self._body.piece or len(data)
        for start in range(0, len(data), step):
            part = data[start : start + step]
            self._transport.write(b"%x\r\n%s\r\n" % (len(part), part))

    def end(self) -> None:
        """End a stream properly."""
        if self._compressor is not None:
            tail = self._compressor.flush()
            self._transport.write(b"%x\r\n%s\r\n" % (len(tail), tail))
        self._transport.write(b"0\r\n\r\n")

    def close(self) -> None:
        """End the connection after what was written; in the middle of an answer it is cut off."""
        self._transport.close()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._transport.write(f"HTTP/1.1 {status} {REASONS.get(status, 'Error')}\r\n{lines}\r\n".encode())

    def _write(self, data: bytes, piece: int | None) -> None:
        step = piece or max(len(data), 1)
        for start in range(0, len(data), step):
            self._transport.write(data[start : start + step])
