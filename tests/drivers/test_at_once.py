"""Running a flow without a task of its own: as far as it needs no waiting, and from there as any other."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from cycles._core.effects import NewKey, Notify, Sleep
from cycles._drivers import aio
from cycles._drivers.world import World
from cycles_api.client import AuthenticatedClient


def world(notify=lambda event, facts: None) -> World:
    return World(AuthenticatedClient("http://a", "key"), notify)


async def at_once(flow, inside):
    return await aio.run_at_once(flow, inside, patience=5.0)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_waits_goes_on_from_where_it_was(backend):
    def flow():
        first = yield from NewKey()
        yield from Sleep(0.0)
        return first, (yield from NewKey())

    first, second = anyio.run(at_once, flow(), world(), backend=backend)
    assert len({first, second}) == 2


def test_what_needs_no_waiting_ends_at_once():
    """No turn of the loop is needed: a coroutine that is stepped once is over."""

    def flow():
        return (yield from NewKey())

    with pytest.raises(StopIteration) as ended:
        at_once(flow(), world()).send(None)
    assert len(ended.value.value) == 32


def test_what_an_effect_raises_is_for_the_flow_to_handle():
    def interrupt(event, facts):
        raise KeyboardInterrupt

    def flow():
        with suppress(KeyboardInterrupt):
            yield from Notify("reserved", {})
        return (yield from NewKey())

    assert anyio.run(at_once, flow(), world(interrupt))
