"""The bodies of streamed answers: the caller reads them, and the section of their request lasts as long.

the caller …                               then the section
read to the end, or to the usage           ends at the provider's figure (without one: at the estimate, marked)
left early, let it be collected, or was    ends at what came, or at the estimate, or when the rest has been read
cancelled                                  in the background: as `partial` says
lost the connection                        ends at what came, or at the estimate
"""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, Any, Final

from cycles._metered.async_sources import AsyncSource
from cycles._metered.messages import can_decode
from cycles._metered.sources import Source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cycles._guard.handover import Rest
    from cycles._metered.calls import Call


class _Open:
    """Whether a body is open: of several threads at once, one ends it. If it is collected, its source is told."""

    def __init__(self, body: object, source: Source | AsyncSource) -> None:
        # It holds the source, the call and its section, so that these outlive the body: of a cycle that is collected
        # any part may be finalized first, and the section alone would not know what has come.
        self._finalizer: Final = weakref.finalize(body, source.dropped)
        self._finalizer.atexit = False

    def ends(self) -> bool:
        """Return whether the body ends now; only once it does."""
        return self._finalizer.detach() is not None


class _SyncBody:
    def __init__(self, response: Any, call: Call, rest: Rest[Any]) -> None:
        self._call: Final = call
        self._source: Final = Source(response, call, rest)
        self._open: Final = _Open(self, self._source)

    def __iter__(self) -> Iterator[bytes]:
        try:
            for data in self._source.pieces:
                shown = self._call.feed(data)
                if shown:
                    yield shown
            shown = self._call.rest()
            if shown:
                yield shown
        except GeneratorExit:  # the caller has left; it closes the response, or drops it
            raise
        except BaseException as error:
            if self._open.ends():
                self._source.end(error, whole=False)
            raise
        if self._open.ends():
            self._source.end(None, whole=True)

    def close(self) -> None:
        """End the section, if the stream did not, and close the response."""
        if self._open.ends():
            self._source.left()


class _AsyncBody:
    def __init__(self, response: Any, call: Call, rest: Rest[Any]) -> None:
        self._call: Final = call
        self._source: Final = AsyncSource(response, call, rest)
        self._open: Final = _Open(self, self._source)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._source.pieces:
                shown = self._call.feed(data)
                if shown:
                    yield shown
            shown = self._call.rest()
            if shown:
                yield shown
        except GeneratorExit:  # see `_SyncBody`
            raise
        except BaseException as error:
            if self._open.ends():
                await self._source.broke(error)
            raise
        if self._open.ends():
            await self._source.end(None, whole=True)

    async def aclose(self) -> None:
        """End the section, if the stream did not, and close the response."""
        if self._open.ends():
            await self._source.left()


@functools.cache
def _kinds(library: Any) -> tuple[type[Any], type[Any]]:
    """Return the classes of bodies that the *library* takes."""
    return (
        type("MeteredBody", (_SyncBody, library.SyncByteStream), {}),
        type("AsyncMeteredBody", (_AsyncBody, library.AsyncByteStream), {}),
    )


def metered_body(library: Any, response: Any, call: Call, rest: Rest[Any]) -> Any:
    """Return the body of *response* for blocking code; the section of *call* lasts as long."""
    call.begin_stream(readable=can_decode(library, response))
    return _kinds(library)[0](response, call, rest)


def metered_async_body(library: Any, response: Any, call: Call, rest: Rest[Any]) -> Any:
    """The same for asynchronous code; see `metered_body`."""
    call.begin_stream(readable=can_decode(library, response))
    return _kinds(library)[1](response, call, rest)
