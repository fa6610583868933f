"""Guarded generators: the reservation spans the iteration, however it ends."""

from __future__ import annotations

import asyncio

import pytest

import cycles
from cycles import usd_microcents as cost
from tests.support.authorities import ACTION


@pytest.fixture
def spent(authority):
    return lambda: authority.balance("tenant:acme", "USD_MICROCENTS").spent


@pytest.fixture
def held(authority):
    return lambda: authority.balance("tenant:acme", "USD_MICROCENTS").reserved


@pytest.fixture
def stream(authority):
    """A guarded generator that reports one microcent more at each step."""
    client = authority.client(tenant="acme")

    @cycles.Guard(cost(100), action=ACTION, client=client)
    def counting(n):
        for step in range(1, n + 1):
            cycles.current().report(actual=cost(step))
            yield step

    yield counting
    client.close()


def test_running_to_the_end_charges_what_was_reported(stream, spent, held):
    assert list(stream(3)) == [1, 2, 3]
    assert (spent(), held()) == (3, 0)


def test_nothing_is_reserved_before_the_first_step(stream, held):
    iteration = stream(3)
    assert held() == 0
    next(iteration)
    assert held() == 100
    iteration.close()


def test_leaving_early_charges_what_was_reported(stream, spent, held):
    for step in stream(10):
        if step == 4:
            break
    assert (spent(), held()) == (4, 0)


def test_an_abandoned_generator_settles(stream, spent, held):
    iteration = stream(10)
    next(iteration)
    next(iteration)
    del iteration
    assert (spent(), held()) == (2, 0)


def test_an_exception_of_the_caller_charges_what_was_reported(stream, spent, held):
    iteration = stream(10)
    next(iteration)
    with pytest.raises(KeyError):
        iteration.throw(KeyError())
    assert (spent(), held()) == (1, 0)


def test_current_is_seen_inside_only(stream):
    iteration = stream(3)
    next(iteration)
    assert cycles.current() is None
    iteration.close()


def test_send_throw_and_the_return_value_pass_through(authority, spent):
    @cycles.Guard(cost(100), action=ACTION, client=authority.client(tenant="acme"), actual=cost)
    def talking():
        got = []
        while len(got) < 2:
            try:
                got.append((yield len(got)))
            except ValueError as error:
                got.append(str(error))
        assert got == ["a", "b"]
        return 42

    def delegating():
        return (yield from talking())

    iteration = delegating()
    assert next(iteration) == 0
    assert iteration.send("a") == 1
    with pytest.raises(StopIteration) as stop:
        iteration.throw(ValueError("b"))
    assert stop.value.value == 42
    assert spent() == 42


def test_a_dry_generator_yields_nothing(authority):
    @cycles.Guard(cost(100), action=ACTION, client=authority.client(tenant="acme"), dry_run=True)
    def never():
        raise AssertionError("ran")
        yield

    assert list(never()) == []


# -- async -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def async_stream(authority):
    client = authority.async_client(tenant="acme")

    @cycles.Guard(cost(100), action=ACTION, client=client)
    async def counting(n):
        for step in range(1, n + 1):
            cycles.current().report(actual=cost(step))
            yield step

    return counting


def test_async_running_to_the_end(async_stream, spent, held):
    async def main():
        assert [step async for step in async_stream(3)] == [1, 2, 3]
        assert cycles.current() is None

    asyncio.run(main())
    assert (spent(), held()) == (3, 0)


@pytest.mark.parametrize("leave", ["aclose", "athrow", "cancel"])
def test_async_leaving_early_charges_what_was_reported(async_stream, spent, held, leave):
    async def main():
        iteration = async_stream(10)
        await anext(iteration)
        await anext(iteration)
        assert cycles.current() is None
        if leave == "aclose":
            await iteration.aclose()
        elif leave == "athrow":
            with pytest.raises(KeyError):
                await iteration.athrow(KeyError())
        else:
            reached = asyncio.Event()

            async def waiting():
                async for _ in iteration:
                    reached.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(waiting())
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await iteration.aclose()

    asyncio.run(main())
    assert (spent(), held()) == ({"aclose": 2, "athrow": 2, "cancel": 3}[leave], 0)


def test_async_asend_passes_through(authority, spent):
    @cycles.Guard(cost(100), action=ACTION, client=authority.async_client(tenant="acme"))
    async def echoing():
        got = yield "ready"
        cycles.current().report(actual=cost(got))
        yield got * 2

    async def main():
        iteration = echoing()
        assert await anext(iteration) == "ready"
        assert await iteration.asend(21) == 42
        await iteration.aclose()

    asyncio.run(main())
    assert spent() == 21


def test_actual_of_an_async_generator_is_refused_at_decoration(authority):
    async def generator():
        yield

    with pytest.raises(cycles.InvalidRequest, match=r"report\("):
        cycles.Guard(cost(1), action=ACTION, actual=cost)(generator)
