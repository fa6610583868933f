"""500 tasks that begin at once: `python benchmarks/burst.py [--quick]`.

The same requests through bare httpx take turns with ours, on an authority in a process of its own. All must succeed,
and ours may take at most as long: it sends no more at a time than it keeps connections alive. Then each task makes
three guarded calls, over httpx and over aiohttp; all 1,500 must be settled, and over aiohttp within 1.3 of bare httpx
with the same engine.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import statistics
import sys
import time
import uuid

import httpx
from journal import ACTION, ESTIMATE, authority

from cycles import AsyncClient, Config, Guard
from cycles._drivers.aiohttp_engine import AiohttpClient

BOUND, FAST_GOAL, FAST_BOUND = 1.0, 1.3, 1.6
NOISE = 0.1
CALLS = 3


async def ours(ready: dict[str, str], count: int) -> float:
    config = Config(ready["base_url"], api_key=ready["api_key"], tenant="acme", journal_enabled=False)
    async with AsyncClient(config) as client:
        started = time.perf_counter()
        held = await asyncio.gather(*(client.reserve(ESTIMATE, action=ACTION) for _ in range(count)))
        taken = time.perf_counter() - started
        assert all(reservation.id for reservation in held)
        return taken


async def theirs(ready: dict[str, str], count: int) -> float:
    headers = {"x-cycles-api-key": ready["api_key"]}
    body = {
        "subject": {"tenant": "acme"},
        "action": {"kind": ACTION[0], "name": ACTION[1]},
        "estimate": ESTIMATE.to_dict(),
    }
    timeout = httpx.Timeout(30.0, pool=None)
    async with httpx.AsyncClient(base_url=ready["base_url"], headers=headers, timeout=timeout) as client:

        async def one() -> httpx.Response:
            return await client.post("/v1/reservations", json={**body, "idempotency_key": uuid.uuid4().hex})

        started = time.perf_counter()
        answers = await asyncio.gather(*(one() for _ in range(count)))
        taken = time.perf_counter() - started
        assert {answer.status_code for answer in answers} == {200}
        return taken


async def bare_calls(ready: dict[str, str], tasks: int) -> float:
    """Reserve and commit in each of *tasks*, three times, through bare httpx over aiohttp."""
    headers = {"x-cycles-api-key": ready["api_key"]}
    body = {
        "subject": {"tenant": "acme"},
        "action": {"kind": ACTION[0], "name": ACTION[1]},
        "estimate": ESTIMATE.to_dict(),
    }
    actual = {"actual": ESTIMATE.to_dict()}
    async with AiohttpClient(base_url=ready["base_url"], headers=headers, timeout=60.0) as client:

        async def some() -> None:
            for _ in range(CALLS):
                reserved = await client.post("/v1/reservations", json={**body, "idempotency_key": uuid.uuid4().hex})
                path = f"/v1/reservations/{reserved.json()['reservation_id']}/commit"
                (await client.post(path, json={**actual, "idempotency_key": uuid.uuid4().hex})).raise_for_status()

        started = time.perf_counter()
        await asyncio.gather(*(some() for _ in range(tasks)))
        return time.perf_counter() - started


async def guarded_calls(ready: dict[str, str], tasks: int, engine: str) -> float:
    """Make three guarded calls in each of *tasks*; all must be settled, and nothing left held."""
    settings = {"api_key": ready["api_key"], "tenant": "acme", "journal_enabled": False, "http_engine": engine}
    states: list[str] = []
    async with AsyncClient(Config(ready["base_url"], settle_wait=60.0, **settings)) as client:

        async def some() -> None:
            for _ in range(CALLS):
                async with Guard(ESTIMATE, action=ACTION, agent="burst", client=client) as held:
                    held.report(actual=ESTIMATE)
                states.append(str(held.state))

        started = time.perf_counter()
        await asyncio.gather(*(some() for _ in range(tasks)))
        taken = time.perf_counter() - started
        left = [row async for row in client.reservations(status="ACTIVE", agent="burst")]
    assert states == ["COMMITTED"] * (CALLS * tasks)
    assert not left
    return taken


def calls(ready: dict[str, str], tasks: int, rounds: int) -> bool:
    """Compare the calls; return whether ours took too long."""
    times: dict[str, list[float]] = {"bare over aiohttp": [], "guarded over aiohttp": [], "guarded over httpx": []}
    asyncio.run(guarded_calls(ready, 10, "aiohttp"))  # warms up
    for number in range(rounds):
        times["bare over aiohttp"].append(asyncio.run(bare_calls(ready, tasks)))
        times["guarded over aiohttp"].append(asyncio.run(guarded_calls(ready, tasks, "aiohttp")))
        if not number:
            times["guarded over httpx"].append(asyncio.run(guarded_calls(ready, tasks, "httpx")))
    for name, found in times.items():
        print(f"{name:<22} {tasks} tasks x {CALLS} calls {statistics.median(found):6.2f} s")
    ratio = statistics.median(times["guarded over aiohttp"]) / statistics.median(times["bare over aiohttp"])
    missed = ratio > FAST_BOUND + NOISE
    print(f"ratio over aiohttp {ratio:.2f}  goal {FAST_GOAL}, at most {FAST_BOUND}{'  MISSED' * missed}")
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description="Guards that begin at once, beside bare httpx.")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    count, rounds = 500, 1 if options.quick else 5
    times: dict[str, list[float]] = {"httpx": [], "cycles": []}
    with authority() as ready:
        for _ in range(rounds):
            times["httpx"].append(asyncio.run(theirs(ready, count)))
            times["cycles"].append(asyncio.run(ours(ready, count)))
        slow = calls(ready, 150 if options.quick else 500, 5)
    for name, found in times.items():
        print(f"{name:<8} {count} at once {statistics.median(found):6.2f} s")
    ratio = statistics.median(times["cycles"]) / statistics.median(times["httpx"])
    missed = ratio > BOUND + NOISE
    print(f"ratio {ratio:.2f}  at most {BOUND}{'  MISSED' * missed}")
    return 3 if missed or slow else 0


if __name__ == "__main__":
    sys.exit(main())
