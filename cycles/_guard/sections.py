"""Guarded sections, blocking and asynchronous: reserved where they begin, settled where they end."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from cycles._client.raising import raised_here
from cycles._drivers.asyncgens import closing
from cycles._guard import nesting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import TracebackType

    from cycles._client.opened_section import Opened
    from cycles._guard.settlement_policy import Policy

H = TypeVar("H")


@contextmanager
def section(reserve: Callable[[], Opened[H]], policy: Policy) -> Iterator[Opened[H]]:
    """Open the section that *reserve* gives, and settle it at the end by *policy*."""
    with raised_here:
        opened = reserve()
    nesting.say_once(opened)
    running = opened.running
    try:
        yield opened
    except BaseException as raised:
        if running.ends_here():
            ending, interrupt = policy.end_raised(running.section, raised)
            running.settle(ending, hurried=interrupt is not None or not isinstance(raised, Exception))
            if interrupt is not None:
                raise interrupt from raised
        raise
    result = opened.take_result()
    if running.ends_here():
        ending, interrupt = policy.end(running.section, result)
        settlement = running.settle(ending, hurried=interrupt is not None)
        if interrupt is not None:
            raise interrupt
        if settlement is not None:
            running.conclude(settlement, asked=False)


class AsyncSection(Generic[H]):
    """Opens and settles a section; see `section`.

    A class and no async generator: when its loop ends, asyncio closes all open async generators at the same time, and a
    section would be settled while the user's generator in it still runs.
    """

    __slots__ = ("_opened", "_policy", "_reserve")

    def __init__(self, reserve: Callable[[], Awaitable[Opened[H]]], policy: Policy) -> None:
        self._reserve: Final = reserve
        self._policy: Final = policy

    async def __aenter__(self) -> Opened[H]:
        with raised_here:
            self._opened = await self._reserve()
        nesting.say_once(self._opened)
        return self._opened

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if raised is None:
            await self._ended()
        else:
            await self._failed(raised)

    async def _failed(self, raised: BaseException) -> None:
        running = self._opened.running
        hurried = not isinstance(raised, Exception)
        if running.ends_here():
            ending, interrupt = self._policy.end_raised(running.section, raised)
            with closing() if isinstance(raised, GeneratorExit) else nullcontext():
                await running.settle_async(ending, hurried=hurried or interrupt is not None)
            if interrupt is not None:
                raise interrupt from raised
        if hurried and running.is_cancelled:
            raised.__cause__ = running.lost()

    async def _ended(self) -> None:
        running, result = self._opened.running, self._opened.take_result()
        if running.ends_here():
            ending, interrupt = self._policy.end(running.section, result)
            settlement = await running.settle_async(ending, hurried=interrupt is not None)
            if interrupt is not None:
                raise interrupt
            if settlement is not None:
                running.conclude(settlement, asked=False)
