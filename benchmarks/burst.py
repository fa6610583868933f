"""500 tasks that begin at once: `python benchmarks/burst.py [--quick]`.

500 reserves, and then 500 tasks that make three guarded calls each, beside the same requests bare over the same
library. The authority is in a process of its own, on a file. What is not answered, not settled or left held is counted.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import httpx2
from _measure import Sheet, in_turns_async, main, middle, ratio
from _sides import ACTION, ESTIMATE, authority, bare_async, bare_settings, reserve_body

from cycles import AsyncClient, CyclesError, Guard
from cycles._drivers.aiohttp_engine import AiohttpClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cycles import AsyncReservation, Config

CALLS: Final = 3


async def together(work: Callable[[], Awaitable[object]], count: int) -> float:
    """Return the seconds that *count* tasks take, which begin at once."""
    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(count)))
    return time.perf_counter() - started


async def bare_reserves(client: Any, count: int) -> float:
    async def one() -> None:
        (await client.post("/v1/reservations", json=reserve_body())).raise_for_status()

    return await together(one, count)


async def bare_calls(client: Any, tasks: int) -> float:
    async def some() -> None:
        for _ in range(CALLS):
            await bare_async(client)

    return await together(some, tasks)


class Ours:
    """The same by our client, and what went wrong."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.errors = 0

    async def reserves(self, count: int) -> float:
        held: list[AsyncReservation] = []

        async def one() -> None:
            try:
                held.append(await self.client.reserve(ESTIMATE, action=ACTION))
            except CyclesError:
                self.errors += 1

        taken = await together(one, count)
        await asyncio.gather(*(reservation.release() for reservation in held))
        return taken

    async def calls(self, tasks: int) -> float:
        async def some() -> None:
            for _ in range(CALLS):
                try:
                    async with Guard(ESTIMATE, action=ACTION, agent="burst", client=self.client) as held:
                        held.report(actual=ESTIMATE)
                    self.errors += held.state != "COMMITTED"
                except CyclesError:
                    self.errors += 1

        taken = await together(some, tasks)
        self.errors += len([row async for row in self.client.reservations(status="ACTIVE", agent="burst")])
        return taken


async def compare(sheet: Sheet, served: Config, engine: str, made: Any) -> None:
    rounds, tasks = (1, 50) if sheet.quick else (1, 500)
    async with AsyncClient(served.replace(http_engine=engine)) as ours, made(**bare_settings(served)) as theirs:
        guards = Ours(ours)
        times = await in_turns_async(
            {
                "bare reserves": lambda: bare_reserves(theirs, tasks),
                "reserves": lambda: guards.reserves(tasks),
                "bare calls": lambda: bare_calls(theirs, tasks),
                "calls": lambda: guards.calls(tasks),
            },
            rounds,
        )
    for what, name in (("reserves", f"{tasks} reserves at once"), ("calls", f"{tasks} tasks x {CALLS} guarded calls")):
        floor = f"the same requests, bare over {engine}: {middle(times, f'bare {what}', unit=1):.2f} s"
        sheet.add(f"{name}, {engine}", ratio(times, what, f"bare {what}"), 1.1, floor=floor)
    sheet.add(f"errors of {tasks} tasks at once, {engine}", guards.errors, 0)


def work(sheet: Sheet) -> None:
    """Begin many guards at once."""
    with authority() as served:
        asyncio.run(compare(sheet, served, "httpx2", httpx2.AsyncClient))
        asyncio.run(compare(sheet, served, "aiohttp", AiohttpClient))


if __name__ == "__main__":
    main(work)
