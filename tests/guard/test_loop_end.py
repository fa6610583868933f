"""Async generators that are still open when their event loop ends: closed inside their sections, then settled.

asyncio closes all that it knows at the same time, trio one after the other in any order.
"""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest
import trio

import cycles
from cycles import usd_microcents as cost
from tests.support.authorities import ACTION, UNIT
from tests.support.net import serving

ROUNDS = 8
"""asyncio picks an order at random for what it closes."""


class Iterator:
    """A stream that is no generator."""

    def __aiter__(self):
        return self

    async def __anext__(self):
        cycles.current().report(actual=cost(1))


class Streams:
    """Guarded async generators of three kinds, and what their `finally` saw."""

    def __init__(self, client):
        self.seen = []
        guard = cycles.Guard(cost(20), action=ACTION, client=client)
        self.decorated = guard(self.plain)
        self.returned = guard(self.returning)
        self.iterated = guard(self.iterator)
        self.client = client

    async def plain(self):
        try:
            for step in range(5):
                cycles.current().report(actual=cost(1))
                yield step
        finally:
            self.seen.append(cycles.current() is not None)
            cycles.current().report(actual=cost(6))

    async def returning(self):
        return self.plain()

    async def by_hand(self):
        async with cycles.Guard(cost(20), action=ACTION, client=self.client) as reservation:
            try:
                yield 0
                yield 1
            finally:
                reservation.report(actual=cost(6))

    async def iterator(self):
        return Iterator()

    async def open_all(self):
        self.left = [self.decorated(), self.decorated(), await self.returned(), self.by_hand(), self.by_hand()]
        self.left.append(await self.iterated())
        for stream in self.left:
            await anext(stream)
            await anext(stream)


@pytest.mark.parametrize("run", [lambda main: asyncio.run(main()), trio.run], ids=["asyncio", "trio"])
def test_what_finally_reports_is_charged(authority, caplog, run):
    caplog.set_level(logging.INFO, "asyncio")
    for _ in range(ROUNDS):
        before = authority.balance("tenant:acme", UNIT).spent
        streams = Streams(authority.async_client(tenant="acme"))
        run(streams.open_all)
        row = authority.balance("tenant:acme", UNIT)
        assert (row.spent - before, row.reserved) == (31, 0)
        assert streams.seen == [True] * 3
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize("engine", ["httpx", "httpx2", "aiohttp"])
def test_over_http_its_requests_begin_nothing_that_asyncio_warns_of(engine, caplog):
    with serving() as server:
        key = server.authority.key(tenant="acme")
        client = cycles.AsyncClient(cycles.Config(server.url, api_key=key, tenant="acme", http_engine=engine))
        streams = Streams(client)
        with asyncio.Runner() as runner:
            runner.run(streams.open_all())
            runner.run(runner.get_loop().shutdown_asyncgens())
            runner.run(client.close())
        row = server.authority.balance("tenant:acme", UNIT)
        assert (row.spent, row.reserved) == (31, 0)
        assert streams.seen == [True] * 3
    assert "failed" not in caplog.text


def test_a_stream_that_is_dropped_is_closed_in_its_section(authority):
    async def main():
        streams = Streams(authority.async_client(tenant="acme"))
        for stream in (streams.decorated(), await streams.returned()):
            await anext(stream)
        del stream
        gc.collect()
        while authority.balance("tenant:acme", UNIT).reserved:
            await asyncio.sleep(0.001)
        assert streams.seen == [True] * 2

    asyncio.run(main())
    assert authority.balance("tenant:acme", UNIT).spent == 12


def test_the_decorated_function_is_one_async_generator(authority):
    streams = Streams(authority.async_client(tenant="acme"))

    async def main():
        stream = streams.decorated()
        await anext(stream)
        known = len(asyncio.get_running_loop()._asyncgens)
        await stream.aclose()
        return known

    assert asyncio.run(main()) == 1
