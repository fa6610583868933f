"""A reserve ends in time, whatever happens underneath; and a busy pool is waited for."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

import cycles
from cycles import usd
from cycles._core.retry import RetryPolicy
from cycles._drivers.lanes import Lanes
from tests.support.authorities import ACTION
from tests.support.net import HANG

from .sockets import dripping

SHORT = RetryPolicy(max_attempts=1, deadline=1.0)


@pytest.fixture
def config(config, monkeypatch):
    """Reserves of one second; each phase of a request may take longer than that."""
    monkeypatch.setattr(cycles.Config, "retry", SHORT)
    return config.replace(read_timeout=20.0, journal_enabled=False)


def reserved(client):
    return client.reserve(usd("0.0001"), action=ACTION)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_reserve_that_is_never_answered_ends_at_its_deadline(server, config, kind):
    server.always["reservations"] = HANG

    async def main():
        async with cycles.AsyncClient(config) as client:
            await reserved(client)

    started = time.monotonic()
    with pytest.raises(cycles.AuthorityUnavailable):
        if kind == "async":
            asyncio.run(main())
        else:
            with cycles.Client(config) as client:
                reserved(client)
    assert time.monotonic() - started >= 0.9


@pytest.mark.slow
def test_a_drip_of_bytes_does_not_outlast_the_deadline_of_an_async_reserve(config):
    """Each byte is in time for httpx; only a bound on the whole ends it."""

    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:  # only a bound on the whole ends it
                yield b" "
                await asyncio.sleep(0.1)

    async def main():
        transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Drip()))
        async with httpx.AsyncClient(transport=transport) as http:
            await reserved(cycles.AsyncClient(config, http_client=http))

    with pytest.raises(cycles.AuthorityUnavailable):
        asyncio.run(main())


@pytest.mark.slow
@pytest.mark.parametrize(
    "before",
    [b"HTTP/1.1 200 OK\r\nx-slow: ", b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"],
    ids=["headers", "body"],
)
def test_a_drip_of_bytes_does_not_outlast_the_deadline_of_a_sync_reserve(config, before):
    with dripping(before) as url, cycles.Client(config.replace(base_url=url)) as client:
        started = time.monotonic()
        with pytest.raises(cycles.AuthorityUnavailable):
            reserved(client)
        assert time.monotonic() - started >= 0.9


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_no_attempt_outlasts_its_bound(config, monkeypatch, kind):
    """A commit has no deadline, for it is retried; but each attempt ends."""
    monkeypatch.setattr("cycles._drivers.blocking.LONGEST_ATTEMPT", 0.3)
    monkeypatch.setattr("cycles._drivers.aio.LONGEST_ATTEMPT", 0.3)

    async def main(url):
        async with cycles.AsyncClient(config.replace(base_url=url)) as client:
            await client.record(usd("0.0001"), action=ACTION)

    started = time.monotonic()
    with dripping(b"HTTP/1.1 201 Created\r\nx-slow: ") as url, pytest.raises(cycles.AuthorityUnavailable):
        if kind == "async":
            asyncio.run(main(url))
        else:
            with cycles.Client(config.replace(base_url=url)) as client:
                client.record(usd("0.0001"), action=ACTION)
    assert time.monotonic() - started >= 0.25


@pytest.mark.slow
def test_a_pool_that_stays_busy_is_no_lost_request(server, config):
    async def main():
        async with cycles.AsyncClient(config) as client:
            await client.decide(usd("0.0001"), action=ACTION)
            client._runtime.world.gate = Lanes(0)
            await reserved(client)

    with pytest.raises(cycles.AuthorityUnavailable, match="PoolTimeout"):
        asyncio.run(main())
    assert [seen.operation for seen in server.seen] == ["decide"], "nothing was sent, so nothing is looked for"


@pytest.fixture
def served():
    """An authority in a process of its own: 200 threads here leave it no time."""
    command = [sys.executable, "-m", "cycles.cli", "serve", "--port", "0", "--json", "--budget", "tenant:acme=usd:1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield json.loads(process.stdout.readline())
        process.terminate()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_200_guards_at_once_all_get_their_answer(served, kind):
    """With the timeouts that everybody has; only the ends wait for their turn here, however long that takes.

    A reserve has 30 seconds: 200 are as many as a busy machine has time for. benchmarks/burst.py has 500.
    """
    usual = cycles.Config(served["base_url"], api_key=served["api_key"], tenant="acme", journal_fsync=False)
    config = usual.replace(settle_wait=60)

    def guarded(client):
        with cycles.Guard(usd("0.0001"), action=ACTION, client=client) as held:
            held.report(actual=usd("0.0001"))
        return held.state

    async def main():
        async def one(client):
            async with cycles.Guard(usd("0.0001"), action=ACTION, client=client) as held:
                held.report(actual=usd("0.0001"))
            return held.state

        async with cycles.AsyncClient(config) as client:
            return await asyncio.gather(*(one(client) for _ in range(200)))

    if kind == "async":
        states = asyncio.run(main())
    else:
        with cycles.Client(config) as client, ThreadPoolExecutor(200) as threads:
            states = list(threads.map(guarded, [client] * 200))
    assert states == ["COMMITTED"] * 200
    with cycles.Client(config) as client:
        assert next(iter(client.balances())).spent.amount == 2_000_000
