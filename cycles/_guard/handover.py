"""The section of one call: current while it runs. One that outlasts it hands its end over to what was returned."""

from __future__ import annotations

import weakref
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from cycles._client.opened_section import enter, leave, put_back
from cycles._client.raising import ANSWERS
from cycles._drivers.asyncgens import closing

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from cycles._client.opened_section import Opened

H = TypeVar("H")

Section: TypeAlias = "AbstractContextManager[Opened[H]]"
"""What opens a section and settles it at the end."""

AsyncSection: TypeAlias = "AbstractAsyncContextManager[Opened[H]]"
"""The same for asynchronous code."""

Opening: TypeAlias = "Callable[[tuple[Any, ...], dict[str, Any]], Section[H]]"
"""Returns what opens and settles the section of a call with these arguments."""

AsyncOpening: TypeAlias = "Callable[[tuple[Any, ...], dict[str, Any]], AsyncSection[H]]"
"""The same for asynchronous code."""


class Handover(Generic[H]):
    """Opens the section of one call, and makes it current; its block ends the section.

    Not if `keep` was called and nothing is raised.

    Args:
        section: Opens and settles the section of the call.
    """

    __slots__ = ("_before", "_is_kept", "_opened", "_section")

    def __init__(self, section: Section[H]) -> None:
        self._section: Final = section
        self._is_kept = False

    def __enter__(self) -> Opened[H]:
        try:
            opened = self._opened = self._section.__enter__()
        except ANSWERS as error:
            error.__traceback__ = None  # see `raising`
            raise
        try:
            self._before = enter(opened)
            return opened  # noqa: TRY300 - an interrupt may come at this line, too
        except BaseException:
            put_back(opened)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        leave(self._before)
        if self._is_kept and error is None:
            return None
        return self._section.__exit__(kind, error, trace)

    def keep(self) -> Rest[H]:
        """Leave the section open beyond the block, and return what will end it."""
        self._is_kept = True
        return Rest(self._section, self._opened)


class AsyncHandover(Generic[H]):
    """The same for asynchronous code; see `Handover`."""

    __slots__ = ("_before", "_is_kept", "_opened", "_section")

    def __init__(self, section: AsyncSection[H]) -> None:
        self._section: Final = section
        self._is_kept = False

    async def __aenter__(self) -> Opened[H]:
        try:
            opened = self._opened = await self._section.__aenter__()
        except ANSWERS as error:
            error.__traceback__ = None  # see `raising`
            raise
        try:
            self._before = enter(opened)
            return opened  # noqa: TRY300 - an interrupt may come at this line, too
        except BaseException:
            put_back(opened)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        leave(self._before)
        if self._is_kept and error is None:
            return None
        return await self._section.__aexit__(kind, error, trace)

    def keep(self) -> Rest[H]:
        """Leave the section open beyond the block, and return what will end it."""
        self._is_kept = True
        return Rest(self._section, self._opened)


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

    def outlives(self, spanning: object) -> None:
        """Keep the section until *spanning* is finalized, whose finalizer ends it.

        Of a cycle that is collected any part may be finalized first, and a reservation alone knows no policy.
        """
        weakref.finalize(spanning, _let_go, self).atexit = False

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


def _let_go(rest: Rest[Any]) -> None:
    """Let *rest* go, which was kept until now."""
