"""What the settlement journal costs: `python benchmarks/journal.py [--quick]`.

Guarded calls (reserve and commit over loopback, the authority in a process of its own) with and without a journal take
turns, so that a machine that slows down slows both. Exits with 3 when a bound is missed by more than the noise margin.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cycles import AsyncClient, Client, Config, usd
from cycles._core.record_format import dump, name_of
from cycles._core.records import Pending
from cycles._core.requests import terms
from cycles._journal.partitions import partition_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOISE: Final = 0.05
"""How much a ratio may miss its bound by before it counts."""

ACTION: Final = ("llm.completion", "gpt-4o")
ESTIMATE, ACTUAL = usd("0.0001"), usd("0.00005")
failed: list[str] = []


def judged(name: str, value: float, bound: float, unit: str = "", *, least: bool = False) -> None:
    """Print a figure beside its bound, and note when it is missed."""
    missed = value < bound * (1 - NOISE) if least else value > bound * (1 + NOISE)
    failed.extend([name] * missed)
    print(f"{name:<62} {value:8.2f}{unit}  {'at least' if least else 'at most'} {bound:g}{unit}{'  MISSED' * missed}")


@contextmanager
def authority() -> Iterator[dict[str, str]]:
    """An authority in memory, in a process of its own."""
    command = [sys.executable, "-m", "cycles.cli", "serve", "--port", "0", "--json", "--budget", "tenant:acme=usd:9000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def config(ready: dict[str, str], directory: Path, **settings: Any) -> Config:
    given = {"api_key": ready["api_key"], "tenant": "acme", "journal_dir": str(directory), **settings}
    return Config(ready["base_url"], **{"settle_wait": 60.0, **given})


def calls(client: Client, count: int) -> float:
    """Return the seconds of one guarded call, of *count*."""
    started = time.perf_counter()
    for _ in range(count):
        client.reserve(ESTIMATE, action=ACTION).commit(ACTUAL)
    return (time.perf_counter() - started) / count


def disk(directory: Path, count: int) -> float:
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


def one_call(ready: dict[str, str], directory: Path, rounds: int) -> None:
    scratch = directory / "scratch"
    scratch.mkdir()
    kinds = {
        "none": Client(config(ready, directory, journal_enabled=False)),
        "no fsync": Client(config(ready, directory / "a", journal_fsync=False)),
        "fsync": Client(config(ready, directory / "b")),
    }
    samples: dict[str, Callable[[int], float]] = {name: partial(calls, client) for name, client in kinds.items()}
    samples["disk"] = partial(disk, scratch)
    times: dict[str, list[float]] = {name: [] for name in samples}
    for number in range(rounds + 1):
        for name, sample in samples.items():
            taken = sample(20)
            if number:  # the first round warms up
                times[name].append(taken)
    for client in kinds.values():
        client.close()
    middle = {name: statistics.median(found) for name, found in times.items()}
    for name, seconds in middle.items():
        print(f"  {name:<10} {seconds * 1e6:8.0f} µs")
    judged("guarded call, journal without fsync, to one without journal", middle["no fsync"] / middle["none"], 1.08)
    both = middle["none"] + middle["disk"]
    judged("guarded call, journal with fsync, to call and disk together", middle["fsync"] / both, 1.3)


class Longest:
    """The longest that one callback has held up the event loop, in seconds, garbage collections apart."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> Longest:
        self._run = run = asyncio.Handle._run

        def timed(handle: asyncio.Handle) -> None:
            started = time.perf_counter()
            run(handle)
            self.seconds = max(self.seconds, time.perf_counter() - started)

        gc.collect()
        gc.disable()
        asyncio.Handle._run = timed  # type: ignore[assignment,method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        gc.enable()
        asyncio.Handle._run = self._run  # type: ignore[method-assign]


async def ending_at_once(ready: dict[str, str], directory: Path, sections: int) -> float:
    async with AsyncClient(config(ready, directory / "c", read_timeout=60.0)) as client:
        held = await asyncio.gather(*(client.reserve(ESTIMATE, action=ACTION) for _ in range(sections)))
        with Longest() as longest:
            ended = await asyncio.gather(*(reservation.commit(ACTUAL) for reservation in held))
        assert all(settlement.state == "COMMITTED" for settlement in ended)
        return longest.seconds


def recovery(directory: Path, records: int) -> float:
    """Return the records a second that are recovered against an authority in this process, on a file."""
    url = f"local:{directory / 'ledger.db'}?usd=9000"
    wanted = terms(ESTIMATE, action=ACTION, levels={"tenant": "acme"})
    settings = {"tenant": "acme", "journal_dir": str(directory / "d"), "journal_fsync": False}
    target = directory / "d" / partition_of(url, "acme", None)
    with Client(Config(url, **settings)) as client:
        held = [client.reserve(ESTIMATE, action=ACTION, ttl=3600) for _ in range(records)]
    target.mkdir(parents=True, exist_ok=True)
    for number, reservation in enumerate(held):
        pending = Pending(reservation_id=reservation.id, terms=wanted, actual=ACTUAL, key=f"key-{number}")
        (target / name_of(pending)).write_bytes(dump(pending, None, ""))
    started = time.perf_counter()
    with Client(Config(url, **settings)) as client:
        drained = client.drain(600)
    taken = time.perf_counter() - started
    left = list(target.glob("v2-*.json"))
    assert not left, f"{len(left)} left, {drained}"
    return records / taken


def startup(directory: Path, rounds: int) -> float:
    """Return the milliseconds that an empty journal adds to making a client."""
    times: dict[bool, list[float]] = {True: [], False: []}
    (directory / "e").mkdir()
    for _ in range(rounds):
        for enabled, found in times.items():
            started = time.perf_counter()
            client = Client(
                Config("http://127.0.0.1:9", api_key="k", journal_enabled=enabled, journal_dir=str(directory / "e"))
            )
            found.append(time.perf_counter() - started)
            client.close()
    return (statistics.median(times[True]) - statistics.median(times[False])) * 1000


def main() -> int:
    parser = argparse.ArgumentParser(description="What the settlement journal costs.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--dir", help="Where to write; the default is the disk of the temporary directory.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as made, authority() as ready:
        directory = Path(made)
        one_call(ready, directory, 10 if options.quick else 60)
        longest = asyncio.run(ending_at_once(ready, directory, 100 if options.quick else 500))
        judged("longest hold-up of the loop while sections end at once", longest * 1000, 20.0, " ms")
        rate = recovery(directory, 500 if options.quick else 10_000)
        judged("records recovered a second", rate, 500, least=True)
        judged("what an empty journal adds to a client's start", startup(directory, 50), 5.0, " ms")
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
