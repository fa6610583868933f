"""Guarded sections, blocking and asynchronous: reserved where they begin, settled where they end."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

from cycles._client.arguments import checked
from cycles._client.opened_section import Opened
from cycles._client.raising import ANSWERS
from cycles._drivers.asyncgens import closing
from cycles._guard import nesting
from cycles.reservation import AsyncReservation, Reservation

if TYPE_CHECKING:
    from types import TracebackType

    from cycles._client.async_runtime import AsyncRuntime
    from cycles._client.blocking_runtime import BlockingRuntime
    from cycles._client.running_section import RunningSection
    from cycles._guard.fields import Asked
    from cycles._guard.settlement_policy import Policy


class BlockingSection:
    """Opens the section of what is *asked* for, and settles it at the end by *policy*.

    A class and no generator: what is left of it while the section runs is this object, and no frame.
    """

    __slots__ = ("_asked", "_opened", "_policy", "_runtime")

    def __init__(self, runtime: BlockingRuntime, asked: Asked, policy: Policy) -> None:
        self._runtime: Final = runtime
        self._asked = asked
        self._policy: Final = policy

    def __enter__(self) -> Opened[Reservation]:
        try:
            running, reservation = self._runtime.reserve(checked(self._runtime.access, *self._asked), Reservation)
        except ANSWERS as error:
            error.__traceback__ = None  # see `raising`
            raise
        opened = self._opened = Opened(running, reservation)
        if running.section.share is None:
            nesting.say_once(opened)
        return opened

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        opened = self._opened
        running, result, opened.result = opened.running, opened.result, None
        if not running.ends_here():
            return
        if raised is not None:
            self._failed(running, raised)
            return
        ending, interrupt = self._policy.end(running.section, result)
        settlement = running.settle(ending, hurried=interrupt is not None)
        if interrupt is not None:
            raise interrupt
        if settlement is not None:
            running.conclude(settlement, asked=False)

    def _failed(self, running: RunningSection, raised: BaseException) -> None:
        ending, interrupt = self._policy.end_raised(running.section, raised)
        running.settle(ending, hurried=interrupt is not None or not isinstance(raised, Exception))
        if interrupt is not None:
            raise interrupt from raised


class AsyncSection:
    """Opens and settles a section; see `BlockingSection`.

    A class and no async generator: when its loop ends, asyncio closes all open async generators at the same time, and a
    section would be settled while the user's generator in it still runs.
    """

    __slots__ = ("_asked", "_opened", "_policy", "_runtime")

    def __init__(self, runtime: AsyncRuntime, asked: Asked, policy: Policy) -> None:
        self._runtime: Final = runtime
        self._asked = asked
        self._policy: Final = policy

    async def __aenter__(self) -> Opened[AsyncReservation]:
        try:
            asked = checked(self._runtime.access, *self._asked)
            running, reservation = await self._runtime.reserve(asked, AsyncReservation)
        except ANSWERS as error:
            error.__traceback__ = None  # see `raising`
            raise
        opened = self._opened = Opened(running, reservation)
        if running.section.share is None:
            nesting.say_once(opened)
        return opened

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
        opened = self._opened
        running, result, opened.result = opened.running, opened.result, None
        if running.ends_here():
            ending, interrupt = self._policy.end(running.section, result)
            settlement = await running.settle_async(ending, hurried=interrupt is not None)
            if interrupt is not None:
                raise interrupt
            if settlement is not None:
                running.conclude(settlement, asked=False)
