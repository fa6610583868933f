"""Guarded async generator functions: the reservation spans the iteration, step by step; see `generators`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from cycles._client.opened_section import entered

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from cycles._client.opened_section import Opened
    from cycles.reservation import AsyncReservation


def guard_async_generator(
    opening: Callable[[tuple[Any, ...], dict[str, Any]], AbstractAsyncContextManager[Opened[AsyncReservation]]],
    function: Callable[..., AsyncGenerator[Any, Any]],
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """Return *function* with each iteration inside a section; asend, athrow and aclose pass through.

    A dry run yields nothing.
    """

    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        async with opening(args, kwargs) as opened:
            if opened.is_dry_run:
                return
            generator = function(*args, **kwargs)
            step = partial(generator.asend, None)
            while True:
                with entered(opened):
                    try:
                        item = await step()
                    except StopAsyncIteration:
                        return
                try:
                    sent = yield item
                except GeneratorExit:
                    with entered(opened):
                        await generator.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - the generator decides what it means
                    step = partial(generator.athrow, error)
                else:
                    step = partial(generator.asend, sent)

    return guarded
