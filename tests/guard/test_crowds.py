"""Crowds of guards that open together, hold their leases and end together, on a clock that jumps from event to event.

The authority is a real one, which answers so many requests a second and no more. What such a crowd needs of it is in
docs/performance.md; here it has that, and little more.
"""

from __future__ import annotations

import asyncio
import selectors
import time

import httpx
import pytest

from cycles import AsyncClient, Config, Guard, usd
from cycles._drivers.lanes import Lanes
from cycles.local import LocalAuthority, ManualClock
from tests.support.authorities import ACTION

pytestmark = pytest.mark.slow  # some hundred requests in each
CROWD = 60
LANES = 2
LEASE = 60.0
HELD = 74.0
"""All end just before the first of them is due for its second renewal, with 18 s of its lease left."""


class JumpingClock:
    """The time of a loop that never waits: whenever nothing is left to do, the next timer is due."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


class NoWaiting(selectors.DefaultSelector):
    """A selector that lets the clock jump in place of waiting."""

    def __init__(self, clock):
        super().__init__()
        self._clock = clock

    def select(self, timeout=None):
        found = super().select(0 if timeout is not None else 20)
        if not found and timeout:
            self._clock.seconds += timeout
        return found


class Busy(httpx.AsyncBaseTransport):
    """An authority that needs *takes* seconds for each request, one after the other."""

    def __init__(self, authority, clock, wall, takes):
        self.inner = authority.async_transport()
        self._clock, self._wall, self._takes = clock, wall, takes
        self._start = clock.seconds
        self._wall_start = wall()
        self._free_at = 0.0

    async def handle_async_request(self, request):
        self._free_at = max(self._free_at, self._clock.seconds) + self._takes
        await asyncio.sleep(self._free_at - self._clock.seconds)
        self._wall.set(self._wall_start + round((self._clock.seconds - self._start) * 1000))
        return await self.inner.handle_async_request(request)


def held_by(monkeypatch, rate, work):
    """Run *work* with a client whose authority answers *rate* requests a second; return what comes of it."""
    clock, wall = JumpingClock(), ManualClock()
    monkeypatch.setattr(time, "monotonic", clock)
    with LocalAuthority(clock=wall) as authority:
        authority.tenant("acme", max_extensions=1000)
        authority.budget("tenant:acme", usd("1000"))
        config = Config("local:", api_key=authority.key(tenant="acme"), tenant="acme", journal_enabled=False)
        busy = Busy(authority, clock, wall, 1 / rate)

        async def main():
            async with httpx.AsyncClient(transport=busy, base_url="http://authority") as http:
                client = AsyncClient(config.replace(settle_wait=300.0), http_client=http)
                client._runtime.world.gate = Lanes(LANES)  # as a client has that made its connections itself
                client._runtime.heartbeats._renewals = LANES
                found = await work(client)
                await client.close()
                return found

        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(NoWaiting(clock))) as runner:
            return runner.run(main())


async def crowd(client, count=CROWD):
    """Open, hold and end all at once; return how each was charged, and whether any lost its lease."""
    opened, ways, lost = [], [], []

    def end():
        for opening in reversed(opened):  # those whose lease ends first come last
            opening.set()

    async def one():
        async with Guard(usd("0.01"), action=ACTION, client=client, ttl=LEASE, grace_period=0) as held:
            ends = asyncio.Event()
            opened.append(ends)
            if len(opened) == count:
                asyncio.get_running_loop().call_later(HELD, end)
            await ends.wait()
            settlement = await held.commit(usd("0.005"))
        ways.append(settlement.via)
        lost.append(held.state == "LOST" or held._section.lease_lost)

    async with asyncio.TaskGroup() as group:
        for _ in range(count):
            group.create_task(one())
    return ways, lost


def test_a_crowd_ends_in_time_when_the_authority_can_just_renew_its_leases(monkeypatch):
    """All must have opened within 30 s; the rest of their life needs less."""
    ways, lost = held_by(monkeypatch, 1.1 * CROWD / 30, crowd)
    assert ways == ["commit"] * CROWD
    assert not any(lost)


def test_those_who_reserve_and_settle_meanwhile_take_no_lease_from_a_crowd(monkeypatch):
    """Twice as many others as the authority can answer are at it all the time."""

    async def work(client):
        async def others():
            while True:
                async with Guard(usd("0.01"), action=ACTION, client=client) as held:
                    await held.commit(usd("0.005"))

        async def some_later():
            await asyncio.sleep(20.0)
            await asyncio.gather(*(others() for _ in range(40)))

        rest = asyncio.create_task(some_later())
        found = await crowd(client)
        rest.cancel()
        await asyncio.gather(rest, return_exceptions=True)
        return found

    ways, lost = held_by(monkeypatch, 1.4 * CROWD / 30, work)
    assert ways == ["commit"] * CROWD
    assert not any(lost)
