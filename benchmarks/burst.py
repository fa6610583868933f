"""500 guards that begin at once: `python benchmarks/burst.py [--quick]`.

The same requests through bare httpx take turns with ours, on an authority in a process of its own. All must succeed,
and ours may take at most as long: it sends no more at a time than httpx has connections.
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

from cycles import AsyncClient, Config

BOUND = 1.0
NOISE = 0.1


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
    for name, found in times.items():
        print(f"{name:<8} {count} at once {statistics.median(found):6.2f} s")
    ratio = statistics.median(times["cycles"]) / statistics.median(times["httpx"])
    missed = ratio > BOUND + NOISE
    print(f"ratio {ratio:.2f}  at most {BOUND}{'  MISSED' * missed}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
