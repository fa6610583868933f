"""Sections that outlast the call that opened them: their end goes over to what the call returned."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from cycles._client.raising import raised_here
from cycles._drivers.asyncgens import closing

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from cycles._client.opened_section import Opened

H = TypeVar("H")


class Handover(Generic[H]):
    """Opens the section of one call; its block ends the section, unless `keep` was called and nothing is raised."""

    __slots__ = ("_is_kept", "_opened", "_opening")

    def __init__(self, opening: AbstractContextManager[Opened[H]]) -> None:
        self._opening: Final = opening
        self._is_kept = False

    def __enter__(self) -> Handover[H]:
        with raised_here:
            self._opened = self._opening.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._is_kept and error is None:
            return None
        return self._opening.__exit__(kind, error, trace)

    @property
    def opened(self) -> Opened[H]:
        """The section."""
        return self._opened

    def keep(self) -> Rest[H]:
        """Leave the section open beyond the block, and return what will end it."""
        self._is_kept = True
        return Rest(self._opening, self._opened)


class AsyncHandover(Generic[H]):
    """The same for asynchronous code; see `Handover`."""

    __slots__ = ("_is_kept", "_opened", "_opening")

    def __init__(self, opening: AbstractAsyncContextManager[Opened[H]]) -> None:
        self._opening: Final = opening
        self._is_kept = False

    async def __aenter__(self) -> AsyncHandover[H]:
        with raised_here:
            self._opened = await self._opening.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if self._is_kept and error is None:
            return None
        return await self._opening.__aexit__(kind, error, trace)

    @property
    def opened(self) -> Opened[H]:
        """The section."""
        return self._opened

    def keep(self) -> Rest[H]:
        """Leave the section open beyond the block, and return what will end it."""
        self._is_kept = True
        return Rest(self._opening, self._opened)


class Rest(Generic[H]):
    """The rest of a section that is open already: it ends as a `with` or `async with` block of this ends.

    Attributes:
        is_closing: Whether it ends because what spans it was closed, perhaps by the end of the event loop.
    """

    __slots__ = ("_opened", "_opening", "is_closing")

    def __init__(self, opening: Any, opened: Opened[H]) -> None:
        self._opening: Final = opening
        self._opened: Final = opened
        self.is_closing = False
        opened.keep_subject()

    @property
    def opened(self) -> Opened[H]:
        """The section."""
        return self._opened

    def __enter__(self) -> Opened[H]:
        return self._opened

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opening.__exit__(kind, error, trace)

    async def __aenter__(self) -> Opened[H]:
        return self._opened

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with closing() if self.is_closing else nullcontext():
            await self._opening.__aexit__(kind, error, trace)
