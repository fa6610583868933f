"""What the bodies of streamed answers are read from in asynchronous code; see `cycles._metered.sources`.

Under `partial="drain"` each part is read by a task of its own: who waits for it may be cancelled, and the connection
goes on. One reader at a time gets parts: when another task closes the stream, the reader's turn is over.
"""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any, Final

from cycles._background.schedule import in_trio
from cycles._metered import sources
from cycles._metered.messages import async_parts
from cycles._metered.sources import AnySource
from cycles._outside.arrivals import harmless

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator

    from cycles._guard.handover import Rest
    from cycles._metered.calls import Call

_draining: Final[set[asyncio.Task[None]]] = set()
"""Tasks that read on; an event loop alone would let them be collected."""


class AsyncSource(AnySource):
    """A streamed answer, for asynchronous code."""

    def __init__(self, response: Any, call: Call, rest: Rest[Any]) -> None:
        super().__init__(response, call, rest)
        self._parts: Final = async_parts(call.library, response)
        self._pending: asyncio.Task[bytes] | None = None
        self._turn = 0
        # Where a task can outlive the block around it: under trio none can.
        lasts = self._drains and not in_trio()
        self._loop: Final = _asyncio().get_running_loop() if lasts else None

    @property
    def pieces(self) -> AsyncIterator[bytes]:
        """The parts of the answer, as they come."""
        return self._parts if self._loop is None else self._lasting(0)

    async def _lasting(self, turn: int) -> AsyncIterator[bytes]:
        while True:
            self._must_be(turn)
            if self._pending is None:
                self._pending = _asyncio().create_task(self._next())
            # What is pending stays so if whoever waits for it is cancelled, and is not lost if it has come by then.
            await _asyncio().wait((self._pending,))
            self._must_be(turn)
            came, self._pending = self._pending, None
            assert came is not None  # noqa: S101 - types: nobody else takes it in this one's turn
            try:
                data = came.result()
            except StopAsyncIteration:
                return
            yield data

    def _must_be(self, turn: int) -> None:
        """Raise what a connection raises that is closed while it is read, if it is another reader's turn by now."""
        if self._turn != turn:
            raise self._call.library.ReadError("the stream was closed while it was read")

    async def _next(self) -> bytes:
        return await anext(self._parts)

    async def end(self, error: BaseException | None, *, whole: bool) -> None:
        """Close the answer, and end its section."""
        try:
            try:
                await self._let_go()
            finally:
                await self._response.aclose()
        finally:
            if error is None:
                async with self._rest as opened:  # see `Source.end`
                    opened.result = self._call.streamed(whole=whole)
            else:
                await self._rest.__aexit__(type(error), error, error.__traceback__)

    async def _let_go(self) -> None:
        """Cancel the part that is still waited for; one that has come by now counts, though nobody got to see it."""
        pending, self._pending = self._pending, None
        self._turn += 1
        if pending is not None:
            pending.cancel()
            (came,) = await _asyncio().gather(pending, return_exceptions=True)
            if isinstance(came, bytes):
                self._call.feed(came)

    async def left(self) -> None:
        """End the section of an answer whose reader has left, or read on."""
        if not self._began_draining():
            await self.end(None, whole=False)

    async def broke(self, error: BaseException) -> None:
        """End the section of an answer that could not be read on; if only its reader was cancelled, read on."""
        if self._pending is None or not self._began_draining():
            await self.end(error, whole=False)

    def dropped(self) -> None:
        """Leave to the background what nobody reads any more. Called while its reader is collected, by any thread."""
        with harmless():
            if self._loop is None or self._loop.is_closed():
                self._call.dropped()
            else:
                self._loop.call_soon_threadsafe(self._dropped)

    def _dropped(self) -> None:
        if not self._began_draining():
            self._call.dropped()

    def _began_draining(self) -> bool:
        if self._loop is None or not self._reads_on or _is_ending(self._loop):
            return False
        self._turn += 1
        task = self._loop.create_task(self._drain(), name="cycles-drain")
        _draining.add(task)
        task.add_done_callback(_draining.discard)
        return True

    async def _drain(self) -> None:
        error: BaseException | None = None
        whole, came = False, 0
        try:
            async with _asyncio().timeout(sources.DRAIN_SECONDS):
                async for data in self._lasting(self._turn):
                    came += len(data)
                    self._call.feed(data)
                    if not self._call.may_tell or came > sources.DRAIN_BYTES:
                        break
                else:
                    self._call.rest()
                    whole = True
        except _asyncio().CancelledError as cancelled:
            error = cancelled
        except Exception:  # noqa: BLE001, S110 - what came is charged, whatever ends the reading
            pass
        await self.end(error, whole=whole)
        if error is not None:
            raise error


def _asyncio() -> Any:
    """Return the module, which whoever calls this runs in."""
    return sys.modules["asyncio"]


def _is_ending(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether everything in a loop is being cancelled, as when it ends: a task that begins then may never run.

    The closing of a generator that was left is a task as well, and no coroutine.
    """
    tasks = _asyncio().all_tasks(loop)
    return all(task.cancelling() for task in tasks if inspect.iscoroutine(task.get_coro()))
