"""Functions of every shape with each call, or each iteration, inside what is opened for it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final

from cycles._guard.async_generators import guard_async_generator
from cycles._guard.functions import guard_async_function, guard_function
from cycles._guard.generators import guard_generator
from cycles._guard.shapes import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._guard.handover import AsyncOpening, Opening

_CACHED: Final = type(functools.lru_cache(len))
"""What `functools.lru_cache` makes."""


def decorated(
    function: Callable[..., Any], opening: Opening[Any], opening_async: AsyncOpening[Any]
) -> Callable[..., Any]:
    """Return *function* inside what its *opening* opens, with the same signature."""
    shape = shape_of(function)
    if shape == "async generator":
        wrapped: Any = guard_async_generator(opening_async, function)
    elif shape == "generator":
        wrapped = guard_generator(opening, function)
    elif shape == "async function":
        wrapped = guard_async_function(opening_async, function)
    else:
        wrapped = guard_function(opening, function)
    functools.update_wrapper(wrapped, function)
    if isinstance(function, _CACHED):  # whose methods are not in its __dict__, which is all that wrappers take over
        wrapped.cache_info, wrapped.cache_clear = function.cache_info, function.cache_clear
    made: Callable[..., Any] = wrapped
    return made
