"""Guarded functions, blocking and asynchronous: one section for each call."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from cycles._client.opened_section import entered
from cycles.reservation import DryRun

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from cycles._client.opened_section import Opened
    from cycles.reservation import AsyncReservation, Reservation

R = TypeVar("R")


def guard_function(
    opening: Callable[[tuple[Any, ...], dict[str, Any]], AbstractContextManager[Opened[Reservation]]],
    function: Callable[..., Any],
) -> Callable[..., Any]:
    """Return *function* with each call inside a section; a dry run does not call it, and returns its `DryRun`."""

    def guarded(*args: Any, **kwargs: Any) -> Any:
        with opening(args, kwargs) as opened:
            if opened.is_dry_run:
                return DryRun(opened.reservation)
            with entered(opened):
                result = opened.result = _finished(function(*args, **kwargs), function)
        return result

    return guarded


def guard_async_function(
    opening: Callable[[tuple[Any, ...], dict[str, Any]], AbstractAsyncContextManager[Opened[AsyncReservation]]],
    function: Callable[..., Awaitable[Any]],
) -> Callable[..., Any]:
    """Return *function* with each call inside a section; see `guard_function`."""

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        async with opening(args, kwargs) as opened:
            if opened.is_dry_run:
                return DryRun(opened.reservation)
            with entered(opened):
                result = opened.result = await function(*args, **kwargs)
        return result

    return guarded


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether calling *function* gives a coroutine; callable objects and partials included."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _finished(result: R, function: Callable[..., Any]) -> R:
    """Return *result*, unless its work has not even begun: it would be settled before it ran."""
    if inspect.iscoroutine(result):
        result.close()
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(f"{name} returned a coroutine, but is no async function: put the Guard on the async def itself")
    return result
