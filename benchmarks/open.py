"""Many guards open at once: `python benchmarks/open.py [--quick]`.

What they cost in threads and memory, and whether they keep their leases, on an authority on loopback in a process of
its own. Memory is the resident size of a fresh process whose threads all wait: each has an open guard, or, for
comparison, has sent the same request through a shared httpx.Client. The two take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
from journal import ACTION, ACTUAL, ESTIMATE

from cycles import AsyncClient, Client, Config, Guard, usd
from cycles.local import LocalAuthority

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_THREADS: Final = 2
"""Beside the callers' own."""
MOST_KIB, GOAL_KIB = 10.0, 8.0
"""Of memory for each open guard, beyond an idle thread with an httpx call behind it: where it fails, and the goal."""

failed: list[str] = []


def judge(what: str, *, ok: bool) -> None:
    print(f"{what}{'' if ok else '  MISSED'}", flush=True)
    if not ok:
        failed.append(what)


@contextmanager
def authority() -> Iterator[Config]:
    """An authority in a process of its own that extends as often as it is asked."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "ledger.db"
        with LocalAuthority(path) as local:
            local.tenant("acme", max_extensions=1_000_000)
            local.budget("tenant:acme", usd("9000"))
        command = [sys.executable, "-m", "cycles.cli", "serve", "--port", "0", "--json"]
        command += ["--db", str(path), "--tenant", "acme"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                ready = json.loads(process.stdout.readline())
                yield Config(
                    ready["base_url"], api_key=ready["api_key"], tenant="acme", journal_enabled=False, settle_wait=60.0
                )
            finally:
                process.terminate()


# -- threads and memory, in a process of their own ---------------------------------------------------------------------
def resident_kib() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0])


def waiting(kind: str, config: Config, count: int) -> dict[str, int]:
    """Have *count* threads wait, each with a guard that is open or with a request behind it."""
    done, begun = threading.Event(), threading.Semaphore(0)
    http = httpx.Client(base_url=config.base_url, headers={"x-cycles-api-key": config.api_key or ""}, timeout=30.0)
    client = Client(config)
    body = {"subject": {"tenant": "acme"}, "action": {"kind": ACTION[0], "name": ACTION[1]}}

    def post() -> None:
        sent = {**body, "idempotency_key": uuid.uuid4().hex, "estimate": ESTIMATE.to_dict()}
        http.post("/v1/reservations", json=sent).raise_for_status()

    post()
    client.reserve(ESTIMATE, action=ACTION).release()

    @Guard(ESTIMATE, action=ACTION, client=client, actual=lambda _: ACTUAL)
    def guarded() -> None:
        begun.release()
        done.wait()

    def bare() -> None:
        post()
        begun.release()
        done.wait()

    threads = [threading.Thread(target=guarded if kind == "guarded" else bare) for _ in range(count)]
    for thread in threads:
        thread.start()
        begun.acquire()  # one after the other: what is measured is waiting, not the burst
    figures = {"threads": threading.active_count() - count - 1, "kib": resident_kib()}
    done.set()
    for thread in threads:
        thread.join()
    return figures


def measured(kind: str, config: Config, count: int) -> dict[str, int]:
    """Measure in a fresh process."""
    command = [sys.executable, __file__, "--child", kind, str(count), config.base_url, config.api_key or ""]
    figures: dict[str, int] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return figures


def sizes(config: Config, count: int, rounds: int) -> None:
    found: dict[str, list[dict[str, int]]] = {"bare": [], "guarded": []}
    for _ in range(rounds):
        for kind, figures in found.items():
            figures.append(measured(kind, config, count))
    threads = max(figure["threads"] for figure in found["guarded"])
    judge(f"{count} open sync guards: {threads} more threads, at most {MOST_THREADS}", ok=threads <= MOST_THREADS)
    guarded, bare = (statistics.median(figure["kib"] for figure in found[kind]) for kind in ("guarded", "bare"))
    each = (guarded - bare) / count
    judge(
        f"{count} open sync guards: {each:.1f} KiB each beyond an idle thread ({bare / count:.1f} KiB), "
        f"goal {GOAL_KIB:.0f}, at most {MOST_KIB:.0f}",
        ok=each <= MOST_KIB,
    )


# -- leases ------------------------------------------------------------------------------------------------------------
class Tally:
    """How the guards ended."""

    def __init__(self) -> None:
        self.by_commit = self.late = self.lost = 0

    def add(self, via: str, *, lost: bool) -> None:
        self.by_commit += via == "commit"
        self.late += via != "commit"
        self.lost += lost

    def judge(self, what: str, count: int) -> None:
        ok = self.by_commit == count and not self.lost
        judge(f"{what}: {self.by_commit} of {count} committed in time, {self.lost} leases lost", ok=ok)


def short_sync(config: Config, count: int, ttl: float, seconds: float) -> None:
    tally, lock = Tally(), threading.Lock()
    started = threading.Barrier(count + 1)

    def hold(client: Client) -> None:
        with Guard(ESTIMATE, action=ACTION, client=client, ttl=ttl) as held:
            started.wait()
            time.sleep(seconds)
            settlement = held.commit(ACTUAL)
        with lock:
            tally.add(settlement.via, lost=held.state == "LOST" or held._section.lease_lost)

    with Client(config) as client:
        threads = [threading.Thread(target=hold, args=(client,)) for _ in range(count)]
        for thread in threads:
            thread.start()
        started.wait()
        for thread in threads:
            thread.join()
    tally.judge(f"{count} sync guards, leases of {ttl:.0f} s held for {seconds:.0f} s", count)


async def held_async(config: Config, count: int, ttl: float, seconds: float, at_once: int | None = None) -> None:
    """Hold *count* guards; only *at_once* of them open or end at a time, all when None.

    A reserve has 30 s, and here an authority answers some 200 requests a second: 10,000 that begin together can't all
    have an answer in time, and of commits that wait as long, some come after their leases.
    """
    tally, opened, began = Tally(), 0, time.perf_counter()
    lane, all_open, done = asyncio.Semaphore(at_once or count), asyncio.Event(), asyncio.Event()

    async def one(client: AsyncClient) -> None:
        nonlocal opened
        async with AsyncExitStack() as ending:
            async with lane:
                held = await ending.enter_async_context(Guard(ESTIMATE, action=ACTION, client=client, ttl=ttl))
            opened += 1
            if opened == count:
                all_open.set()
            await done.wait()
            async with lane:
                settlement = await held.commit(ACTUAL)
        tally.add(settlement.via, lost=held._section.lease_lost)

    async def end_later() -> float:
        await all_open.wait()
        opening = time.perf_counter() - began
        await asyncio.sleep(seconds)
        done.set()
        return opening

    # A group, for one that fails ends them all: nobody waits for ever for a guard that did not open.
    async with AsyncClient(config) as client, asyncio.TaskGroup() as group:
        ending = group.create_task(end_later())
        for _ in range(count):
            group.create_task(one(client))
    what = f"{count} async guards, leases of {ttl:.0f} s held for {seconds:.0f} s (opened in {ending.result():.0f} s)"
    tally.judge(what, count)


def main() -> int:
    parser = argparse.ArgumentParser(description="Many guards open at once.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", nargs=4, metavar=("KIND", "COUNT", "URL", "KEY"))
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.child:
        kind, number, url, key = options.child
        config = Config(url, api_key=key, tenant="acme", journal_enabled=False)
        print(json.dumps(waiting(kind, config, int(number))))
        return 0
    quick: bool = options.quick
    with authority() as config:
        if sys.platform == "linux":
            sizes(config, 1000, 1 if quick else 3)
        settings: list[tuple[Any, ...]] = [(100, 4.0, 6.0)] if quick else [(1000, 4.0, 60.0)]
        for count, ttl, seconds in settings:
            short_sync(config, count, ttl, seconds)
            asyncio.run(held_async(config, count, ttl, seconds))
        if not quick:
            asyncio.run(held_async(config, 10_000, 120.0, 150.0, at_once=50))
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
