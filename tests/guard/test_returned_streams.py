"""Streams that a guarded call returned, such as those of SDKs: they look like themselves, and end their section."""

from __future__ import annotations

import asyncio
import gc

import pytest

import cycles
from cycles import usd_microcents as cost
from tests.guard.returned import ESTIMATE, AsyncStream, Stream, returning


def test_a_stream_looks_like_itself(blocking_guard, work):
    stream = blocking_guard()(work.stream)()
    assert isinstance(stream, Stream)
    assert stream.usage == 9
    stream.note = "kept"
    assert stream.note == "kept"
    assert repr(stream).startswith("<tests")
    assert iter(stream) is stream
    with pytest.raises(AttributeError):
        _ = stream.nothing
    stream.close()


def test_actual_takes_the_stream(blocking_guard, work):
    list(blocking_guard(actual=lambda stream: cost(stream.usage))(work.stream)())
    assert work.figures == (9, 0)


@pytest.mark.parametrize("end", ["close", "with", "drop"])
def test_a_stream_that_ends_early_is_charged_like_one_that_returned(blocking_guard, work, end):
    stream = blocking_guard()(work.stream)()
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


def test_an_error_of_a_stream_ends_the_section_and_the_stream_may_go_on(blocking_guard, work):
    stream = blocking_guard()(work.stream)()
    stream.fails = True
    with pytest.raises(ConnectionError):
        next(stream)
    assert work.figures == (0, 0)
    assert list(stream) == [1, 2]
    assert work.inside == [False, False]
    stream.close()


def test_an_error_in_the_block_of_a_stream_ends_the_section_as_raised(blocking_guard, work):
    with pytest.raises(KeyError), blocking_guard()(work.stream)() as stream:
        next(stream)
        raise KeyError
    assert work.figures == (0, 0)
    with pytest.raises(KeyError), blocking_guard()(work.stream)() as stream:
        assert list(stream) == [1, 2]
        raise KeyError
    assert work.figures == (7, 0)


def test_a_block_works_without_one_of_its_own(blocking_guard, work):
    with blocking_guard()(work.lazily)() as items:
        next(items)
    assert work.figures == (ESTIMATE, 0)


@pytest.mark.parametrize("end", ["close", "aclose", "with", "drop"])
def test_an_async_stream_that_ends_early_is_charged_like_one_that_returned(async_guard, work, end):
    async def main():
        stream = await async_guard()(returning(AsyncStream(work)))()
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
            async with await async_guard()(returning(AsyncStream(work)))() as stream:
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
        async with await async_guard()(returning(Bare()))() as items:
            await anext(items)
        with pytest.raises(AttributeError):
            items.close()

    asyncio.run(main())
    assert work.figures == (ESTIMATE, 0)


# -- who spends --------------------------------------------------------------------------------------------------------
def _agents(authority):
    return [request.body["subject"].get("agent") for request in authority.requests if "estimate" in request.body]


@pytest.mark.parametrize("kind", ["generator", "stream"])
def test_the_steps_of_what_was_returned_spend_for_the_subject_around_its_call(blocking_guard, authority, kind):
    def steps():
        for number in (1, 2):
            with blocking_guard():
                pass
            yield number

    class Steps:
        def __init__(self):
            self.steps = steps()

        def __next__(self):
            return next(self.steps)

    with cycles.subject(agent="called"):
        stream = blocking_guard()(lambda: steps() if kind == "generator" else Steps())()
    with cycles.subject(agent="reading"):
        assert next(stream) == 1
        with blocking_guard():
            pass
        assert next(stream) == 2
    stream.close()
    assert _agents(authority) == ["called", "called", "reading", "called"]


@pytest.mark.parametrize("kind", ["generator", "stream"])
def test_the_steps_of_what_an_async_function_returned_do_so_too(async_guard, authority, kind):
    async def steps():
        for number in (1, 2):
            async with async_guard():
                pass
            yield number

    class Steps:
        def __init__(self):
            self.steps = steps()

        async def __anext__(self):
            return await anext(self.steps)

    async def later():
        return steps() if kind == "generator" else Steps()

    async def main():
        with cycles.subject(agent="called"):
            stream = await async_guard()(later)()
        with cycles.subject(agent="reading"):
            assert await anext(stream) == 1
            async with async_guard():
                pass
            assert await anext(stream) == 2
        await stream.aclose()

    asyncio.run(main())
    assert _agents(authority) == ["called", "called", "reading", "called"]
