"""The bodies of streamed answers: the caller reads them, and the section of their request lasts as long.

the caller …                               then the section
read to the end, or to the usage           ends at the provider's figure (without one: at the estimate, marked)
left early                                 ends at what came, or at the estimate, or when the rest has been read
                                           in the background: as `partial` says
was cancelled, or the connection broke     ends at what came, or at the estimate
let the response be collected              is left to the client's background work, at what came
"""

from __future__ import annotations

import functools
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

from cycles._background.schedule import in_trio
from cycles._metered.messages import async_parts, parts
from cycles._outside.arrivals import harmless

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterator

    from cycles._guard.handover import Rest
    from cycles._metered.calls import Call

DRAIN_SECONDS: Final = 60.0
"""How long `partial="drain"` reads on after the caller has left."""

_draining: Final[set[asyncio.Task[None]]] = set()
"""Tasks that read on; an event loop alone would let them be collected."""


class _Body:
    """The part of a metered body that blocking and asynchronous code share.

    Args:
        response: The provider's answer.
        call: Its request.
        rest: The rest of its section.
    """

    def __init__(self, response: Any, call: Call, rest: Rest[Any]) -> None:
        self._response: Final = response
        self._call: Final = call
        self._rest: Final = rest
        self._chunks: Any = None
        # It holds the call and its section, so that these outlive the body: of a cycle that is collected any part may
        # be finalized first, and the section alone would not know what has come.
        self._open: Final = weakref.finalize(self, _dropped, call, rest)
        self._open.atexit = False

    @property
    def _reads_on(self) -> bool:
        """Whether what the caller leaves is to be read in the background."""
        return self._call.meter.choices.partial == "drain" and self._chunks is not None and not self._call.is_told

    def _is_first_end(self) -> bool:
        """Return whether the body ends now; of several threads at once, one ends it."""
        return self._open.detach() is not None


def _dropped(call: Call, rest: Rest[Any]) -> None:
    """Leave to the background what nobody reads any more."""
    del rest  # a parameter, so that it lives until now
    with harmless():
        call.dropped()


class _SyncBody(_Body):
    def __iter__(self) -> Iterator[bytes]:
        self._chunks = parts(self._response)
        try:
            for data in self._chunks:
                shown = self._call.feed(data)
                if shown:
                    yield shown
            shown = self._call.rest()
            if shown:
                yield shown
        except GeneratorExit:  # the caller has left; it closes the response, or drops it
            raise
        except BaseException as error:
            self._finish(error)
            raise
        self._finish(None, whole=True)

    def close(self) -> None:
        """End the section, if the stream did not, and close the response."""
        if not self._is_first_end():
            return
        if not self._reads_on:
            self._end(None, whole=False)
            return
        try:
            threading.Thread(target=self._drain, name="cycles-drain", daemon=True).start()
        except RuntimeError:  # there can be no more threads, perhaps because the interpreter ends
            self._end(None, whole=False)

    def _finish(self, error: BaseException | None, *, whole: bool = False) -> None:
        if self._is_first_end():
            self._end(error, whole=whole)

    def _end(self, error: BaseException | None, *, whole: bool) -> None:
        try:
            self._response.close()
        finally:
            if error is None:
                with self._rest as opened:  # what interrupts the reckoning ends it, too
                    opened.result = self._call.streamed(whole=whole)
            else:
                self._rest.__exit__(type(error), error, error.__traceback__)

    def _drain(self) -> None:
        ends, whole = time.monotonic() + DRAIN_SECONDS, False
        with harmless():  # nobody waits for this thread: what came is charged, whatever ends the reading
            for data in self._chunks:
                self._call.feed(data)
                if self._call.is_told or time.monotonic() > ends:
                    break
            else:
                self._call.rest()
                whole = True
        with harmless():
            self._end(None, whole=whole)


class _AsyncBody(_Body):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._chunks = async_parts(self._response)
        try:
            async for data in self._chunks:
                shown = self._call.feed(data)
                if shown:
                    yield shown
            shown = self._call.rest()
            if shown:
                yield shown
        except GeneratorExit:  # see `_SyncBody`
            raise
        except BaseException as error:
            await self._finish(error)
            raise
        await self._finish(None, whole=True)

    async def aclose(self) -> None:
        """End the section, if the stream did not, and close the response."""
        if not self._is_first_end():
            return
        if not self._reads_on or in_trio():  # trio has no place for a task that outlives its block
            await self._end(None, whole=False)
            return
        task = sys.modules["asyncio"].get_running_loop().create_task(self._drain(), name="cycles-drain")
        _draining.add(task)
        task.add_done_callback(_draining.discard)

    async def _finish(self, error: BaseException | None, *, whole: bool = False) -> None:
        if self._is_first_end():
            await self._end(error, whole=whole)

    async def _end(self, error: BaseException | None, *, whole: bool) -> None:
        try:
            await self._response.aclose()
        finally:
            if error is None:
                async with self._rest as opened:  # see `_SyncBody`
                    opened.result = self._call.streamed(whole=whole)
            else:
                await self._rest.__aexit__(type(error), error, error.__traceback__)

    async def _drain(self) -> None:
        import asyncio  # noqa: PLC0415 - whoever calls this runs in it

        error: BaseException | None = None
        whole = False
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                async for data in self._chunks:
                    self._call.feed(data)
                    if self._call.is_told:
                        break
                else:
                    self._call.rest()
                    whole = True
        except asyncio.CancelledError as cancelled:
            error = cancelled
        except Exception:  # noqa: BLE001, S110 - what came is charged, whatever ends the reading
            pass
        await self._end(error, whole=whole)
        if error is not None:
            raise error


@functools.cache
def _kinds(library: Any) -> tuple[type[Any], type[Any]]:
    """Return the classes of bodies that the *library* takes."""
    return (
        type("MeteredBody", (_SyncBody, library.SyncByteStream), {}),
        type("AsyncMeteredBody", (_AsyncBody, library.AsyncByteStream), {}),
    )


def metered_body(library: Any, response: Any, call: Call, rest: Rest[Any]) -> Any:
    """Return the body of *response* for blocking code; the section of *call* lasts as long."""
    call.begin_stream()
    return _kinds(library)[0](response, call, rest)


def metered_async_body(library: Any, response: Any, call: Call, rest: Rest[Any]) -> Any:
    """The same for asynchronous code; see `metered_body`."""
    call.begin_stream()
    return _kinds(library)[1](response, call, rest)
