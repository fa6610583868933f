"""What a guarded call returned to be iterated keeps its section open, as long as the iteration."""

from __future__ import annotations

import asyncio
import functools
import inspect

import pytest

import cycles
from cycles import usd_microcents as cost
from tests.guard.returned import ESTIMATE, AsyncStream, returning


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
def test_the_section_lasts_as_long_as_the_iteration(blocking_guard, work, shape):
    iteration = blocking_guard()(SHAPES[shape](work))()
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
    "an async function that returns one": lambda work: returning(work.async_generator()),
    "an async function that returns a stream": lambda work: returning(AsyncStream(work)),
}


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


def test_a_generator_that_was_returned_is_one(blocking_guard, work):
    iteration = blocking_guard(actual=lambda end: cost(len(end)))(work.later)()
    assert inspect.isgenerator(iteration)
    with pytest.raises(TypeError, match="just-started"):
        iteration.send("too soon")
    iteration = blocking_guard(actual=lambda end: cost(len(end)))(work.later)()

    def delegating():
        return (yield from iteration)

    delegate = delegating()
    assert [next(delegate), next(delegate)] == [1, 2]
    with pytest.raises(StopIteration, match="end"):
        next(delegate)
    assert work.figures == (3, 0)


def test_a_generator_that_is_never_begun_gives_its_hold_back(blocking_guard, work):
    iteration = blocking_guard()(work.later)()
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
        stream = await async_guard()(returning(talking()))()
        assert inspect.isasyncgen(stream)
        assert await anext(stream) == 0
        assert await stream.asend("a") == 1
        assert await stream.athrow(ValueError("b")) == ["a", "b"]
        await stream.aclose()
        unbegun = await async_guard()(returning(talking()))()
        with pytest.raises(ValueError, match="at once"):
            await unbegun.athrow(ValueError("at once"))
        await (await async_guard()(returning(talking()))()).aclose()

    asyncio.run(main())
    assert work.figures == (4, 0)
