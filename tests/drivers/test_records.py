"""Records that tasks write: on disk before anything is sent, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from cycles._core.effects import Record
from cycles._drivers import aio


class Held:
    """A journal whose writes end when the test says."""

    fsync = True

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.written: Future[None] = Future()

    def write_soon(self, pending, claim):
        self.begun.set()
        return self.written


def test_a_task_that_is_cancelled_waits_until_its_record_is_written():
    async def main():
        journal = Held()
        world = SimpleNamespace(journal=journal)
        task = asyncio.create_task(aio._perform(Record(SimpleNamespace(provisional=False), None), world))
        await journal.begun.wait()
        for _ in range(2):  # an impatient caller
            task.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
            assert not task.done()
        journal.written.set_result(None)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
