"""What a guard inside a limit costs: `python benchmarks/limit.py [--quick]`.

Goals: 2 % of a guarded call over HTTP (on loopback, without journal) and 30 microseconds, 40 in asynchronous code; 100
tasks with 100 guards each within a second; 2 KiB for an open section. CPU time, the best of several rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from journal import ACTION, ACTUAL, ESTIMATE, authority, config

from cycles import AsyncClient, Client, Config, Guard, Limit, usd
from cycles.local import LocalAuthority

if TYPE_CHECKING:
    from collections.abc import Callable

RUN: Final = ("agent.run", "bench")
AMOUNT: Final = usd("1000")


def best(rounds: int, count: int, work: Callable[[], None], clock: Callable[[], float]) -> float:
    """Return the seconds of one of *count* pieces, in the best of *rounds*."""
    found = []
    for _ in range(rounds):
        started = clock()
        work()
        found.append((clock() - started) / count)
    return min(found)


def inner(client: Client, count: int, rounds: int) -> float:
    guard = Guard(ESTIMATE, action=ACTION, client=client, actual=lambda _: ACTUAL)

    @guard
    def work() -> None:
        return None

    def pieces() -> None:
        for _ in range(count):
            work()

    with Limit(AMOUNT, action=RUN, client=client):
        pieces()
        return best(rounds, count, pieces, time.process_time)


async def inner_async(client: AsyncClient, count: int, rounds: int) -> tuple[float, float]:
    """Return the seconds of one guard, and of 100 tasks with 100 guards each."""

    @Guard(ESTIMATE, action=ACTION, client=client, actual=lambda _: ACTUAL)
    async def work() -> None:
        return None

    async def task() -> None:
        for _ in range(100):
            await work()

    found, together = [], []
    async with Limit(AMOUNT, action=RUN, client=client):
        for _ in range(rounds):
            started = time.process_time()
            for _ in range(count):
                await work()
            found.append((time.process_time() - started) / count)
        for _ in range(3):
            started = time.process_time()
            await asyncio.gather(*(task() for _ in range(100)))
            together.append(time.process_time() - started)
    return min(found), min(together)


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


def outer(ready: dict[str, str], count: int, rounds: int) -> float:
    with Client(config(ready, Path(), journal_enabled=False)) as client:

        def pieces() -> None:
            for _ in range(count):
                with Guard(ESTIMATE, action=ACTION, client=client) as reservation:
                    reservation.commit(ACTUAL)

        pieces()
        return best(rounds, count, pieces, time.perf_counter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    count, rounds = (300, 5) if parser.parse_args().quick else (3000, 9)
    with LocalAuthority() as local:
        local.budget("tenant:acme", usd("100000"))
        settings: dict[str, Any] = {"api_key": local.key(tenant="acme"), "tenant": "acme", "journal_enabled": False}
        with Client(Config("local:", **settings), http_client=local.http_client()) as client:
            blocking, used = inner(client, count, rounds), memory(client, 1000)

        async def asynchronous() -> tuple[float, float]:
            async with AsyncClient(Config("local:", **settings), http_client=local.async_http_client()) as client:
                return await inner_async(client, count, rounds)

        awaited, together = asyncio.run(asynchronous())
    with authority() as ready:
        call = outer(ready, count // 10, rounds)
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"guard inside a limit      {blocking * 1e6:7.1f} us (goal 30)")
    print(f"  of a guarded call       {blocking / call:7.1%} (goal 2 %)")
    print(f"the same, asynchronous    {awaited * 1e6:7.1f} us (goal 40)")
    print(f"guarded call over HTTP    {call * 1e6:7.1f} us")
    print(f"100 tasks x 100 guards    {together:7.2f} s (goal 1)")
    print(f"an open section           {used:7.0f} bytes (goal 2048)")


if __name__ == "__main__":
    main()
