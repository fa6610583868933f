"""Async generators that the event loop is not told about.

When an event loop ends, it closes all async generators that it knows. asyncio closes them at the same time, and warns
of each that begins later. A section that is settled then sends requests, and httpx reads answers through some of them.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator

T = TypeVar("T")

_is_closing: Final[ContextVar[bool]] = ContextVar("cycles_is_closing", default=False)


@contextmanager
def closing() -> Iterator[None]:
    """Send the requests inside without telling the loop of their generators: the loop may be ending."""
    token = _is_closing.set(True)
    try:
        yield
    finally:
        _is_closing.reset(token)


def untold(step: Callable[[], T]) -> T:
    """Return what *step* gives; the loop is not told of async generators that begin meanwhile.

    One begins when its first step is made, which is before that is awaited.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return step()
    finally:
        sys.set_asyncgen_hooks(*hooks)


@coroutine
def running_untold(work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await *work*; the loop is not told of the async generators that begin in it."""
    step: Callable[[], Any] = partial(work.send, None)
    while True:
        try:
            waited_for = untold(step)
        except StopIteration as end:
            result: T = end.value
            return result
        try:
            sent = yield waited_for
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001 - a cancellation is the work's own to see
            step = partial(work.throw, error)
        else:
            step = partial(work.send, sent)


def request(work: Coroutine[Any, Any, T]) -> Awaitable[T]:
    """Return what sends a request; see `closing`."""
    return running_untold(work) if _is_closing.get() else work
