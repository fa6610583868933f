"""Guarded generator functions: the reservation spans the iteration.

They run step by step, so that `current()` names the reservation only while the generator runs: between two steps the
caller's code runs in the same context, and must not see it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from cycles._client.opened_section import stepped
from cycles.reservation import DryRun

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cycles._client.opened_section import Opened
    from cycles._guard.handover import Opening, Rest
    from cycles.reservation import Reservation


def guard_generator(
    opening: Opening[Reservation],
    function: Callable[..., Generator[Any, Any, Any]],
) -> Callable[..., Generator[Any, Any, Any]]:
    """Return *function* with each iteration inside a section; send, throw, close and the return value pass through.

    A dry run yields nothing and returns its `DryRun`.
    """

    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with opening(args, kwargs) as opened:
            if opened.is_dry_run:
                return DryRun(opened.reservation)
            result = opened.result = yield from _steps(function(*args, **kwargs), opened)
        return result

    return guarded


def rest_of(generator: Generator[Any, Any, Any], rest: Rest[Any]) -> Generator[Any, Any, Any]:
    """Return *generator*, which a call returned, such that it ends the *rest* of that call's section."""
    spanning = begun(_rest_of(generator, rest))
    rest.outlives(spanning)
    return spanning


def _rest_of(generator: Generator[Any, Any, Any], rest: Rest[Any]) -> Generator[Any, Any, Any]:
    with rest as opened:
        sent = yield
        result = opened.result = yield from _steps(generator, opened, sent)
    return result


def begun(generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Return *generator* after its first step, whose item is nobody's.

    From then on dropping it runs the end of its block, and with that of its section.
    """
    next(generator)
    return generator


def _steps(
    generator: Generator[Any, Any, Any], opened: Opened[Reservation], sent: Any = None
) -> Generator[Any, Any, Any]:
    step = partial(generator.send, sent)
    while True:
        with stepped(opened):
            try:
                item = step()
            except StopIteration as stop:
                return stop.value
        try:
            sent = yield item
        except GeneratorExit:
            with stepped(opened):
                generator.close()
            raise
        except BaseException as error:  # noqa: BLE001 - the generator decides what it means
            step = partial(generator.throw, error)
        else:
            step = partial(generator.send, sent)
