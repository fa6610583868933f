"""Many sync guards open at once: `python benchmarks/open.py [--quick]`.

What they cost in threads and memory, and whether they keep their leases, on an authority in a process of its own.
Memory is the resident size of a fresh process whose threads all wait: each has an open guard, or has sent the same
request through a shared httpx.Client.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
from _measure import Sheet, main
from _sides import ACTION, ACTUAL, ESTIMATE, authority, bare_settings, config, reserve_body

from cycles import Client, Guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles import Config

OWN_CALLS: Final = 8
"""Calls of the program's own beneath each. With none at all, a request of httpx just fits into the first page of its
thread's Python frames, and a guarded one just does not."""


def resident_kib() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmRSS:")[1].split()[0])


def beneath(work: Callable[[], None], calls: int = OWN_CALLS) -> None:
    """Do *work* beneath so many *calls* of the program's own."""
    if calls == 0:
        work()
    else:
        beneath(work, calls - 1)


def waiting(kind: str, settings: Config, count: int) -> dict[str, int]:
    """Have *count* threads wait, each with a guard that is open or with a request behind it."""
    done, begun = threading.Event(), threading.Semaphore(0)
    http, client = httpx.Client(**bare_settings(settings)), Client(settings)

    def post() -> None:
        http.post("/v1/reservations", json=reserve_body()).raise_for_status()

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

    work = guarded if kind == "guarded" else bare
    threads = [threading.Thread(target=beneath, args=(work,)) for _ in range(count)]
    for thread in threads:
        thread.start()
        begun.acquire()  # one after the other: what is measured is waiting, not the burst
    figures = {"threads": threading.active_count() - count - 1, "kib": resident_kib()}
    done.set()
    for thread in threads:
        thread.join()
    return figures


def measured(kind: str, settings: Config, count: int) -> dict[str, int]:
    """Measure in a fresh process."""
    command = [sys.executable, __file__, "child", kind, str(count), settings.base_url, settings.api_key or ""]
    figures: dict[str, int] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return figures


def sizes(sheet: Sheet, settings: Config, count: int, rounds: int) -> None:
    found: dict[str, list[dict[str, int]]] = {"bare": [], "guarded": []}
    for _ in range(rounds):
        for kind, figures in found.items():
            figures.append(measured(kind, settings, count))
    threads = max(figure["threads"] for figure in found["guarded"])
    sheet.add("threads of 1,000 open sync guards, beside the callers' own", threads, 2)
    guarded, bare = (statistics.median(figure["kib"] for figure in found[kind]) for kind in ("guarded", "bare"))
    floor = f"an idle thread with an httpx request behind it: {bare / count:.0f} KiB"
    sheet.add("memory of each, beyond an idle thread", (guarded - bare) / count, 8.0, unit="KiB", floor=floor)


def short_leases(sheet: Sheet, settings: Config, count: int, seconds: float) -> None:
    late, lock = 0, threading.Lock()
    started = threading.Barrier(count + 1)

    def hold(client: Client) -> None:
        nonlocal late
        with Guard(ESTIMATE, action=ACTION, client=client, ttl=4.0) as held:
            started.wait()
            time.sleep(seconds)
            settlement = held.commit(ACTUAL)
        with lock:
            late += settlement.via != "commit" or held._section.lease_lost

    with Client(settings) as client:
        threads = [threading.Thread(target=hold, args=(client,)) for _ in range(count)]
        for thread in threads:
            thread.start()
        started.wait()
        for thread in threads:
            thread.join()
    sheet.add("1,000 sync guards, leases of 4 s held for 30 s: not committed in time", late, 0)


def work(sheet: Sheet) -> None:
    """Hold many sync guards open."""
    count = 50 if sheet.quick else 1000
    with authority() as served:
        if sys.platform == "linux":
            sizes(sheet, served, count, 1 if sheet.quick else 3)
        short_leases(sheet, served, count, 6.0 if sheet.quick else 30.0)


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        kind, number, url, key = sys.argv[2:]
        print(json.dumps(waiting(kind, config(url, api_key=key), int(number))))
        sys.exit()
    main(work)
