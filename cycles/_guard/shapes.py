"""The shapes of functions that a `Guard` decorates, and of what their calls return."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Awaitable, Generator
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal
from types import WrapperDescriptorType
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    Shape = Literal["function", "async function", "generator", "async generator"]


def shape_of(function: Callable[..., Any]) -> Shape:
    """Return what calling *function* gives; partials, bound methods and callable objects included."""
    while isinstance(function, functools.partial):
        function = function.func
    called = (function,) if isinstance(function, type) else (function, type(function).__call__)
    if any(map(inspect.isasyncgenfunction, called)):
        return "async generator"
    if any(map(inspect.isgeneratorfunction, called)):
        return "generator"
    if any(map(inspect.iscoroutinefunction, called)):
        return "async function"
    return "function"


# -- what calls return -------------------------------------------------------------------------------------------------
# A result is there. Work is still to be done: it can be awaited, or runs code for its next item.
DATA: Final = frozenset(
    (type(None), bool, int, float, complex, str, bytes, bytearray, dict, list, tuple, set, frozenset, Decimal)
)
"""Classes of results, subclasses apart: what most calls return needs no second look."""


def is_generator(returned: object) -> bool:
    """Return whether *returned* is a generator that iterates."""
    return isinstance(returned, Generator) and not inspect.isawaitable(returned)


def is_iterator(returned: object) -> bool:
    """Return whether *returned* runs code for its next item: it is no iterator of the language itself over data."""
    step = getattr(type(returned), "__next__", None)
    if step is None or isinstance(step, WrapperDescriptorType):
        return isinstance(returned, map | filter)
    return not _is_only_alike(returned)


def is_async_iterator(returned: object) -> bool:
    """Return whether *returned* is asynchronous, and runs code for its next item."""
    return hasattr(type(returned), "__anext__") and not _is_only_alike(returned)


def is_awaitable(returned: object) -> bool:
    """Return whether *returned* can be awaited."""
    return isinstance(returned, Awaitable) and not _is_only_alike(returned)


def is_asyncio_future(returned: object) -> bool:
    """Return whether *returned* is a future or a task of asyncio: it can be awaited any number of times."""
    return getattr(type(returned), "_asyncio_future_blocking", None) is not None


def _is_only_alike(returned: object) -> bool:
    """Return whether *returned* is a file, which is data, or a mock, which has every method."""
    if hasattr(type(returned), "read") or hasattr(type(returned), "write"):
        return True
    mocks: Any = sys.modules.get("unittest.mock")
    return mocks is not None and isinstance(returned, mocks.NonCallableMock)


@contextmanager
def _example() -> Iterator[None]:
    yield


@asynccontextmanager
async def _async_example() -> AsyncIterator[None]:
    yield


_CONTEXTS: Final = (type(_example()), type(_async_example()))
"""What the functions that contextlib decorates return."""


def refusal(returned: Any, function: Callable[..., Any], *, is_async: bool) -> TypeError | None:
    """Return the error that refuses *returned*, work that would be settled before it is done; None for a result.

    Such work is closed or cancelled, as far as it can be.

    Args:
        returned: What a call of *function* returned, and no iterator that its section can last as long as.
        function: What was called.
        is_async: Whether it is asynchronous: what can be awaited was awaited then.
    """
    futures: Any = sys.modules.get("concurrent.futures")
    if inspect.iscoroutine(returned):
        returned.close()
        what, remedy = "a coroutine, but is no async function", "put the Guard on the async def itself"
    elif futures is not None and isinstance(returned, futures.Future):
        returned.cancel()
        what, remedy = "a future of work in another thread", "put the Guard on the function that does the work"
    elif isinstance(returned, _CONTEXTS):
        what, remedy = "a context manager that is not entered", "put the Guard below @contextmanager"
    elif is_async:
        if not is_generator(returned):
            return None
        what, remedy = "a generator", "put the Guard on the generator function, or make it an async generator"
    elif is_awaitable(returned):
        if is_asyncio_future(returned):
            returned.cancel()
        what, remedy = "an awaitable, but is no async function", "make it an async def that awaits it"
    elif is_async_iterator(returned):
        what, remedy = "an async iterator, but is no async function", "make it an async def"
    else:
        return None
    name = getattr(function, "__qualname__", repr(function))
    return TypeError(f"{name} returned {what}: it would be settled before its work is done; {remedy}")
