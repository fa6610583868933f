"""The traceback of a denial ends where the user called: at most two frames of this library are below it."""

from __future__ import annotations

import asyncio
import logging
import traceback

import pytest

import cycles
from cycles import usd
from cycles.local import LocalAuthority

TOO_MUCH = usd("1.05")
ACTION = ("llm.completion", "gpt-4o")


@pytest.fixture
def clients():
    with LocalAuthority() as authority:
        authority.budget("tenant:acme", usd("1.00"))
        with authority.client(tenant="acme") as client:
            yield client, authority.async_client(tenant="acme")


def decorated(client, _):
    cycles.Guard(TOO_MUCH, action=ACTION, client=client)(print)()


def block(client, _):
    with cycles.Guard(TOO_MUCH, action=ACTION, client=client):
        raise AssertionError


def by_hand(client, _):
    client.reserve(TOO_MUCH, action=ACTION)


def recorded(client, _):
    client.record(TOO_MUCH, action=ACTION, overage_policy="REJECT")


def generator(client, _):
    @cycles.Guard(TOO_MUCH, action=ACTION, client=client)
    def steps():
        yield 1

    next(steps())


async def async_decorated(client):
    @cycles.Guard(TOO_MUCH, action=ACTION, client=client)
    async def work():
        raise AssertionError

    await work()


async def async_block(client):
    async with cycles.Guard(TOO_MUCH, action=ACTION, client=client):
        raise AssertionError


async def async_by_hand(client):
    await client.reserve(TOO_MUCH, action=ACTION)


async def async_recorded(client):
    await client.record(TOO_MUCH, action=ACTION, overage_policy="REJECT")


async def async_generator(client):
    @cycles.Guard(TOO_MUCH, action=ACTION, client=client)
    async def steps():
        yield 1

    await anext(steps())


def in_a_loop(function):
    def run(_, client):
        async def closing():
            try:
                await function(client)
            finally:
                await client.close()

        asyncio.run(closing())

    run.__name__ = function.__name__
    return run


SHAPES = [
    decorated,
    block,
    by_hand,
    recorded,
    generator,
    *map(in_a_loop, (async_decorated, async_block, async_by_hand, async_recorded, async_generator)),
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.__name__)
def test_a_denial_ends_in_the_line_of_the_user(shape, clients):
    with pytest.raises(cycles.BudgetExceeded) as denied:
        shape(*clients)
    frames = traceback.extract_tb(denied.value.__traceback__)
    ours = max(place for place, frame in enumerate(frames) if frame.filename == __file__)
    below = [f"{frame.filename}:{frame.name}" for frame in frames[ours + 1 :]]
    assert len(below) <= 2, below
    assert denied.value.__cause__ is None


def test_the_error_that_is_being_handled_stays_in_sight(clients):
    with pytest.raises(cycles.BudgetExceeded) as denied:
        try:
            int("the user's")
        except ValueError:
            block(*clients)
    assert isinstance(denied.value.__context__, ValueError)
    assert not denied.value.__suppress_context__


def test_a_mistake_in_a_callable_keeps_its_frames(clients):
    def estimate():
        return usd(0.05)  # type: ignore[arg-type]

    with pytest.raises(cycles.InvalidRequest) as refused:
        cycles.Guard(estimate, action=ACTION, client=clients[0])(print)()
    assert "estimate" in [frame.name for frame in traceback.extract_tb(refused.value.__traceback__)]


@pytest.mark.parametrize("shape", SHAPES[:5], ids=lambda shape: shape.__name__)
def test_a_denial_that_is_raised_is_a_line_of_debug(shape, clients, caplog):
    caplog.set_level(logging.DEBUG, "cycles")
    with pytest.raises(cycles.BudgetExceeded):
        shape(*clients)
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
