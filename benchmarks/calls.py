"""What a guarded call costs beside the two bare posts that it sends: `python benchmarks/calls.py [--quick]`.

The authority is a stub in a process of its own, for one that thinks would hide what client and journal cost. Bare
calls, guarded ones without a journal, with one that does not wait for the disk and with one that does take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import httpx2
from _measure import Sheet, Times, in_turns, in_turns_async, main, middle, ratio, timed, timed_async
from _sides import bare, bare_async, bare_settings, config, guarded, guarded_async, stub

from cycles import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cycles import Config

LIBRARIES: Final = {"httpx": httpx, "httpx2": httpx2}
AT_ONCE: Final = 50
GOALS: Final = {"sync": 1.05, "async, 1 task": 1.03, f"async, {AT_ONCE} tasks": 1.10}


def kinds(url: str, directory: Path, engine: str) -> dict[str, Config]:
    """Return the configuration of each kind of client of ours."""
    base = config(url, http_engine=engine)
    on = base.replace(journal_enabled=True)
    return {
        "guarded": base,
        "journal": on.replace(journal_dir=str(directory / f"{engine}-a"), journal_fsync=False),
        "fsync": on.replace(journal_dir=str(directory / f"{engine}-b")),
    }


def disk(directory: Path, count: int = 10) -> float:
    """Return the seconds that the disk itself takes to keep a record: write, fsync, rename, fsync of the directory."""
    content = b"x" * 700
    started = time.perf_counter()
    for number in range(count):
        with (directory / "draft").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        (directory / "draft").rename(directory / f"record-{number}")
        descriptor = os.open(directory, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    return (time.perf_counter() - started) / count


def told(sheet: Sheet, name: str, library: str, times: Times) -> None:
    """Note what was measured beside its goals."""
    posts = f"two bare posts of {library}: {middle(times, 'bare'):.0f} µs"
    call = f"the call without a journal: {middle(times, 'guarded'):.0f} µs"
    both = f"that call and the disk's own time: {middle(times, 'guarded', 'disk'):.0f} µs"
    guarded = f"guarded call, {name}, {library}"
    sheet.add(f"{guarded}: to bare", ratio(times, "guarded", "bare"), GOALS[name], floor=posts)
    sheet.add(f"{guarded}: journal without fsync", ratio(times, "journal", "guarded"), 1.06, floor=call)
    if not name.endswith("tasks"):
        sheet.add(f"{guarded}: journal with fsync", ratio(times, "fsync", "guarded", "disk"), 1.15, floor=both)


def blocking(sheet: Sheet, url: str, directory: Path, rounds: int) -> None:
    for library, http in LIBRARIES.items():
        with contextlib.ExitStack() as stack:
            theirs = stack.enter_context(http.Client(**bare_settings(config(url))))
            samples: dict[str, Callable[[], float]] = {"bare": lambda: timed(lambda: bare(theirs), 20)}  # noqa: B023
            for kind, settings in kinds(url, directory, library).items():
                client = stack.enter_context(Client(settings))
                samples[kind] = lambda client=client: timed(lambda: guarded(client), 20)  # type: ignore[misc]
            samples["disk"] = lambda: disk(directory)
            told(sheet, "sync", library, in_turns(samples, rounds))


async def asynchronous(sheet: Sheet, url: str, directory: Path, rounds: int, tasks: int) -> None:
    async def writing() -> float:
        return disk(directory)

    def sample(work: Callable[[Any], Awaitable[None]], client: Any) -> Callable[[], Awaitable[float]]:
        return lambda: timed_async(lambda: work(client), max(2, 20 // tasks), tasks=tasks)

    for library, http in LIBRARIES.items():
        async with contextlib.AsyncExitStack() as stack:
            theirs = await stack.enter_async_context(http.AsyncClient(**bare_settings(config(url))))
            samples = {"bare": sample(bare_async, theirs)}
            for kind, settings in kinds(url, directory, library).items():
                samples[kind] = sample(guarded_async, await stack.enter_async_context(AsyncClient(settings)))
            samples["disk"] = writing
            name = f"async, {tasks} task{'s' * (tasks > 1)}"
            told(sheet, name, library, await in_turns_async(samples, rounds))


def work(sheet: Sheet) -> None:
    """Compare guarded calls with bare ones."""
    rounds = 2 if sheet.quick else 5
    with stub() as url, tempfile.TemporaryDirectory() as made:
        blocking(sheet, url, Path(made), rounds)
        for tasks in (1, AT_ONCE):
            asyncio.run(asynchronous(sheet, url, Path(made), rounds, tasks))


if __name__ == "__main__":
    main(work)
