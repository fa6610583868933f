"""The threads of a server."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cycles.local.wire import workers
from cycles.local.wire.workers import Workers


def test_work_is_done_on_another_thread_and_comes_back():
    async def main():
        made = Workers()
        assert await made.run(lambda number: (number, threading.get_ident()), 7) != (7, threading.get_ident())
        with pytest.raises(ZeroDivisionError):
            await made.run(lambda: 1 / 0)
        assert await made.run(int) == 0
        made.close()

    asyncio.run(main())


def test_as_many_as_are_needed_and_no_more(monkeypatch):
    monkeypatch.setattr(workers, "MOST", 3)
    seen, free, three = set(), threading.Event(), threading.Barrier(4)

    def wait(number):
        seen.add(threading.get_ident())
        if number < 3:
            three.wait()
        free.wait()
        return number

    async def main():
        made = Workers()
        tasks = [asyncio.ensure_future(made.run(wait, number)) for number in range(8)]
        await asyncio.to_thread(three.wait)
        free.set()
        assert await asyncio.gather(*tasks) == list(range(8))
        made.close()

    asyncio.run(main())
    assert len(seen) == 3


def test_what_was_begun_is_finished_when_nobody_waits():
    begun, free, done = threading.Event(), threading.Event(), threading.Event()

    def work():
        begun.set()
        free.wait()
        done.set()

    async def main():
        made = Workers()
        task = asyncio.ensure_future(made.run(work))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        free.set()
        await asyncio.to_thread(done.wait)
        assert await made.run(int) == 0
        made.close()

    asyncio.run(main())


def test_without_a_thread_it_is_done_here(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    async def main():
        made = Workers()
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert await made.run(threading.get_ident) == threading.get_ident()
        monkeypatch.undo()
        await made.run(int)
        made.close()

    asyncio.run(main())


def test_they_end():
    async def main():
        made = Workers()
        thread = await made.run(threading.current_thread)
        made.close()
        return thread

    thread = asyncio.run(main())
    thread.join()
    assert not thread.is_alive()
