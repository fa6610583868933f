"""Guarded functions, blocking and asynchronous: one section for each call, as long as the work that it returned."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Final

from cycles._guard import async_generators, generators, shapes
from cycles._guard.handover import AsyncHandover, Handover
from cycles._guard.iterators import GuardedAsyncIterator, GuardedIterator
from cycles.reservation import DryRun

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from cycles._guard.handover import AsyncOpening, Opening
    from cycles.reservation import AsyncReservation, Reservation


def guard_function(
    opening: Opening[Reservation],
    function: Callable[..., Any],
) -> Callable[..., Any]:
    """Return *function* with each call inside a section; a dry run does not call it, and returns its `DryRun`."""

    def guarded(*args: Any, **kwargs: Any) -> Any:
        call = Handover(opening(args, kwargs))
        with call as opened:
            if opened.is_dry_run:
                return DryRun(opened.reservation)
            result = function(*args, **kwargs)
            if type(result) not in shapes.DATA:
                if shapes.is_generator(result):
                    return generators.rest_of(result, call.keep())
                if shapes.is_iterator(result):
                    return GuardedIterator(result, call.keep())
                if (error := shapes.refusal(result, function, is_async=False)) is not None:
                    raise error
            opened.result = result
        return result

    return guarded


def guard_async_function(
    opening: AsyncOpening[AsyncReservation],
    function: Callable[..., Awaitable[Any]],
) -> Callable[..., Any]:
    """Return *function* with each call inside a section; see `guard_function`."""

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        call = AsyncHandover(opening(args, kwargs))
        async with call as opened:
            if opened.is_dry_run:
                return DryRun(opened.reservation)
            result = value = await function(*args, **kwargs)
            if type(result) not in shapes.DATA:
                if isinstance(result, AsyncGenerator):
                    return async_generators.rest_of(result, call.keep())
                if shapes.is_async_iterator(result):
                    return GuardedAsyncIterator(result, call.keep())
                if shapes.is_awaitable(result):
                    value = await result
                    result = result if shapes.is_asyncio_future(result) else Awaited(value)
                elif (error := shapes.refusal(result, function, is_async=True)) is not None:
                    raise error
            opened.result = value
        return result

    return guarded


class Awaited:
    """An awaitable that an async function returned, after its section awaited it: its value is there."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value: Final = value

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._value
        yield
