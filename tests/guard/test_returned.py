"""What a guarded call returned: work that is still to be done keeps its section open or is refused; results pass."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import csv
import functools
import gc
import inspect
import io
import sqlite3
from unittest.mock import AsyncMock, MagicMock

import httpx
import pytest

import cycles
from cycles import usd_microcents as cost
from tests.support.authorities import ACTION, UNIT

ESTIMATE = 10


class Work:
    """What is counted: where its steps ran, and what it reports at its second."""

    def __init__(self, authority):
        self.inside = []
        self.authority = authority

    def step(self, number):
        self.inside.append(cycles.current() is not None)
        if number == 2 and cycles.current():
            cycles.current().report(actual=cost(7))
        return number

    def generator(self):
        for number in (1, 2):
            yield self.step(number)
        return "end"

    async def async_generator(self):
        for number in (1, 2):
            yield self.step(number)

    def later(self):
        return self.generator()

    def later_async(self):
        return self.async_generator()

    def lazily(self):
        return map(self.step, (1, 2))

    def stream(self):
        return Stream(self)

    async def coroutine(self):
        return self.step(2)

    @property
    def figures(self):
        row = self.authority.balance("tenant:acme", UNIT)
        return row.spent, row.reserved


class Stream:
    """A stream as SDKs have them."""

    usage = 9

    def __init__(self, work):
        self.work, self.number, self.is_closed, self.fails = work, 0, False, False

    def __iter__(self):
        return self

    def __next__(self):
        if self.fails:
            self.fails = False
            raise ConnectionError
        if self.number == 2:
            raise StopIteration
        self.number += 1
        return self.work.step(self.number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.is_closed = True
        self.work.inside.append(cycles.current() is not None)


class AsyncStream:
    usage = 9

    def __init__(self, work):
        self.work, self.number, self.is_closed = work, 0, False

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(0)
        if self.number == 2:
            raise StopAsyncIteration
        self.number += 1
        return self.work.step(self.number)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()

    async def close(self):
        await asyncio.sleep(0)
        self.is_closed = True
        self.work.inside.append(cycles.current() is not None)


@pytest.fixture
def work(authority):
    return Work(authority)


@pytest.fixture
def guard(authority):
    client = authority.client(tenant="acme")
    return lambda **fields: cycles.Guard(cost(ESTIMATE), action=ACTION, client=client, **fields)


@pytest.fixture
def async_guard(authority):
    client = authority.async_client(tenant="acme")
    return lambda **fields: cycles.Guard(cost(ESTIMATE), action=ACTION, client=client, **fields)


class Callable:
    """A callable object."""

    def __init__(self, work):
        self.work = work

    def __call__(self):
        yield from self.work.generator()


class AsyncCallable(Callable):
    async def __call__(self):
        async for item in self.work.async_generator():
            yield item


# -- iterators: the section lasts as long ------------------------------------------------------------------------------
SHAPES = {
    "a generator": lambda work: work.later,
    "a generator method in a partial": lambda work: functools.partial(work.generator),
    "a callable object that is a generator": Callable,
    "that in a partial": lambda work: functools.partial(Callable(work)),
    "map": lambda work: work.lazily,
    "a stream": lambda work: work.stream,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_section_lasts_as_long_as_the_iteration(guard, work, shape):
    iteration = guard()(SHAPES[shape](work))()
    assert next(iteration) == 1
    assert cycles.current() is None
    assert work.figures == (0, ESTIMATE)
    assert list(iteration) == [2]
    assert work.inside == [True, True]
    assert work.figures == (7, 0)


ASYNC_SHAPES = {
    "an async generator": lambda work: work.async_generator,
    "a partial of one": lambda work: functools.partial(work.async_generator),
    "a callable object that is one": AsyncCallable,
    "that in a partial": lambda work: functools.partial(AsyncCallable(work)),
    "an async function that returns one": lambda work: _returning(work.async_generator()),
    "an async function that returns a stream": lambda work: _returning(AsyncStream(work)),
}


def _returning(value):
    async def function():
        return value

    return function


@pytest.mark.parametrize("shape", ASYNC_SHAPES)
def test_the_section_lasts_as_long_as_the_async_iteration(async_guard, work, shape):
    async def main():
        iteration = async_guard()(ASYNC_SHAPES[shape](work))()
        if inspect.isawaitable(iteration):
            iteration = await iteration
        assert await anext(iteration) == 1
        assert cycles.current() is None
        assert work.figures == (0, ESTIMATE)
        assert [item async for item in iteration] == [2]

    asyncio.run(main())
    assert work.inside == [True, True]
    assert work.figures == (7, 0)


def test_a_generator_that_was_returned_is_one(guard, work):
    iteration = guard(actual=lambda end: cost(len(end)))(work.later)()
    assert inspect.isgenerator(iteration)
    with pytest.raises(TypeError, match="just-started"):
        iteration.send("too soon")
    iteration = guard(actual=lambda end: cost(len(end)))(work.later)()

    def delegating():
        return (yield from iteration)

    delegate = delegating()
    assert [next(delegate), next(delegate)] == [1, 2]
    with pytest.raises(StopIteration, match="end"):
        next(delegate)
    assert work.figures == (3, 0)


def test_a_generator_that_is_never_begun_gives_its_hold_back(guard, work):
    iteration = guard()(work.later)()
    assert work.figures == (0, ESTIMATE)
    del iteration
    assert work.figures == (0, 0)
    assert work.inside == []


def test_an_async_generator_that_was_returned_passes_everything_through(async_guard, work):
    async def talking():
        got = []
        while len(got) < 2:
            try:
                got.append((yield len(got)))
            except ValueError as error:
                got.append(str(error))
        cycles.current().report(actual=cost(4))
        yield got

    async def main():
        stream = await async_guard()(_returning(talking()))()
        assert inspect.isasyncgen(stream)
        assert await anext(stream) == 0
        assert await stream.asend("a") == 1
        assert await stream.athrow(ValueError("b")) == ["a", "b"]
        await stream.aclose()
        unbegun = await async_guard()(_returning(talking()))()
        with pytest.raises(ValueError, match="at once"):
            await unbegun.athrow(ValueError("at once"))
        await (await async_guard()(_returning(talking()))()).aclose()

    asyncio.run(main())
    assert work.figures == (4, 0)


# -- streams keep their looks ------------------------------------------------------------------------------------------
def test_a_stream_looks_like_itself(guard, work):
    stream = guard()(work.stream)()
    assert isinstance(stream, Stream)
    assert stream.usage == 9
    stream.note = "kept"
    assert stream.note == "kept"
    assert repr(stream).startswith("<tests")
    assert iter(stream) is stream
    with pytest.raises(AttributeError):
        _ = stream.nothing
    stream.close()


def test_actual_takes_the_stream(guard, work):
    list(guard(actual=lambda stream: cost(stream.usage))(work.stream)())
    assert work.figures == (9, 0)


@pytest.mark.parametrize("end", ["close", "with", "drop"])
def test_a_stream_that_ends_early_is_charged_like_one_that_returned(guard, work, end):
    stream = guard()(work.stream)()
    next(stream)
    if end == "close":
        stream.close()
    elif end == "with":
        with stream as inner:
            assert inner is stream
    else:
        del stream
        gc.collect()
    assert work.figures == (ESTIMATE, 0)
    assert work.inside == ([True] if end == "drop" else [True, True])


def test_an_error_of_a_stream_ends_the_section_and_the_stream_may_go_on(guard, work):
    stream = guard()(work.stream)()
    stream.fails = True
    with pytest.raises(ConnectionError):
        next(stream)
    assert work.figures == (0, 0)
    assert list(stream) == [1, 2]
    assert work.inside == [False, False]
    stream.close()


def test_an_error_in_the_block_of_a_stream_ends_the_section_as_raised(guard, work):
    with pytest.raises(KeyError), guard()(work.stream)() as stream:
        next(stream)
        raise KeyError
    assert work.figures == (0, 0)
    with pytest.raises(KeyError), guard()(work.stream)() as stream:
        assert list(stream) == [1, 2]
        raise KeyError
    assert work.figures == (7, 0)


def test_a_block_works_without_one_of_its_own(guard, work):
    with guard()(work.lazily)() as items:
        next(items)
    assert work.figures == (ESTIMATE, 0)


@pytest.mark.parametrize("end", ["close", "aclose", "with", "drop"])
def test_an_async_stream_that_ends_early_is_charged_like_one_that_returned(async_guard, work, end):
    async def main():
        stream = await async_guard()(_returning(AsyncStream(work)))()
        assert isinstance(stream, AsyncStream)
        assert aiter(stream) is stream
        await anext(stream)
        if end == "with":
            async with stream as inner:
                assert inner is stream
        elif end == "drop":
            del stream
            gc.collect()
            while work.figures[1]:
                await asyncio.sleep(0.001)
        else:
            await getattr(stream, end)()

    asyncio.run(main())
    assert work.figures == (ESTIMATE, 0)
    assert work.inside == ([True] if end == "drop" else [True, True])


def test_an_error_in_the_block_of_an_async_stream_ends_the_section_as_raised(async_guard, work):
    async def main():
        with pytest.raises(KeyError):
            async with await async_guard()(_returning(AsyncStream(work)))() as stream:
                await anext(stream)
                raise KeyError
        assert await anext(stream) == 2  # it may go on, outside of the section

    asyncio.run(main())
    assert work.figures == (0, 0)


class Bare:
    """An async iterator that can't be closed."""

    def __aiter__(self):
        return self

    async def __anext__(self):
        return 1


def test_an_async_block_works_without_one_of_its_own(async_guard, work):
    async def main():
        async with await async_guard()(_returning(Bare()))() as items:
            await anext(items)
        with pytest.raises(AttributeError):
            items.close()

    asyncio.run(main())
    assert work.figures == (ESTIMATE, 0)


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
def test_what_can_be_awaited_is_refused_of_a_plain_function(guard, work, what):
    async def main():
        with pytest.raises(TypeError, match="settled before its work is done"):
            guard()(lambda: AWAITABLES[what](work))()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert work.figures == (0, 0)
    assert work.inside == []


def test_a_future_of_another_thread_is_refused(guard, async_guard, work):
    def function():
        return concurrent.futures.Future()

    with pytest.raises(TypeError, match="another thread"):
        guard()(function)()
    with pytest.raises(TypeError, match="another thread"):
        asyncio.run(async_guard()(_returning(function()))())
    assert work.figures == (0, 0)


def test_an_async_iterator_is_refused_of_a_plain_function(guard, work):
    for function in (work.later_async, lambda: AsyncStream(work)):
        with pytest.raises(TypeError, match="async iterator"):
            guard()(function)()
    assert work.figures == (0, 0)


def test_a_generator_is_refused_of_an_async_function(async_guard, work):
    with pytest.raises(TypeError, match="a generator"):
        asyncio.run(async_guard()(_returning(work.generator()))())
    assert work.figures == (0, 0)


def test_a_context_manager_that_is_not_entered_is_refused(guard, async_guard, work):
    @contextlib.contextmanager
    def block():
        yield work.step(2)

    with pytest.raises(TypeError, match="below @contextmanager"):
        guard()(block)()
    with pytest.raises(TypeError, match="below @contextmanager"):
        asyncio.run(async_guard()(_returning(block()))())
    with contextlib.contextmanager(guard()(block.__wrapped__))() as value:
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
def test_results_are_passed_on_as_they_are(guard, async_guard, work, result):
    assert guard()(lambda: result)() is result
    assert work.figures == (ESTIMATE, 0)
    assert asyncio.run(async_guard()(_returning(result))()) is result
    assert work.figures == (2 * ESTIMATE, 0)


def test_an_iterator_that_an_async_function_returns_is_a_result(async_guard, work):
    stream = Stream(work)
    assert asyncio.run(async_guard()(_returning(stream))()) is stream
    assert work.figures == (ESTIMATE, 0)
