"""Requests in flight are spread over small pools, which are closed when nobody needs them any more."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import httpx
import pytest

from cycles._drivers import pools
from cycles._drivers.httpx_engine import AsyncDirectClient, DirectClient
from cycles._drivers.pools import AsyncPools, Pools
from tests.support.waiting import PATIENCE, until

REQUEST = httpx.Request("GET", "http://authority.test/")


class Opened:
    """A pool that holds its requests until `goes_on` is set, and says how often it was closed."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.in_flight, self.handled, self.closed = [], 0, 0

    def handle_request(self, request):
        self.in_flight.append(request)
        self.handled += 1
        assert self.goes_on.wait(PATIENCE)
        self.in_flight.pop()
        return httpx.Response(200)

    async def handle_async_request(self, request):
        self.in_flight.append(request)
        self.handled += 1
        while not self.goes_on.is_set():
            await anyio.lowlevel.checkpoint()
        self.in_flight.pop()
        return httpx.Response(200)

    def close(self):
        self.closed += 1

    async def aclose(self):
        self.closed += 1


class Made:
    """What made the pools of one transport, in their order."""

    def __init__(self) -> None:
        self.pools = []

    def __call__(self):
        self.pools.append(Opened())
        return self.pools[-1]

    def go_on(self):
        """Let all requests end."""
        for pool in self.pools:
            pool.goes_on.set()

    @property
    def in_flight(self):
        return [len(pool.in_flight) for pool in self.pools]


@pytest.fixture
def made():
    return Made()


@pytest.fixture
def clock(monkeypatch):
    """The monotonic time that pools see."""
    now = [100.0]
    monkeypatch.setattr(pools.time, "monotonic", lambda: now[0])
    return now


def in_threads(transport, made, count):
    """Have *count* requests more in flight, from as many threads."""
    before, threads = sum(made.in_flight), []
    for number in range(1, count + 1):
        threads.append(threading.Thread(target=transport.handle_request, args=(REQUEST,), daemon=True))
        threads[-1].start()
        until(lambda wanted=before + number: sum(made.in_flight) == wanted)
    return threads


def ended(threads, made):
    made.go_on()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(made.in_flight)


def test_requests_one_after_another_take_one_pool(made):
    transport = Pools(made)
    made.go_on()
    for _ in range(10):
        transport.handle_request(REQUEST)
    assert [pool.handled for pool in made.pools] == [10]


def test_what_is_in_flight_is_spread_and_no_pool_is_full_before_the_last(made):
    transport = Pools(made)
    threads = in_threads(transport, made, 20)
    assert made.in_flight == [4, 4, 4, 4, 4]
    threads += in_threads(transport, made, 14)
    assert made.in_flight == [5, 5, 4, 4, 4, 4, 4, 4], "each further one goes to a pool that has the fewest"
    ended(threads, made)


@pytest.mark.anyio
async def test_tasks_are_spread_alike(made):
    transport = AsyncPools(made)
    async with anyio.create_task_group() as tasks:
        for _ in range(34):
            tasks.start_soon(transport.handle_async_request, REQUEST)
        while sum(made.in_flight) < 34:
            await anyio.lowlevel.checkpoint()
        assert made.in_flight == [5, 5, 4, 4, 4, 4, 4, 4]
        made.go_on()
    assert not any(made.in_flight)


def test_a_pool_that_nobody_needs_is_closed_after_a_while(made, clock):
    transport = Pools(made)
    ended(in_threads(transport, made, 5), made)
    clock[0] += 4.9
    transport.handle_request(REQUEST)
    assert [pool.closed for pool in made.pools] == [0, 0], "its connections may still be of use"
    clock[0] += 0.2
    transport.handle_request(REQUEST)
    assert [pool.closed for pool in made.pools] == [0, 1]
    clock[0] += 1000.0
    transport.handle_request(REQUEST)
    assert [pool.closed for pool in made.pools] == [0, 1], "the first one stays"


@pytest.mark.anyio
async def test_a_pool_of_tasks_that_nobody_needs_is_closed_after_a_while(made, clock):
    transport = AsyncPools(made)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(transport.handle_async_request, REQUEST)
        while sum(made.in_flight) < 5:
            await anyio.lowlevel.checkpoint()
        made.go_on()
    clock[0] += 5.1
    await transport.handle_async_request(REQUEST)
    assert [pool.closed for pool in made.pools] == [0, 1]


def test_a_pool_in_use_is_not_closed(made, clock):
    transport = Pools(made)
    threads = in_threads(transport, made, 5)
    made.pools[0].goes_on.set()
    until(lambda: made.in_flight == [0, 1])
    clock[0] += 1000.0
    transport.handle_request(REQUEST)
    assert made.pools[1].closed == 0
    ended(threads, made)


@pytest.mark.anyio
async def test_closing_reaches_all_pools(made):
    blocking, asynchronous = Pools(made), AsyncPools(made)
    ended(in_threads(blocking, made, 5), made)
    blocking.close()
    assert [pool.closed for pool in made.pools] == [1, 0, 1], "the one of the asynchronous transport is open"
    await asynchronous.aclose()
    assert [pool.closed for pool in made.pools] == [1, 1, 1]


@pytest.mark.anyio
async def test_httpx_clients_have_them():
    with DirectClient() as client:
        assert isinstance(client._transport, Pools)
    async with AsyncDirectClient() as client:
        assert isinstance(client._transport, AsyncPools)
