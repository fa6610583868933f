"""Work that a guarded call returns, which counts where its steps ran, and what it reports at its second."""

from __future__ import annotations

import asyncio

import cycles
from cycles import usd_microcents as cost
from tests.support.authorities import UNIT

ESTIMATE = 10


class Work:
    """What is counted: where its steps ran, and what it reports at its second."""

    def __init__(self, authority):
        self.inside = []
        self.authority = authority

    def step(self, number):
        self.inside.append(cycles.current() is not None)
        if number == 2 and cycles.current():
            cycles.current().report(actual=cost(7))
        return number

    def generator(self):
        for number in (1, 2):
            yield self.step(number)
        return "end"

    async def async_generator(self):
        for number in (1, 2):
            yield self.step(number)

    def later(self):
        return self.generator()

    def later_async(self):
        return self.async_generator()

    def lazily(self):
        return map(self.step, (1, 2))

    def stream(self):
        return Stream(self)

    async def coroutine(self):
        return self.step(2)

    @property
    def figures(self):
        row = self.authority.balance("tenant:acme", UNIT)
        return row.spent, row.reserved


class Stream:
    """A stream as SDKs have them."""

    usage = 9

    def __init__(self, work):
        self.work, self.number, self.is_closed, self.fails = work, 0, False, False

    def __iter__(self):
        return self

    def __next__(self):
        if self.fails:
            self.fails = False
            raise ConnectionError
        if self.number == 2:
            raise StopIteration
        self.number += 1
        return self.work.step(self.number)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.is_closed = True
        self.work.inside.append(cycles.current() is not None)


class AsyncStream:
    usage = 9

    def __init__(self, work):
        self.work, self.number, self.is_closed = work, 0, False

    def __aiter__(self):
        return self

    async def __anext__(self):
        await asyncio.sleep(0)
        if self.number == 2:
            raise StopAsyncIteration
        self.number += 1
        return self.work.step(self.number)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.close()

    async def close(self):
        await asyncio.sleep(0)
        self.is_closed = True
        self.work.inside.append(cycles.current() is not None)


def returning(value):
    async def function():
        return value

    return function
