"""Requests and responses of httpx and of its fork httpx2, taken apart and made anew. Neither is imported here."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Final

from cycles._core.outcomes import Trouble
from cycles._drivers.libraries import NAMES, trouble_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_OF_BODY: Final = frozenset((b"content-length", b"transfer-encoding"))


def library_of(kind: type) -> Any:
    """Return the module that *kind*, or what it is made from, comes from; None when that is neither of the two."""
    for base in kind.__mro__:
        root = base.__module__.partition(".")[0]
        if root in NAMES:
            return sys.modules[root]
    return None


class _Departing:
    """A request's body that knows how often it was asked for: a transport connects before it does that."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.times = 0

    def __iter__(self) -> Iterator[bytes]:
        self.times += 1
        yield self._body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.times += 1
        yield self._body


@functools.cache
def _departing(library: Any) -> type[Any]:
    return type("Departing", (_Departing, library.SyncByteStream, library.AsyncByteStream), {})


def with_body(library: Any, request: Any, body: bytes) -> Any:
    """Return *request* with another *body*, whose stream says whether the request has begun to leave."""
    made = object.__new__(type(request))
    made.__dict__.update(request.__dict__)
    if body != request.content:
        kept = [pair for pair in request.headers.raw if pair[0].lower() not in _OF_BODY]
        made.headers = library.Headers([*kept, (b"Content-Length", b"%d" % len(body))])
    made._content = body
    made.stream = _departing(library)(body)
    return made


def may_have_left(library: Any, transport: Any, sent: Any, error: BaseException) -> bool:
    """Return whether *sent* may have reached the provider, although *error* came instead of an answer."""
    if trouble_of(error) is Trouble.NOT_SENT:
        # Of a transport that tries again by itself, an earlier attempt may have left.
        return bool(sent.stream.times)
    if library_of(type(error)) is not None:
        return True
    # Only of the libraries' own transports it is known when they ask for the body.
    is_known = isinstance(transport, library.HTTPTransport | library.AsyncHTTPTransport)
    return bool(sent.stream.times) if is_known else True


def times_sent(library: Any, transport: Any, sent: Any) -> int:
    """Return how often a *transport* has sent a request by itself, so that each time may have been billed.

    The libraries' own send a request again only if the provider says that it has not begun to read it (HTTP/2).
    """
    is_plain = type(transport) in (library.HTTPTransport, library.AsyncHTTPTransport)
    return 1 if is_plain else int(sent.stream.times)


def decoded(library: Any, response: Any, raw: bytes) -> bytes:
    """Return the body of *response*, as its content-encoding says; empty when that can't be decoded."""
    encoding = response.headers.get("content-encoding")
    if encoding is None:
        return raw
    try:
        content: bytes = library.Response(200, headers={"content-encoding": encoding}, content=raw).content
    except library.DecodingError:
        return b""
    return content


def can_decode(library: Any, response: Any) -> bool:
    """Return whether *library* decodes the body of *response*: it passes on what it knows no decoder for."""
    coded = response.headers.get("content-encoding")
    if coded is None:
        return True
    known: Any = library._decoders.SUPPORTED_DECODERS  # noqa: SLF001 - no public name says which are installed
    return all(coding.strip().lower() in known for coding in coded.split(","))


def unread(library: Any, response: Any) -> Any:
    """Return *response* with its body still to come, also where the user's own transport has read it."""
    if isinstance(response.stream, library.ByteStream):  # it can be read again
        return response
    try:
        content = response.content
    except library.ResponseNotRead:
        return response
    return restreamed(library, response, library.ByteStream(content))


def replay(library: Any, response: Any, raw: bytes) -> None:
    """Give *response* its body back, whose stream was read."""
    response.stream = library.ByteStream(raw)


def parts(library: Any, response: Any) -> Iterator[bytes]:
    """Return the parts of a body, as they come: decoded, or as they are if they can't be."""
    return iter(response.iter_bytes() if _must_decode(library, response) else response.stream)


def async_parts(library: Any, response: Any) -> AsyncIterator[bytes]:
    """The same for asynchronous code; see `parts`."""
    return aiter(response.aiter_bytes() if _must_decode(library, response) else response.stream)


def _must_decode(library: Any, response: Any) -> bool:
    return "content-encoding" in response.headers and can_decode(library, response)


def restreamed(library: Any, response: Any, stream: Any) -> Any:
    """Return *response* with *stream*, which gives decoded bytes if they can be decoded, for a body."""
    headers = response.headers.copy()
    for name in ("content-encoding", "content-length") if can_decode(library, response) else ("content-length",):
        headers.pop(name, None)
    return library.Response(response.status_code, headers=headers, stream=stream, extensions=response.extensions)


def is_event_stream(response: Any) -> bool:
    """Return whether *response* says that it is a stream of server-sent events."""
    return str(response.headers.get("content-type", "")).startswith("text/event-stream")
