"""What a guarded call costs on the client's side alone: `python benchmarks/stub.py [--quick]`.

The authority is a stub in a process of its own, raw asyncio that answers at once: an authority that thinks would hide
what client and journal cost. Bare httpx and httpx2, ours without journal, with one that does not wait for the disk and
with one that does take turns in each round; each ratio is the median of those of all rounds. One call is reserve and
commit: two posts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx
import httpx2
from guard import bare, bare_async, guarded, guarded_async, stub
from journal import NOISE, disk

from cycles import AsyncClient, Client, Config

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

LIBRARIES: Final = {"httpx": httpx, "httpx2": httpx2}
TASKS: Final = (1, 50)
KINDS: Final = ("bare", "none", "no fsync", "fsync")


class Goal(NamedTuple):
    """A ratio that is wanted: of *ours* to *theirs*, with *more* seconds added to theirs, at most *most*."""

    ours: str
    theirs: str
    most: float
    more: str | None = None


GOALS: Final = {
    "sync": (Goal("none", "bare", 1.05), Goal("no fsync", "none", 1.06), Goal("fsync", "none", 1.15, "disk")),
    "async, 1 task": (Goal("none", "bare", 1.03), Goal("no fsync", "none", 1.06), Goal("fsync", "none", 1.15, "disk")),
    "async, 50 tasks": (Goal("none", "bare", 1.10), Goal("no fsync", "none", 1.06)),
}

Rounds = dict[str, list[float]]


def settings(url: str) -> dict[str, Any]:
    """Return what a bare client is made with."""
    return {"base_url": url, "headers": {"x-cycles-api-key": "key"}, "timeout": 30.0}


def configs(url: str, directory: Path, engine: str) -> dict[str, Config]:
    """Return the configuration of each kind of client of ours."""
    base = Config(url, api_key="key", tenant="acme", http_engine=engine, settle_wait=60.0)
    return {
        "none": base.replace(journal_enabled=False),
        "no fsync": base.replace(journal_dir=str(directory / f"{engine}-a"), journal_fsync=False),
        "fsync": base.replace(journal_dir=str(directory / f"{engine}-b")),
    }


@contextlib.contextmanager
def steady() -> Iterator[None]:
    """Keep the collector out of what is measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def timed(work: Callable[[], object], count: int) -> float:
    """Return the seconds of one call, of *count*."""
    with steady():
        started = time.perf_counter()
        for _ in range(count):
            work()
        return (time.perf_counter() - started) / count


async def timed_async(work: Callable[[], Awaitable[object]], tasks: int, count: int) -> float:
    """Return the seconds of one call, of *count* in each of *tasks* that run at once."""

    async def some() -> None:
        for _ in range(count):
            await work()

    with steady():
        started = time.perf_counter()
        await asyncio.gather(*(some() for _ in range(tasks)))
        return (time.perf_counter() - started) / (count * tasks)


def in_sync(url: str, directory: Path, rounds: int) -> dict[str, Rounds]:
    """Measure blocking code; return the seconds of each round, by library and kind."""
    found: dict[str, Rounds] = {}
    scratch = directory / "scratch"
    scratch.mkdir()
    with contextlib.ExitStack() as stack:
        work: list[tuple[str, str, Callable[[], object]]] = []
        for library, http in LIBRARIES.items():
            theirs = stack.enter_context(http.Client(**settings(url)))
            work.append((library, "bare", lambda theirs=theirs: bare(theirs)))  # type: ignore[misc]
            for kind, config in configs(url, directory, library).items():
                client = stack.enter_context(Client(config))
                work.append((library, kind, lambda client=client: guarded(client)))  # type: ignore[misc]
        for number in range(rounds + 1):
            for library, kind, call in work:
                taken = timed(call, 20)
                if number:  # the first round warms up
                    found.setdefault(library, {}).setdefault(kind, []).append(taken)
            taken = disk(scratch, 10)
            for times in found.values():
                times.setdefault("disk", []).append(taken)
    return found


async def in_async(url: str, directory: Path, rounds: int, tasks: int) -> dict[str, Rounds]:
    """Measure asynchronous code of *tasks* at once."""
    found: dict[str, Rounds] = {}
    scratch = directory / f"scratch-{tasks}"
    scratch.mkdir()
    async with contextlib.AsyncExitStack() as stack:
        work: list[tuple[str, str, Callable[[], Awaitable[object]]]] = []
        for library, http in LIBRARIES.items():
            theirs = await stack.enter_async_context(http.AsyncClient(**settings(url)))
            work.append((library, "bare", lambda theirs=theirs: bare_async(theirs)))  # type: ignore[misc]
            for kind, config in configs(url, directory, library).items():
                client = await stack.enter_async_context(AsyncClient(config))
                work.append((library, kind, lambda client=client: guarded_async(client)))  # type: ignore[misc]
        for number in range(rounds + 1):
            for library, kind, call in work:
                taken = await timed_async(call, tasks, max(2, 20 // tasks))
                if number:
                    found.setdefault(library, {}).setdefault(kind, []).append(taken)
            taken = disk(scratch, 10)
            for times in found.values():
                times.setdefault("disk", []).append(taken)
    return found


def ratio_of(goal: Goal, times: Rounds) -> float:
    """Return the median of each round's ratio."""
    more = times[goal.more] if goal.more else [0.0] * len(times[goal.ours])
    rounds = zip(times[goal.ours], times[goal.theirs], more, strict=True)
    return statistics.median(ours / (theirs + added) for ours, theirs, added in rounds)


def told(name: str, found: dict[str, Rounds]) -> list[str]:
    """Print what was measured beside its goals; return what was missed."""
    missed = []
    base = found["httpx"]["bare"]
    for library, times in found.items():
        shown = "  ".join(
            f"{kind} {statistics.median(taken) * 1e6:.0f} µs"
            f" ({statistics.median(ours / theirs for ours, theirs in zip(taken, base, strict=True)):.2f})"
            for kind, taken in times.items()
        )
        print(f"{name}, {library}: {shown}")
        for goal in GOALS[name]:
            ratio = ratio_of(goal, times)
            is_missed = ratio > goal.most * (1 + NOISE)
            added = f" and {goal.more}" if goal.more else ""
            line = f"{name}, {library}: {goal.ours} to {goal.theirs}{added}"
            print(f"  {line:<58} {ratio:5.2f}  goal {goal.most:.2f}{'  MISSED' * is_missed}")
            missed.extend([line] * is_missed)
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description="A guarded call against a stub that answers at once.")
    parser.add_argument("--quick", action="store_true")
    rounds = 8 if parser.parse_args().quick else 40
    print("in brackets: times bare httpx")
    with stub() as url, tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        missed = told("sync", in_sync(url, directory, rounds))
        for tasks in TASKS:
            name = f"async, {tasks} task{'s' * (tasks > 1)}"
            missed += told(name, asyncio.run(in_async(url, directory, rounds, tasks)))
    return 3 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
