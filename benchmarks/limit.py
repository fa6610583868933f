"""What a guard inside a limit costs: `python benchmarks/limit.py [--quick]`.

It asks nobody, so all of it is CPU time; the best of several rounds counts, since noise only adds.
"""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from typing import Any, Final

from _measure import Sheet, main, timed, timed_async
from _sides import ACTION, ACTUAL, ESTIMATE, config, guarded, stub

from cycles import AsyncClient, Client, Config, Guard, Limit, usd
from cycles.local import LocalAuthority

RUN: Final = ("agent.run", "bench")
AMOUNT: Final = usd("1000")
CPU: Final = time.process_time


def inner(client: Client, count: int, rounds: int) -> float:
    """Return the seconds of one guard."""

    @Guard(ESTIMATE, action=ACTION, client=client, actual=lambda _: ACTUAL)
    def work() -> None:
        return None

    with Limit(AMOUNT, action=RUN, client=client):
        return min(timed(work, count, CPU) for _ in range(rounds))


async def inner_async(settings: Config, authority: LocalAuthority, count: int, rounds: int) -> tuple[float, float]:
    """Return the seconds of one guard, and of 100 tasks with 100 guards each."""
    async with AsyncClient(settings, http_client=authority.async_http_client()) as client:

        @Guard(ESTIMATE, action=ACTION, client=client, actual=lambda _: ACTUAL)
        async def work() -> None:
            return None

        async with Limit(AMOUNT, action=RUN, client=client):
            one = min([await timed_async(work, count, CPU) for _ in range(rounds)])
            together = min([await timed_async(work, 100, CPU, tasks=100) for _ in range(3)])
    return one, together * 100 * 100


def memory(client: Client, count: int) -> float:
    """Return the bytes of an open section."""
    with Limit(AMOUNT, action=RUN, client=client):
        client.reserve(ESTIMATE, action=ACTION).release()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        held = [client.reserve(ESTIMATE, action=ACTION) for _ in range(count)]
        used = (tracemalloc.get_traced_memory()[0] - before) / count
        tracemalloc.stop()
        for reservation in held:
            reservation.release()
    return used


def work(sheet: Sheet) -> None:
    """Measure guards inside a limit."""
    count, rounds = (300, 3) if sheet.quick else (3000, 9)
    with LocalAuthority() as local:
        local.budget("tenant:acme", usd("100000"))
        settings: dict[str, Any] = {"api_key": local.key(tenant="acme"), "tenant": "acme", "journal_enabled": False}
        with Client(Config("local:", **settings), http_client=local.http_client()) as client:
            blocking, used = inner(client, count, rounds), memory(client, 1000)
        awaited, together = asyncio.run(inner_async(Config("local:", **settings), local, count, rounds))
    with stub() as url, Client(config(url)) as client:
        call = min(timed(lambda: guarded(client), count // 10) for _ in range(rounds))
    sheet.add("guard inside a limit, sync", blocking * 1e6, 30.0, unit="µs")
    sheet.add("guard inside a limit, async", awaited * 1e6, 40.0, unit="µs")
    floor = f"a guarded call over HTTP to a stub: {call * 1e6:.0f} µs"
    sheet.add("guard inside a limit, of a guarded call", blocking / call * 100, 2.0, unit="%", floor=floor)
    sheet.add("100 tasks with 100 guards each inside a limit", together, 1.0, unit="s")
    sheet.add("an open section inside a limit", used, 2048.0, unit="bytes")


if __name__ == "__main__":
    main(work)
