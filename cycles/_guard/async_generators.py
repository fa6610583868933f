"""Guarded async generators: the reservation spans the iteration, step by step; see `generators`.

Each of them is one async generator around the user's, and the event loop knows only the outer one. asyncio closes all
async generators that it knows at the same time when the loop ends; trio does so one by one, in any order. So the outer
one closes the user's, inside the section, and then settles.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cycles._client.opened_section import stepped
from cycles._drivers.asyncgens import untold

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from cycles._client.opened_section import Opened
    from cycles._guard.handover import AsyncOpening, Rest
    from cycles.reservation import AsyncReservation


class _Steps:
    """The steps of a user's async generator, each inside its section.

    Attributes:
        item: What the last step gave.
    """

    __slots__ = ("_generator", "_opened", "_step", "item")

    def __init__(self, generator: AsyncGenerator[Any, Any], opened: Opened[Any]) -> None:
        self._generator: Final = generator
        self._opened: Final = opened
        self._step: Callable[[], Awaitable[Any]] = partial(generator.asend, None)
        self.item: Any = None

    async def advance(self) -> bool:
        """Take the next step; return False when the generator has ended."""
        with stepped(self._opened):
            try:
                self.item = await untold(self._step)
            except StopAsyncIteration:
                return False
        return True

    def send(self, value: Any) -> None:
        """Let the next step send *value*."""
        self._step = partial(self._generator.asend, value)

    def throw(self, error: BaseException) -> None:
        """Let the next step throw *error*: the generator decides what it means."""
        self._step = partial(self._generator.athrow, error)

    async def close(self) -> None:
        """Close the generator, inside the section."""
        with stepped(self._opened):
            await untold(self._generator.aclose)


def guard_async_generator(
    opening: AsyncOpening[AsyncReservation],
    function: Callable[..., AsyncGenerator[Any, Any]],
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """Return *function* with each iteration inside a section; asend, athrow and aclose pass through.

    A dry run yields nothing.
    """

    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        async with opening(args, kwargs) as opened:
            if opened.is_dry_run:
                return
            steps = _Steps(function(*args, **kwargs), opened)
            while await steps.advance():
                try:
                    sent = yield steps.item
                except GeneratorExit:
                    await steps.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - see _Steps.throw
                    steps.throw(error)
                else:
                    steps.send(sent)

    return guarded


def rest_of(generator: AsyncGenerator[Any, Any], rest: Rest[Any]) -> AsyncGenerator[Any, Any]:
    """Return *generator*, which a call returned, such that it ends the *rest* of that call's section."""
    spanning = begun(_rest_of(generator, rest))
    rest.outlives(spanning)
    return spanning


async def _rest_of(generator: AsyncGenerator[Any, Any], rest: Rest[Any]) -> AsyncGenerator[Any, Any]:
    async with rest as opened:
        steps = _Steps(generator, opened)
        is_going_on = True
        while is_going_on:
            try:
                sent = yield steps.item
            except GeneratorExit:
                await steps.close()
                raise
            except BaseException as error:  # noqa: BLE001 - see _Steps.throw
                steps.throw(error)
            else:
                steps.send(sent)
            is_going_on = await steps.advance()


def begun(generator: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    """Return *generator* after its first step, which waits for nothing and whose item is nobody's.

    From then on dropping it runs the end of its block, and with that of its section.
    """
    try:
        generator.asend(None).__await__().send(None)
    except StopIteration:
        return generator
    raise AssertionError("the first step waited")
