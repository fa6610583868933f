"""What a guarded call costs beside the two bare posts that it sends: `python benchmarks/calls.py [--quick]`.

The authority is a stub in a process of its own, for one that thinks would hide what client and journal cost. Bare
calls, guarded ones without a journal, with one that does not wait for the disk and with one that does take turns, in
many short rounds. All but the disk is compared by the process's CPU time: waiting for the stub is no part of it, and
other programs on the machine disturb it less. The base is a function that was decorated once; a with-block makes its
guard anew each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx
import httpx2
from _measure import Sheet, Times, in_turns, in_turns_async, main, middle, quiet, timed, timed_async
from _sides import (
    bare,
    bare_async,
    bare_settings,
    by_hand,
    config,
    decorated,
    decorated_async,
    guarded,
    guarded_async,
    stub,
)

from cycles import AsyncClient, Client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cycles import Config

LIBRARIES: Final = {"httpx": httpx, "httpx2": httpx2}
AT_ONCE: Final = 50
CALLS: Final = 10
"""Calls of one kind in a round, or one of each task where these are more."""

ROUNDS: Final = {1: 60, AT_ONCE: 25}
"""By the number of tasks that run at once; the quickest tenth counts (`_measure.quiet`)."""

CPU: Final = time.process_time
WALL: Final = time.perf_counter
TO_BARE: Final = {"sync": 1.05, "async, 1 task": 1.03, f"async, {AT_ONCE} tasks": 1.10}
"""What a guarded call may take beside two bare posts."""

JOURNAL: Final = 1.06
"""What a journal may take beside a file that is kept in the call: no journal can do without that file."""

FLUSHED: Final = {"sync": 1.15, "async, 1 task": 1.2, f"async, {AT_ONCE} tasks": 1.15}
"""The same beside a file that is kept and flushed. An async client flushes on a thread, for its loop must not wait."""


def kinds(url: str, directory: Path, engine: str) -> dict[str, Config]:
    """Return the configuration of each kind of client of ours."""
    base = config(url, http_engine=engine)
    on = base.replace(journal_enabled=True)
    return {
        "guarded": base,
        "journal": on.replace(journal_dir=str(directory / f"{engine}-a"), journal_fsync=False),
        "fsync": on.replace(journal_dir=str(directory / f"{engine}-b")),
    }


def clock_of(kind: str) -> Callable[[], float]:
    """Return the clock for a *kind* of calls: that of the wall for what waits for the disk."""
    return WALL if kind in {"fsync", "disk"} else CPU


def kept(directory: Path, *, fsync: bool) -> Callable[[], str]:
    """Return what keeps a file of the size of a record, in the fewest system calls, and returns its path.

    It is done where the journal does it, in each call: between two requests caches are cold and the disk idle, and many
    tasks have many files at once. In a loop that does nothing else the same system calls take a third of that.
    """
    numbers = itertools.count()
    content = b"x" * 700

    def keep() -> str:
        number = next(numbers)
        draft, record = f"{directory}/draft-{number}", f"{directory}/record-{number}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, content)
        if fsync:
            os.fsync(descriptor)
        os.close(descriptor)
        os.rename(draft, record)  # noqa: PTH104 - pathlib's own time is no part of it
        if fsync:
            descriptor = os.open(directory, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        return record

    return keep


def removing(call: Callable[[], str]) -> None:
    os.unlink(call())  # noqa: PTH108 - see `kept`


async def removing_async(call: Callable[[], Awaitable[str]]) -> None:
    os.unlink(await call())  # noqa: PTH108 - see `kept`


def told(sheet: Sheet, name: str, library: str, times: Times) -> None:
    """Note what was measured beside its goals."""
    posts = f"two bare posts of {library}: {middle(times, 'bare'):.0f} µs"
    call = f"the call without a journal: {middle(times, 'guarded'):.0f} µs"
    alone = f"that call with a file kept in it: {middle(times, 'file'):.0f} µs"
    both = f"that call with a file kept and flushed in it: {middle(times, 'disk'):.0f} µs"
    guarded = f"guarded call, {name}, {library}"
    sheet.add(f"{guarded}: to bare", quiet(times, "guarded", "bare"), TO_BARE[name], floor=posts)
    sheet.add(f"{guarded}: a guard made for each, to bare", quiet(times, "block", "bare"), floor=posts)
    if "by hand" in times:
        sheet.add(f"{guarded}: two posts with typed bodies, to bare", quiet(times, "by hand", "bare"), floor=posts)
    sheet.add(f"{guarded}: journal without fsync", quiet(times, "journal", "guarded"), floor=call)
    sheet.add(f"{guarded}: with a file kept in it, to the call", quiet(times, "file", "guarded"), floor=call)
    sheet.add(f"{guarded}: journal beside that file", quiet(times, "journal", "file"), JOURNAL, floor=alone)
    sheet.add(f"{guarded}: journal with fsync", quiet(times, "fsync", "disk"), FLUSHED[name], floor=both)


def blocking(sheet: Sheet, url: str, directory: Path, rounds: int) -> None:
    for library, http in LIBRARIES.items():
        with contextlib.ExitStack() as stack:
            theirs = stack.enter_context(http.Client(**bare_settings(config(url))))
            calls: dict[str, Callable[[], None]] = {"bare": partial(bare, theirs), "by hand": partial(by_hand, theirs)}
            for kind, settings in kinds(url, directory, library).items():
                client = stack.enter_context(Client(settings))
                calls[kind] = decorated(client)
                if kind == "guarded":
                    calls["block"] = partial(guarded, client)
                    for name in ("file", "disk"):
                        keep = kept(directory, fsync=name == "disk")
                        calls[name] = partial(removing, decorated(client, keep))
            samples: dict[str, Callable[[], float]] = {
                name: partial(timed, call, CALLS, clock_of(name), before=3) for name, call in calls.items()
            }
            told(sheet, "sync", library, in_turns(samples, rounds))


async def asynchronous(sheet: Sheet, url: str, directory: Path, rounds: int, tasks: int) -> None:
    for library, http in LIBRARIES.items():
        async with contextlib.AsyncExitStack() as stack:
            theirs = await stack.enter_async_context(http.AsyncClient(**bare_settings(config(url))))
            calls: dict[str, Callable[[], Awaitable[None]]] = {"bare": partial(bare_async, theirs)}
            for kind, settings in kinds(url, directory, library).items():
                client = await stack.enter_async_context(AsyncClient(settings))
                calls[kind] = decorated_async(client)
                if kind == "guarded":
                    calls["block"] = partial(guarded_async, client)
                    for name in ("file", "disk"):
                        keep = kept(directory, fsync=name == "disk")
                        calls[name] = partial(removing_async, decorated_async(client, keep))
            each = max(1, CALLS // tasks)
            samples: dict[str, Callable[[], Awaitable[float]]] = {
                name: partial(timed_async, call, each, clock_of(name), tasks=tasks, before=3)
                for name, call in calls.items()
            }
            told(sheet, f"async, {tasks} task{'s' * (tasks > 1)}", library, await in_turns_async(samples, rounds))


def work(sheet: Sheet) -> None:
    """Compare guarded calls with bare ones."""
    with stub() as url, tempfile.TemporaryDirectory() as made:
        blocking(sheet, url, Path(made), 2 if sheet.quick else ROUNDS[1])
        for tasks, rounds in ROUNDS.items():
            asyncio.run(asynchronous(sheet, url, Path(made), 2 if sheet.quick else rounds, tasks))


if __name__ == "__main__":
    main(work)
