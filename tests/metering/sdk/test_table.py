"""The table: each API with each thing that can happen to a call. In every cell the ledger is the provider's bill.

Each test is a column, and runs for each API. conftest.py prints the table at the end.
"""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

import cycles
from cycles import usd
from tests.metering.provider import Gate, Turn

RICH = "usd:1000"
pytestmark = [
    pytest.mark.cycles(budget=RICH),
    pytest.mark.filterwarnings("ignore:Inheritance class Aiohttp:DeprecationWarning"),  # google-genai's own
]
SAID = "".join(f"w{index:02} " for index in range(12))


def kinds(world, **more: Any) -> Turn:
    """Return a turn whose bill has every kind of token that the API tells apart."""
    return Turn(reasoning=5, read=4, written=3 if world.api.caches else 0, **more)


async def several_deltas(world, stream: Any, count: int) -> list[str]:
    found: list[str] = []
    async for text in world.api.adeltas(stream):
        found.append(text)
        if len(found) == count:
            break
    return found


# -- whole answers -----------------------------------------------------------------------------------------------------
def test_sync(world):
    world.provider.plan(kinds(world))
    assert world.api.text(world.api.ask(world.client())) == SAID
    world.exact()
    (commit,) = world.requests("commit")
    (bill,) = world.provider.bills
    told = commit.body["metrics"]
    assert (told["tokens_input"], told["tokens_output"]) == (bill.counts.input, bill.counts.output)
    assert told["model_version"] == bill.model
    assert told["latency_ms"] >= 0


def test_async(world):
    world.provider.plan(kinds(world))

    async def work():
        return world.api.text(await world.api.ask(world.client(asynchronous=True)))

    assert world.run(work) == SAID
    world.exact()


def test_gzip(world):
    world.provider.plan(kinds(world, gzip=True, piece=7))
    assert world.api.text(world.api.ask(world.client())) == SAID
    world.exact()


def test_unbounded(world):
    """Where the caller bounds no output, the bound of `wrap` is sent."""
    if world.api.name == "Anthropic messages":
        pytest.skip("its users always bound the output")
    world.provider.plan(Turn(output=50))
    world.api.ask(world.client(max_output=20), bounded=False)
    (bill,) = world.provider.over()
    assert bill.asked_output == 20
    world.exact()


# -- streams -----------------------------------------------------------------------------------------------------------
def test_stream(world):
    world.provider.plan(kinds(world))
    assert "".join(world.api.deltas(world.api.open(world.client()))) == SAID
    world.exact()


def test_async_stream(world):
    world.provider.plan(kinds(world))

    async def work():
        stream = await world.api.open(world.client(asynchronous=True))
        return "".join([text async for text in world.api.adeltas(stream)])

    assert world.run(work) == SAID
    world.exact()


def test_gzip_stream(world):
    world.provider.plan(kinds(world, gzip=True, piece=3))
    assert "".join(world.api.deltas(world.api.open(world.client()))) == SAID
    world.exact()


def test_left_early(world):
    gate = Gate()
    world.provider.plan(Turn(gate=gate))
    stream = world.api.open(world.client())
    deltas = world.api.deltas(stream)
    for number in range(3):
        gate.open()
        assert next(deltas) == f"w{number:02} "
    world.leave(stream, deltas)
    world.bounded("partial")
    assert world.provider.bills[0].counts.output == 3


def test_left_early_async(world):
    gate = Gate()
    world.provider.plan(Turn(gate=gate))

    async def work():
        stream = await world.api.open(world.client(asynchronous=True))
        gate.open(3)
        found = await several_deltas(world, stream, 3)
        await world.api.close(stream)
        return found

    assert world.run(work) == ["w00 ", "w01 ", "w02 "]
    world.bounded("partial")
    assert world.provider.bills[0].counts.output == 3


def test_left_early_whole_estimate(world):
    gate = Gate()
    world.provider.plan(Turn(gate=gate))
    stream = world.api.open(world.client(partial="estimate"))
    deltas = world.api.deltas(stream)
    gate.open()
    next(deltas)
    world.leave(stream, deltas)
    world.bounded("estimate", "partial")
    assert world.ledger == world.estimate()


def test_left_early_drained(world):
    """Read on in the background: the provider's own figure, though nobody read it."""
    gate = Gate()
    world.provider.plan(Turn(gate=gate))
    stream = world.api.open(world.client(partial="drain"))
    deltas = world.api.deltas(stream)
    gate.open()
    next(deltas)
    world.leave(stream, deltas)
    gate.open(100)
    if world.api.forgets:  # so nobody learns that it was left, until it is collected
        world.bounded("partial")
        return
    world.exact()
    assert world.provider.bills[0].counts.output == 12


def test_collected(world):
    """A stream that nobody closes is settled when it is collected."""
    gate = Gate()
    world.provider.plan(Turn(gate=gate))
    stream = world.api.open(world.client())
    gate.open(2)
    deltas = world.api.deltas(stream)
    next(deltas)
    del deltas, stream
    gc.collect()
    world.bounded("partial")


def test_cut(world):
    """A stream may break after any event: what the provider has told is charged exactly, else what came."""
    client = world.client()
    list(world.api.deltas(world.api.open(client)))
    whole = len(world.provider.events)
    for cut in range(whole):
        world.provider.plan(Turn(cut=cut))
        with suppress(*world.api.hurt):  # an SDK may have stopped reading before the break
            list(world.api.deltas(world.api.open(client)))
        world.settled()
        bill, hold = world.provider.bills[-1], world.authority.reservations()[-1]
        assert hold.charged is not None
        assert bill.microcents <= hold.charged <= hold.estimate, cut
    world.shown = f"{whole} cuts"


def test_model_fails(world):
    world.provider.plan(Turn(fail=5))
    with suppress(*world.api.hurt):
        list(world.api.deltas(world.api.open(world.client())))
    world.bounded("partial", "estimate")


# -- cancelled, late, lost ---------------------------------------------------------------------------------------------
def test_cancelled(world):
    gate = Gate()
    gate.open(2)
    world.provider.plan(Turn(gate=gate))

    async def work():
        task = asyncio.ensure_future(world.api.ask(world.client(asynchronous=True)))
        await asyncio.to_thread(world.provider.wait, lambda provider: _generated(provider) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    world.run(work)
    world.bounded("estimate")


def test_cancelled_stream(world):
    gate = Gate()
    gate.open(2)
    world.provider.plan(Turn(gate=gate))

    async def work():
        async def read():
            stream = await world.api.open(world.client(asynchronous=True))
            async for text in world.api.adeltas(stream):
                found.append(text)
                if len(found) == 2:
                    read_two.set()

        found, read_two = [], asyncio.Event()
        task = asyncio.create_task(read())
        await read_two.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    world.run(work)
    world.bounded("partial")
    assert world.provider.bills[0].counts.output == 2


def _generated(provider) -> int:
    return sum(bill.counts.output for bill in provider.bills)


def test_retry(world):
    """Each attempt of the SDK's own retry is reserved and settled by itself."""
    world.provider.plan(Turn(status=503), Turn(status=429), kinds(world))
    assert world.api.text(world.api.ask(world.client(retries=2))) == SAID
    assert [bill.status for bill in world.provider.over()] == [503, 429, 200]
    world.exact()
    assert len(world.requests("reserve")) == 3
    assert len(world.requests("release")) == 2


def test_async_retry_of_a_stream(world):
    world.provider.plan(Turn(status=429), Turn(status=503), kinds(world))

    async def work():
        stream = await world.api.open(world.client(asynchronous=True, retries=2))
        return "".join([text async for text in world.api.adeltas(stream)])

    assert world.run(work) == SAID
    world.exact()


def test_timeout(world):
    """Each attempt that timed out is charged: the provider may have done all of it."""
    gate = Gate()
    gate.open(2)
    world.provider.plan(Turn(gate=gate))
    with pytest.raises(world.api.timed_out):
        world.api.ask(world.client(timeout=0.3))
    world.bounded("estimate")


def test_timeout_async(world):
    world.provider.plan(Turn(gate=Gate()))

    async def work():
        with pytest.raises(world.api.timed_out):
            await world.api.ask(world.client(asynchronous=True, timeout=0.3))

    world.run(work)
    world.bounded("estimate")


@pytest.mark.parametrize("drop", ["before", "after"])
def test_lost(world, drop):
    """The connection breaks after the request left: whether it was read, nobody knows."""
    world.provider.plan(Turn(drop=drop))
    with pytest.raises(world.api.hurt):
        world.api.ask(world.client())
    world.bounded("estimate")


def test_refused(world):
    """Nothing listens: nothing was sent, and nothing is charged."""
    client = world.client()
    world.provider.close()
    with pytest.raises(world.api.hurt):
        world.api.ask(client)
    assert world.authority.reserved().amount == 0
    assert world.ledger == 0
    world.shown = "= 0"


def test_untold(world):
    """An answer without usage is charged the estimate."""
    world.provider.plan(Turn(tells=False))
    if world.api.needs_usage:
        with pytest.raises(world.api.hurt, match="usage"):
            world.api.ask(world.client())
    else:
        assert world.api.text(world.api.ask(world.client())) == SAID
    world.bounded("estimate")


def test_untold_stream(world):
    world.provider.plan(Turn(tells=False))
    assert "".join(world.api.deltas(world.api.open(world.client()))) == SAID
    world.bounded("partial", "estimate")


# -- what agents do ----------------------------------------------------------------------------------------------------
@pytest.mark.cycles(budget=None)
def test_tool_loop_until_denied(world):
    world.authority.budget(world.authority.scope, usd(world.api.few))
    client, calls = world.client(retries=2), 0
    with pytest.raises(cycles.BudgetExceeded):
        while True:
            world.api.called(world.api.call(client))
            calls += 1
    assert calls == len(world.provider.bills)
    assert 2 <= calls <= 20
    world.exact()
    assert [seen.status for seen in world.requests("reserve")].count(409) == 1


def test_50_parallel(world):
    async def work():
        client = world.client(asynchronous=True)
        return await asyncio.gather(*(world.api.ask(client) for _ in range(50)))

    world.provider.usual = kinds(world)
    assert len(world.run(work)) == 50
    world.exact()
    assert len(world.charged()) == 50


def test_50_in_threads(world):
    world.provider.usual = kinds(world)
    client = world.client()
    with ThreadPoolExecutor(50) as threads:
        assert len(list(threads.map(lambda _: world.api.ask(client), range(50)))) == 50
    world.exact()
    assert len(world.charged()) == 50


def test_structured(world):
    if not world.api.parses:
        pytest.skip("not in this version of the SDK")
    world.provider.plan(kinds(world))
    assert world.api.parsed(world.api.parse(world.client())).age == 41
    world.exact()


def test_embeddings(world):
    if not world.api.embeds:
        pytest.skip("this API has none")
    world.api.embed(world.client())
    world.exact()


def test_several(world):
    if not world.api.candidates:
        pytest.skip("this API has none")
    world.provider.plan(Turn(read=4))
    world.api.several(world.client(), 3)
    assert world.provider.bills[0].counts.output == 36
    world.exact()


def test_limit(world):
    """Inside a limit calls send nothing to the authority, and the run is charged their bill."""
    client = world.client()
    world.provider.usual = kinds(world)
    with cycles.Limit(usd("5"), action=("agent.run", "table")) as limit:
        for _ in range(3):
            world.api.ask(client)
        list(world.api.deltas(world.api.open(client)))
        assert [seen.operation for seen in world.authority.requests] == ["reserve"]
        assert limit.spent.amount == sum(bill.microcents for bill in world.provider.over())
    assert [seen.operation for seen in world.authority.requests] == ["reserve", "commit"]
    assert world.ledger == world.provider.microcents
    world.shown = f"= {world.ledger:,}"


def test_limit_async(world):
    world.provider.usual = kinds(world)

    async def work():
        client = world.client(asynchronous=True)
        async with cycles.Limit(usd("5"), action=("agent.run", "table")):
            await asyncio.gather(*(world.api.ask(client) for _ in range(10)))
            stream = await world.api.open(client)
            return "".join([text async for text in world.api.adeltas(stream)])

    assert world.run(work) == SAID
    assert [seen.operation for seen in world.authority.requests] == ["reserve", "commit"]
    assert world.ledger == world.provider.microcents
    world.shown = f"= {world.ledger:,}"


def test_limit_reached(world):
    client = world.client(retries=2)
    with cycles.Limit(usd(world.api.few), action=("agent.run", "table")) as limit, pytest.raises(cycles.BudgetExceeded):
        while True:
            world.api.ask(client)
    assert limit.is_reached
    assert len(world.provider.bills) >= 2
    assert world.ledger == world.provider.microcents
    world.shown = f"= {world.ledger:,}"
