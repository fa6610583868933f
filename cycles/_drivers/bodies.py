"""Bodies of answers: read and decoded within bounds, whatever an authority, or what stands between, sends."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from cycles_api.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles_api.http import HttpHeaders

LARGEST: Final = 4 * 1024 * 1024
"""Bytes of a body at most, as it comes and as it is decoded; a page of 200 reservations has about 0.3 MB."""

ACCEPTED: Final = "gzip, deflate"
"""The Accept-Encoding of our requests: what can be decoded step by step."""


class Body:
    """The body of one answer, while it comes in.

    Args:
        status: The answer's.
        headers: The answer's.

    Raises:
        DecodeError: when the headers say that it is too long, or encoded in a way that was not asked for.
    """

    def __init__(self, status: int, headers: HttpHeaders) -> None:
        self._status: Final = status
        self._headers: Final = headers
        self._chunks: Final[list[bytes]] = []
        self._received = self._size = 0
        self._decoder: _Inflater | None = None
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding in _WINDOWS:
            self._decoder = _Inflater(encoding)
        elif encoding != "identity":
            raise self._unreadable(f"in the encoding {encoding[:40]!r}, which was not asked for")
        length = headers.get("content-length", "")
        if length.isascii() and length.isdigit() and (len(length) > 12 or int(length) > LARGEST):
            raise self._too_large()

    def feed(self, chunk: bytes) -> None:
        """Take the next *chunk*.

        Raises:
            DecodeError: when it is too much, or no valid encoding.
        """
        self._received += len(chunk)
        if self._received > LARGEST:
            raise self._too_large()
        if self._decoder is not None:
            try:
                chunk = self._decoder.inflate(chunk, LARGEST - self._size + 1)
            except zlib.error as error:
                raise self._unreadable(f"badly encoded: {error}") from None
        self._size += len(chunk)
        if self._size > LARGEST:
            raise self._too_large()
        self._chunks.append(chunk)

    def end(self) -> bytes:
        """Return the whole body.

        Raises:
            DecodeError: when its encoding is cut off.
        """
        if self._decoder is not None and self._received and not self._decoder.is_whole:
            raise self._unreadable("its encoding is cut off, or goes on after its end")
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)

    def take_whole(self, content: bytes) -> None:
        """Take *content* as it is: decoded, and all there is.

        Raises:
            DecodeError: when it is too much.
        """
        if len(content) > LARGEST:
            raise self._too_large()

    def _too_large(self) -> DecodeError:
        return self._unreadable(f"larger than {LARGEST >> 20} MiB")

    def _unreadable(self, reason: str) -> DecodeError:
        error = DecodeError("body", reason)
        error.status_code, error.headers = self._status, self._headers
        return error


_WINDOWS: Final[Mapping[str, int]] = {
    "gzip": zlib.MAX_WBITS | 16,
    "x-gzip": zlib.MAX_WBITS | 16,
    "deflate": zlib.MAX_WBITS,
}


_ZLIB_HEAD: Final = 2
"""Bytes that tell whether a deflated body has zlib's header; none of them decodes to anything."""


class _Inflater:
    """Decodes step by step, and no more than it is asked for: a megabyte may decode to a gigabyte."""

    def __init__(self, encoding: str) -> None:
        self._is_deflate: Final = encoding == "deflate"
        self._head = b""
        self._inflating = zlib.decompressobj(_WINDOWS[encoding])

    def inflate(self, chunk: bytes, most: int) -> bytes:
        """Return what *chunk* decodes to, *most* bytes of it."""
        if not self._is_deflate or len(self._head) >= _ZLIB_HEAD:
            return self._inflating.decompress(chunk, most)
        self._head += chunk
        try:
            return self._inflating.decompress(chunk, most)
        except zlib.error:  # without the header that it should have: many servers send that
            self._inflating = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._inflating.decompress(self._head, most)

    @property
    def is_whole(self) -> bool:
        """Whether it has come to its end, and nothing follows."""
        return self._inflating.eof and not self._inflating.unused_data


def filled(http: Any, response: Any, content: bytes) -> Any:
    """Return *response*, which is one of the library *http*, with its whole, decoded body."""
    if "content-encoding" in response.headers:
        del response.headers["content-encoding"]
    response.stream = http.ByteStream(content)
    response.read()
    return response


def drop_if_more_follows(stream: Any) -> None:
    """Let httpcore drop the connection of an answer that was read to its end, if more than that has come.

    It would keep the connection, and take the surplus for the answer to the next request. What comes later makes an
    idle socket readable, which httpcore looks for.

    Args:
        stream: The answer's, as httpx's client or transport returns it; other engines have no such thing.
    """
    while hasattr(stream, "_stream"):  # a client's, around the transport's; there is no public way to any of it
        stream = stream._stream  # noqa: SLF001 - as above
    below = getattr(getattr(stream, "_httpcore_stream", None), "_stream", None)
    state = getattr(getattr(below, "_connection", None), "_h11_state", None)
    if state is not None and state.trailing_data[0]:
        state.send_failed()


def close_surplus(session: object) -> None:
    """Close idle connections on which more came than the answer: aiohttp would read it as the next request's answer.

    Args:
        session: aiohttp's; anything else has no such connections.
    """
    idle: Any = getattr(getattr(session, "connector", None), "_conns", {})  # it has no public way to look at them
    for connections in idle.values():
        for protocol, _ in connections:
            if protocol.should_close:
                protocol.close()
