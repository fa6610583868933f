"""With-blocks in generators of the program: each step may run in a context of its own, in which nothing was entered."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc

import pytest
import trio

import cycles
from cycles import usd_microcents as cost
from cycles._client import opened_section
from tests.support.authorities import ACTION, SCOPE, UNIT

TOOL = ("tool.search", "web")


@pytest.fixture
def client(authority):
    client = authority.client(tenant="acme")
    yield client
    client.close()


def elsewhere(iteration):
    """Take each step in a fresh context, as frameworks do that iterate in threads."""
    items = []
    while (item := contextvars.Context().run(next, iteration, None)) is not None:
        items.append(item)
    return items


def helped():
    """Called from the generator, however deep."""
    return cycles.current()


def test_a_generator_finds_its_reservation_in_any_context(client, authority):
    def steps():
        with cycles.Guard(cost(20), action=ACTION, client=client) as outer:
            for step in range(1, 4):
                assert helped() is outer
                with cycles.Guard(cost(5), action=TOOL, client=client) as inner:
                    assert helped() is inner
                    yield step
                    assert helped() is inner
                assert helped() is outer
                cycles.report(actual=cost(step))
        assert helped() is None

    assert elsewhere(steps()) == [1, 2, 3]
    row = authority.balance(SCOPE, UNIT)
    assert (row.spent, row.reserved) == (3 + 3 * 5, 0)
    assert len(opened_section._held) == 0


def test_a_block_that_an_exit_stack_entered_is_the_generators_too(client):
    def steps():
        with contextlib.ExitStack() as stack:
            held = stack.enter_context(cycles.Guard(cost(20), action=ACTION, client=client))
            yield 1
            assert helped() is held
            yield 2

    assert elsewhere(steps()) == [1, 2]


def test_its_guards_draw_on_its_limit_in_any_context(client):
    def steps():
        with cycles.Limit(cost(20), action=ACTION, client=client) as limit:
            for step in range(1, 4):
                with cycles.Guard(cost(5), action=TOOL, client=client) as inner:
                    assert inner.id is None
                yield step
        assert limit.spent == cost(15)

    assert elsewhere(steps()) == [1, 2, 3]


def test_generators_that_run_by_turns_find_each_its_own(client, authority):
    """Their blocks are entered in one context, and would be taken for nested."""

    def steps(amount):
        with cycles.Guard(cost(20), action=ACTION, client=client) as held:
            for step in (1, 2, 3):
                assert helped() is held
                with inside() as inner:
                    assert helped() is inner
                cycles.report(actual=cost(amount))
                yield step

    @contextlib.contextmanager
    def inside():
        with cycles.Guard(cost(5), action=TOOL, client=client) as inner:
            yield inner
            cycles.report(actual=cost(0))

    assert list(zip(steps(3), steps(4), steps(5), strict=True)) == [(step,) * 3 for step in (1, 2, 3)]
    assert authority.balance(SCOPE, UNIT).spent == 12


def test_what_a_context_manager_opened_is_current_in_its_block(client):
    @contextlib.contextmanager
    def around():
        with cycles.Guard(cost(20), action=ACTION, client=client) as held:
            yield held

    with around() as held:
        assert cycles.current() is held


def test_code_beside_the_generator_does_not_see_it(client):
    def steps():
        with cycles.Guard(cost(20), action=ACTION, client=client):
            yield 1

    def other():
        yield cycles.current()

    iteration = steps()
    contextvars.Context().run(next, iteration)
    assert list(other()) == [None]
    assert cycles.current() is None
    iteration.close()


def test_one_that_nobody_closes_is_forgotten_with_its_frame(client):
    def steps():
        held = cycles.Guard(cost(20), action=ACTION, client=client)
        held.__enter__()
        yield 1

    iteration = steps()
    next(iteration)
    assert len(opened_section._held) == 1
    del iteration
    gc.collect()
    assert len(opened_section._held) == 0


async def _step(iteration):
    return await anext(iteration, None)


def test_tasks_that_iterate_by_turns_find_its_reservation_and_its_limit(authority):
    client = authority.async_client(tenant="acme")

    async def steps():
        async with cycles.Limit(cost(20), action=ACTION, client=client) as limit:
            for step in range(1, 4):
                async with cycles.Guard(cost(5), action=TOOL, client=client) as inner:
                    assert inner.id is None
                    yield step
                    assert helped() is inner
                    await asyncio.sleep(0)
                    assert helped() is inner
        assert limit.sections == 3

    async def main():
        iteration = steps()
        return [await asyncio.create_task(_step(iteration)) for _ in range(4)]

    assert asyncio.run(main()) == [1, 2, 3, None]


@pytest.mark.parametrize("run", [lambda main: asyncio.run(main()), trio.run], ids=["asyncio", "trio"])
def test_at_the_loops_end_its_finally_can_report(authority, run):
    client, seen, left = authority.async_client(tenant="acme"), [], []

    async def steps():
        async with cycles.Guard(cost(20), action=ACTION, client=client) as reservation:
            try:
                yield 1
            finally:
                seen.append(cycles.current() is reservation)
                cycles.report(actual=cost(6))

    async def main():
        for _ in range(3):
            left.append(steps())
            await anext(left[-1])

    run(main)
    assert seen == [True] * 3
    row = authority.balance(SCOPE, UNIT)
    assert (row.spent, row.reserved) == (18, 0)
