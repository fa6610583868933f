"""The end of an event loop: connections that belong to it are closed then, and not left to the collector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable


class LoopEnd:
    """Closes connections when the loop of their first request ends.

    A loop that ends closes the asynchronous generators that are open in it, all at the same time: one of them is here.
    Others are the program's, and their last requests come after it or while it closes. So each request is sent inside
    an `async with`, and the last one of an ended loop closes what it has opened. A loop that is closed without
    `shutdown_asyncgens` (asyncio.run, trio.run and asyncio.Runner call it) does not tell.

    Args:
        close: Closes the connections; new ones may be opened afterwards.
    """

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self._close: Final = close
        self._watch: AsyncGenerator[None, None] | None = None
        self._in_flight = 0
        self._has_ended = False

    async def __aenter__(self) -> None:
        if self._watch is None or (self._has_ended and _in_trio()):  # one trio.run after another
            self._has_ended = False
            self._watch = self._watching()
            await anext(self._watch)
        self._in_flight += 1

    async def __aexit__(self, *_: object) -> None:
        self._in_flight -= 1
        if self._has_ended and not self._in_flight:
            await self._close()

    async def aclose(self) -> None:
        """Close the connections now."""
        if self._watch is not None:
            await self._watch.aclose()

    async def _watching(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._has_ended = True
            if not self._in_flight:
                await self._close()


def _in_trio() -> bool:
    import asyncio  # noqa: PLC0415 - loaded by whoever runs a loop

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False
