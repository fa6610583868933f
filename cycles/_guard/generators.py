"""Guarded generator functions: the reservation spans the iteration.

They run step by step, so that `current()` names the reservation only while the generator runs: between two steps the
caller's code runs in the same context, and must not see it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from cycles.reservation import entered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from cycles.reservation import AsyncReservation, Opened, Reservation


def guard_generator(
    opening: Callable[[tuple[Any, ...], dict[str, Any]], AbstractContextManager[Opened[Reservation]]],
    function: Callable[..., Generator[Any, Any, Any]],
) -> Callable[..., Generator[Any, Any, Any]]:
    """Return *function* with each iteration inside a section; send, throw, close and the return value pass through.

    A dry run yields nothing and returns its `DryRun`.
    """

    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with opening(args, kwargs) as opened:
            if opened.dry_run is not None:
                return opened.dry_run
            opened.result = yield from _steps(function(*args, **kwargs), opened.reservation)
        return opened.result

    return guarded


def _steps(generator: Generator[Any, Any, Any], reservation: Reservation) -> Generator[Any, Any, Any]:
    step = partial(generator.send, None)
    while True:
        with entered(reservation):
            try:
                item = step()
            except StopIteration as stop:
                return stop.value
        try:
            sent = yield item
        except GeneratorExit:
            with entered(reservation):
                generator.close()
            raise
        except BaseException as error:  # noqa: BLE001 - the generator decides what it means
            step = partial(generator.throw, error)
        else:
            step = partial(generator.send, sent)


def guard_async_generator(
    opening: Callable[[tuple[Any, ...], dict[str, Any]], AbstractAsyncContextManager[Opened[AsyncReservation]]],
    function: Callable[..., AsyncGenerator[Any, Any]],
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """Return *function* with each iteration inside a section; asend, athrow and aclose pass through.

    A dry run yields nothing.
    """

    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        async with opening(args, kwargs) as opened:
            if opened.dry_run is not None:
                return
            generator = function(*args, **kwargs)
            step = partial(generator.asend, None)
            while True:
                with entered(opened.reservation):
                    try:
                        item = await step()
                    except StopAsyncIteration:
                        return
                try:
                    sent = yield item
                except GeneratorExit:
                    with entered(opened.reservation):
                        await generator.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - the generator decides what it means
                    step = partial(generator.athrow, error)
                else:
                    step = partial(generator.asend, sent)

    return guarded
