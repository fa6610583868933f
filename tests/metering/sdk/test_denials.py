"""A denial comes out of the SDK's own call as itself, after one attempt: no SDK retries or translates it."""

from __future__ import annotations

import pytest

import cycles
from cycles import usd
from tests.support.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class Aiohttp:DeprecationWarning")  # google-genai's own


def _sync(world, client):
    world.api.ask(client)


def _stream(world, client):
    list(world.api.deltas(world.api.open(client)))


def _embeddings(world, client):
    if not world.api.embeds:
        pytest.skip("this API has none")
    world.api.embed(client)


async def _async(world, client):
    await world.api.ask(client)


async def _async_stream(world, client):
    async for _ in world.api.adeltas(await world.api.open(client)):
        pass


async def _async_embeddings(world, client):
    if not world.api.embeds:
        pytest.skip("this API has none")
    await world.api.embed(client)


WAYS = [_sync, _stream, _embeddings, _async, _async_stream, _async_embeddings]


def _denied(world, way, error: type[BaseException], **options) -> BaseException:
    """Ask in one *way* with the SDK's own retries; return the *error* that comes out."""
    asynchronous = way.__name__.startswith("_async")
    if not asynchronous:
        with pytest.raises(error) as caught:
            way(world, world.client(retries=3, **options))
        return caught.value

    async def work():
        with pytest.raises(error) as caught:
            await way(world, world.client(asynchronous=True, retries=3, **options))
        return caught.value

    return world.run(work)


def _asked_once(world) -> None:
    assert [seen.operation for seen in world.authority.requests] == ["reserve"]
    assert world.provider.seen == []
    assert world.ledger == 0
    assert world.authority.reserved().amount == 0


@pytest.mark.cycles(budget="usd:0.0000001")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_no_budget_left(world, way):
    error = _denied(world, way, cycles.BudgetExceeded)
    assert type(error) is cycles.BudgetExceeded
    assert error.scope == world.authority.scope
    _asked_once(world)


@pytest.mark.cycles(budget="usd:100")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_a_frozen_budget(world, way):
    world.authority.freeze(world.authority.scope, "USD_MICROCENTS")
    assert type(_denied(world, way, cycles.Denied)) is cycles.BudgetFrozen
    _asked_once(world)


@pytest.mark.cycles(budget="usd:100")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_an_authority_that_is_away(world, way):
    with world.authority.faults.refuse_connection(times=None):
        _denied(world, way, cycles.AuthorityUnavailable)
    assert world.provider.seen == []


@pytest.mark.cycles(budget="usd:100")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_a_limit(world, way):
    if not way.__name__.startswith("_async"):
        with cycles.Limit(usd("0.0000001"), action=("agent.run", "denied")) as limit:
            assert _denied(world, way, cycles.BudgetExceeded).limit is limit
    else:
        retrying = {"asynchronous": True, "retries": 3}

        async def work():
            async with cycles.Limit(usd("0.0000001"), action=("agent.run", "denied")) as limit:
                with pytest.raises(cycles.BudgetExceeded) as caught:
                    await way(world, world.client(**retrying))
                assert caught.value.limit is limit

        world.run(work)
    assert world.provider.seen == []


@pytest.mark.cycles(budget="usd:100")
def test_an_unknown_price_is_told_before_anything_is_sent(world):
    client = world.client(prices=cycles.Prices({"another-model": {"input": "1", "output": "1"}}))
    with pytest.raises(cycles.ConfigError, match=world.api.model):
        world.api.ask(client)
    assert world.authority.requests == []
    assert world.provider.seen == []


@pytest.mark.cycles(budget="usd:0.05")
def test_after_a_denial_the_client_works_on(world):
    """The connection and the hold of a denied call are free again."""
    client = world.client()
    world.authority.freeze(world.authority.scope, "USD_MICROCENTS")
    with pytest.raises(cycles.BudgetFrozen):
        world.api.ask(client)
    world.authority.unfreeze(world.authority.scope, "USD_MICROCENTS")
    world.api.ask(client)
    until(lambda: world.authority.reserved().amount == 0)
    assert world.ledger == world.provider.microcents
