"""What a guarded call returned: what can be awaited is awaited or refused, and results pass."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import csv
import io
import sqlite3
from unittest.mock import AsyncMock, MagicMock

import httpx
import pytest

from cycles import usd_microcents as cost
from tests.guard.returned import ESTIMATE, AsyncStream, Stream, returning


# -- what can be awaited -----------------------------------------------------------------------------------------------
class Awaitable:
    def __init__(self, work):
        self.work = work

    def __await__(self):
        return self.work.coroutine().__await__()


AWAITABLES = {
    "a coroutine": lambda work: work.coroutine(),
    "a task": lambda work: asyncio.ensure_future(work.coroutine()),
    "an awaitable": Awaitable,
}


@pytest.mark.parametrize("what", AWAITABLES)
def test_what_an_async_function_returns_is_awaited_in_the_section(async_guard, work, what):
    async def function():
        return AWAITABLES[what](work)

    async def main():
        returned = await async_guard(actual=lambda value: cost(value + 1))(function)()
        assert work.figures == (3, 0)
        assert await returned == 2

    asyncio.run(main())
    assert work.inside == [True]


@pytest.mark.parametrize("what", AWAITABLES)
def test_what_can_be_awaited_is_refused_of_a_plain_function(blocking_guard, work, what):
    async def main():
        with pytest.raises(TypeError, match="settled before its work is done"):
            blocking_guard()(lambda: AWAITABLES[what](work))()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert work.figures == (0, 0)
    assert work.inside == []


def test_a_future_of_another_thread_is_refused(blocking_guard, async_guard, work):
    def function():
        return concurrent.futures.Future()

    with pytest.raises(TypeError, match="another thread"):
        blocking_guard()(function)()
    with pytest.raises(TypeError, match="another thread"):
        asyncio.run(async_guard()(returning(function()))())
    assert work.figures == (0, 0)


def test_an_async_iterator_is_refused_of_a_plain_function(blocking_guard, work):
    for function in (work.later_async, lambda: AsyncStream(work)):
        with pytest.raises(TypeError, match="async iterator"):
            blocking_guard()(function)()
    assert work.figures == (0, 0)


def test_a_generator_is_refused_of_an_async_function(async_guard, work):
    with pytest.raises(TypeError, match="a generator"):
        asyncio.run(async_guard()(returning(work.generator()))())
    assert work.figures == (0, 0)


def test_a_context_manager_that_is_not_entered_is_refused(blocking_guard, async_guard, work):
    @contextlib.contextmanager
    def block():
        yield work.step(2)

    with pytest.raises(TypeError, match="below @contextmanager"):
        blocking_guard()(block)()
    with pytest.raises(TypeError, match="below @contextmanager"):
        asyncio.run(async_guard()(returning(block()))())
    with contextlib.contextmanager(blocking_guard()(block.__wrapped__))() as value:
        assert value == 2
    assert work.figures == (7, 0)


# -- results -----------------------------------------------------------------------------------------------------------
class File:
    """Something like a file."""

    def read(self):
        return b""

    def __next__(self):
        raise StopIteration

    __anext__ = __next__
    __await__ = __next__


RESULTS = [
    [1],
    (1,),
    "text",
    {"a": 1}.values(),
    iter([1]),
    zip([1], [2], strict=True),
    io.BytesIO(b"x"),
    csv.reader(["a"]),
    File(),
    MagicMock(),
    AsyncMock(),
    httpx.Response(200),
    sqlite3.connect(":memory:").cursor(),
    contextlib.nullcontext(),
    int,
    None,
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_results_are_passed_on_as_they_are(blocking_guard, async_guard, work, result):
    assert blocking_guard()(lambda: result)() is result
    assert work.figures == (ESTIMATE, 0)
    assert asyncio.run(async_guard()(returning(result))()) is result
    assert work.figures == (2 * ESTIMATE, 0)


def test_an_iterator_that_an_async_function_returns_is_a_result(async_guard, work):
    stream = Stream(work)
    assert asyncio.run(async_guard()(returning(stream))()) is stream
    assert work.figures == (ESTIMATE, 0)
