"""Limits around functions of every shape, blocking and asynchronous."""

from __future__ import annotations

import asyncio

import pytest

import cycles
from cycles import Guard, Limit, usd
from tests.limit.conftest import ACTION, CENT, RUN, cents


# -- shapes ------------------------------------------------------------------------------------------------------------
def test_each_call_of_a_decorated_function_has_a_limit_of_its_own(counted, guard):
    @Limit(cents, action=lambda n: ("agent.run", f"r{n}"), client=counted.client)
    def run(n):
        with guard as reservation:
            reservation.commit(cents(n))
        return n

    assert [run(10), run(20)] == [10, 20]
    assert (counted.creates, counted.commits, counted.spent) == (2, 2, 30 * CENT)
    assert run.__name__ == "run"


def test_a_decorated_generator_is_inside_step_by_step(counted, limit, guard):
    @limit
    def steps():
        for _ in range(2):
            with guard as reservation:
                assert reservation.id is None
            yield

    for _ in steps():
        outside = counted.client.reserve(cents(1), action=ACTION)
        assert outside.id is not None
        outside.release()
    assert counted.spent == 20 * CENT


def test_methods_of_all_kinds(counted, guard):
    class Agent:
        @Limit(cents(20), action=RUN, client=counted.client)
        def plain(self):
            return guard(lambda: 1)()

        @classmethod
        @Limit(cents(20), action=RUN, client=counted.client)
        def of_class(cls):
            return guard(lambda: 2)()

        @Limit(cents(20), action=RUN, client=counted.client)
        @staticmethod
        def static():
            return guard(lambda: 3)()

    assert (Agent().plain(), Agent.of_class(), Agent().static()) == (1, 2, 3)
    assert (counted.creates, counted.spent) == (3, 30 * CENT)


async def _async_run(counted):
    limit = Limit(cents(50), action=RUN, client=counted.async_client)
    guard = Guard(cents(10), action=ACTION, client=counted.async_client)
    async with limit as entered:
        assert entered is limit
        async with guard as reservation:
            await reservation.commit(cents(4))
        assert (limit.spent, limit.sections) == (cents(4), 1)

        @guard
        async def work():
            assert cycles.current().id is None
            return 1

        assert await work() == 1
        with pytest.raises(cycles.BudgetExceeded) as caught:
            async with Guard(cents(41), action=ACTION, client=counted.async_client):
                pytest.fail("it ran")
        assert caught.value.limit is limit
    assert (counted.creates, counted.commits, counted.spent) == (1, 1, 14 * CENT)
    await counted.async_client.close()


def test_asynchronous_code(counted):
    asyncio.run(_async_run(counted))


def test_trio(counted):
    trio = pytest.importorskip("trio")
    trio.run(_async_run, counted)


def test_decorated_async_functions_and_generators(counted):
    guard = Guard(cents(10), action=ACTION, client=counted.async_client)

    @Limit(cents(20), action=RUN, client=counted.async_client)
    async def run():
        async with guard:
            return 1

    @Limit(cents(20), action=RUN, client=counted.async_client)
    async def steps():
        async with guard:
            yield 1

    async def main():
        assert await run() == 1
        assert [step async for step in steps()] == [1]
        await counted.async_client.close()

    asyncio.run(main())
    assert (counted.creates, counted.commits, counted.spent) == (2, 2, 20 * CENT)


def test_many_tasks_share_one_limit(counted):
    async def main():
        guard = Guard(usd("0.01"), action=ACTION, client=counted.async_client, actual=lambda _: usd("0.005"))

        @guard
        async def work():
            await asyncio.sleep(0)

        async with Limit(usd("1.00"), action=RUN, client=counted.async_client) as limit:
            await asyncio.gather(*(work() for _ in range(100)))
            assert (limit.spent, limit.held, limit.sections) == (cents(50), cents(0), 100)
        await counted.async_client.close()

    asyncio.run(main())
    assert (counted.creates, counted.spent) == (1, 50 * CENT)


def test_a_cancelled_run_is_charged_what_it_spent(counted):
    async def main():
        async with Limit(cents(50), action=RUN, client=counted.async_client):
            async with Guard(cents(10), action=ACTION, client=counted.async_client) as reservation:
                await reservation.commit(cents(6))
            async with Guard(cents(10), action=ACTION, client=counted.async_client) as reservation:
                reservation.report(actual=cents(1))
                asyncio.current_task().cancel()
                await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert (counted.spent, counted.reserved) == (7 * CENT, 0)


def test_async_guards_inside_a_blocking_limit(counted, limit):
    async def main():
        async with Guard(cents(10), action=ACTION, client=counted.async_client) as reservation:
            assert reservation.id is None
        await counted.async_client.close()

    with limit:
        asyncio.run(main())
        assert limit.spent == cents(10)
    assert (counted.creates, counted.spent) == (1, 10 * CENT)
