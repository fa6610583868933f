"""Connections are closed with their loop, one trio run after another too."""

from __future__ import annotations

import asyncio

import trio
import trio.lowlevel

from cycles._drivers.loop_end import LoopEnd


def watched():
    closed = []

    async def close():
        closed.append("closed")

    watch = LoopEnd(close)

    async def request():
        async with watch:
            await trio.lowlevel.checkpoint() if trio.lowlevel.in_trio_run() else await asyncio.sleep(0)

    return closed, request


def test_each_trio_run_closes_what_it_opened():
    closed, request = watched()
    trio.run(request)
    assert closed == ["closed"]
    trio.run(request)
    assert closed == ["closed"] * 2


def test_an_asyncio_run_closes_what_it_opened():
    closed, request = watched()
    asyncio.run(request())
    assert closed == ["closed"]
