"""What a guarded call costs beside the two bare posts that it sends: `python benchmarks/guard.py [--quick]`.

Ours and theirs take turns, on an authority on loopback in a process of its own. A guarded call is reserve, section,
commit, without journal; theirs is two `httpx.Client.post(json=…)` and `.json()`, with the same bodies.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import httpx
from journal import ACTION, ACTUAL, ESTIMATE, NOISE, authority

from cycles import AsyncClient, Client, Config, Guard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TASKS: Final = 50


def bodies() -> tuple[dict[str, Any], dict[str, Any]]:
    reserve = {
        "idempotency_key": uuid.uuid4().hex,
        "subject": {"tenant": "acme"},
        "action": {"kind": ACTION[0], "name": ACTION[1]},
        "estimate": ESTIMATE.to_dict(),
        "ttl_ms": 60_000,
    }
    return reserve, {"idempotency_key": uuid.uuid4().hex, "actual": ACTUAL.to_dict()}


def bare(client: httpx.Client) -> None:
    reserve, commit = bodies()
    held = client.post("/v1/reservations", json=reserve).json()["reservation_id"]
    client.post(f"/v1/reservations/{held}/commit", json=commit).json()


async def bare_async(client: httpx.AsyncClient) -> None:
    reserve, commit = bodies()
    held = (await client.post("/v1/reservations", json=reserve)).json()["reservation_id"]
    (await client.post(f"/v1/reservations/{held}/commit", json=commit)).json()


def guarded(client: Client) -> None:
    with Guard(ESTIMATE, action=ACTION, client=client) as reservation:
        reservation.commit(ACTUAL)


async def guarded_async(client: AsyncClient) -> None:
    async with Guard(ESTIMATE, action=ACTION, client=client) as reservation:
        await reservation.commit(ACTUAL)


class Line:
    """One comparison: seconds of both, round after round.

    The *goal* is where we want to be; beyond the *bound* something has become slower, and the benchmark fails.
    """

    def __init__(self, name: str, *, goal: float, bound: float) -> None:
        self.name, self.goal, self.bound = name, goal, bound
        self.theirs: list[float] = []
        self.ours: list[float] = []

    def judge(self) -> bool:
        theirs, ours = statistics.median(self.theirs), statistics.median(self.ours)
        missed = ours / theirs > self.bound * (1 + NOISE)
        times = f"bare {theirs * 1e6:7.0f} µs  guarded {ours * 1e6:7.0f} µs"
        judged = "  MISSED" if missed else "" if ours / theirs <= self.goal else "  not there yet"
        print(f"{self.name:<26} {times}  ratio {ours / theirs:.2f}  goal {self.goal:.2f}  bound {self.bound}{judged}")
        return missed


def timed(work: Callable[[], object], count: int) -> float:
    gc.collect()
    started = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - started) / count


async def timed_async(work: Callable[[], Awaitable[object]], count: int) -> float:
    gc.collect()
    started = time.perf_counter()
    for _ in range(count):
        await work()
    return (time.perf_counter() - started) / count


async def timed_together(work: Callable[[], Awaitable[object]], count: int) -> float:
    async def some() -> None:
        for _ in range(count):
            await work()

    gc.collect()
    started = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(TASKS)))
    return (time.perf_counter() - started) / (count * TASKS)


async def asynchronous(config: Config, bare_client: httpx.AsyncClient, rounds: int) -> list[Line]:
    alone, together = (
        Line("async, one after the other", goal=1.10, bound=1.35),
        Line(f"async, {TASKS} tasks at once", goal=1.00, bound=1.8),
    )
    async with AsyncClient(config) as client, bare_client:
        for number in range(rounds + 1):
            found = (
                await timed_async(lambda: bare_async(bare_client), 30),
                await timed_async(lambda: guarded_async(client), 30),
                await timed_together(lambda: bare_async(bare_client), 4),
                await timed_together(lambda: guarded_async(client), 4),
            )
            if number:  # the first round warms up
                alone.theirs.append(found[0])
                alone.ours.append(found[1])
                together.theirs.append(found[2])
                together.ours.append(found[3])
    return [alone, together]


def main() -> int:
    parser = argparse.ArgumentParser(description="A guarded call beside two bare posts.")
    parser.add_argument("--quick", action="store_true")
    rounds = 6 if parser.parse_args().quick else 30
    with authority() as ready:
        config = Config(ready["base_url"], api_key=ready["api_key"], tenant="acme", journal_enabled=False)
        settings: dict[str, Any] = {
            "base_url": ready["base_url"],
            "headers": {"x-cycles-api-key": ready["api_key"]},
            "timeout": 30.0,
        }
        sync = Line("sync", goal=1.15, bound=1.25)
        with Client(config) as client, httpx.Client(**settings) as bare_client:
            for number in range(rounds + 1):
                theirs, ours = timed(lambda: bare(bare_client), 30), timed(lambda: guarded(client), 30)
                if number:
                    sync.theirs.append(theirs)
                    sync.ours.append(ours)
        lines = [sync, *asyncio.run(asynchronous(config, httpx.AsyncClient(**settings), rounds))]
    missed = [line.name for line in lines if line.judge()]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
