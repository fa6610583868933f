"""Calls a second by the number of tasks that make them at once: `python benchmarks/tasks.py [--quick]`.

One call is reserve and commit. The authority is a stub in a process of its own; bare and guarded calls over httpx,
httpx2 and aiohttp take turns. `docs/throughput.svg` is drawn from it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import httpx
import httpx2
from _measure import Sheet, in_turns_async, main, timed_async
from _sides import bare_async, bare_settings, config, guarded_async, stub

from cycles import AsyncClient
from cycles._drivers.aiohttp_engine import AiohttpClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ENGINES: Final = {"httpx": httpx.AsyncClient, "httpx2": httpx2.AsyncClient, "aiohttp": AiohttpClient}
TASKS: Final = (1, 5, 20, 50, 100, 200, 500)


def sample(work: Callable[[Any], Awaitable[None]], client: Any, tasks: int) -> Callable[[], Awaitable[float]]:
    return lambda: timed_async(lambda: work(client), max(1, 40 // tasks), tasks=tasks)


async def at(tasks: int, url: str, rounds: int) -> dict[str, float]:
    """Return the calls a second of each kind, the best of *rounds*, with so many *tasks*."""
    samples: dict[str, Callable[[], Awaitable[float]]] = {}
    async with contextlib.AsyncExitStack() as stack:
        for engine, made in ENGINES.items():
            settings = bare_settings(config(url))
            theirs = await stack.enter_async_context(made(**settings))
            ours = await stack.enter_async_context(AsyncClient(config(url, http_engine=engine)))
            samples[f"{engine}, bare"] = sample(bare_async, theirs, tasks)
            samples[f"{engine}, guarded"] = sample(guarded_async, ours, tasks)
        times = await in_turns_async(samples, rounds)
    return {name: 1 / min(found) for name, found in times.items()}


def work(sheet: Sheet) -> None:
    """Measure throughput over the number of tasks."""
    rates: dict[str, float] = {}
    with stub() as url:
        for tasks in (1, 20) if sheet.quick else TASKS:
            rates = asyncio.run(at(tasks, url, 1 if sheet.quick else 2))
            for name, rate in rates.items():
                sheet.point(name, tasks, rate)
    if sheet.quick:
        return
    fast = rates["httpx, bare"] / rates["aiohttp, guarded"]
    sheet.add("guarded over aiohttp, 500 tasks: to bare httpx", fast, 0.25, floor="two bare posts of httpx")


if __name__ == "__main__":
    main(work)
