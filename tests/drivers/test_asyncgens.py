"""Async generators that the event loop is not told about."""

from __future__ import annotations

import asyncio
import sys

import pytest

from cycles._drivers.asyncgens import running_untold


async def _one():
    yield 1


async def _two(wait):
    """Begin one generator before a wait, and one after it."""
    first, second = _one(), _one()
    await anext(first)
    got = await wait()
    await anext(second)
    return got, first, second


def test_the_loop_learns_of_its_own_generators_only():
    async def other():
        told = _one()
        await anext(told)
        return told

    async def main():
        task = asyncio.ensure_future(other())  # runs while the untold work waits
        got, *untold = await running_untold(_two(lambda: asyncio.sleep(0.001, "slept")))
        told = await task
        assert got == "slept"
        known = asyncio.get_running_loop()._asyncgens
        assert told in known
        assert not any(generator in known for generator in untold)

    asyncio.run(main())


def test_a_cancellation_is_the_works_own_to_see():
    seen = []

    async def waits():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as cancelled:
            seen.append(cancelled)
            raise

    async def main():
        task = asyncio.ensure_future(running_untold(waits()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert len(seen) == 1


def test_closing_closes_the_work():
    seen = []

    async def waits():
        try:
            await asyncio.sleep(0)
        finally:
            seen.append("closed")

    steps = running_untold(waits())
    assert steps.send(None) is None
    steps.close()
    assert seen == ["closed"]
    assert sys.get_asyncgen_hooks() == (None, None)
