"""What the settlement journal costs beside a call's own time (`calls.py`): `python benchmarks/journal.py [--quick]`.

How long it holds an event loop up, how fast it is recovered, and what it adds to a client's start.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from _measure import Sheet, in_turns, main
from _sides import ACTION, ACTUAL, ESTIMATE, config, stub

from cycles import AsyncClient, Client, Config
from cycles._core.record_format import dump, name_of
from cycles._core.records import Pending
from cycles._core.requests import terms
from cycles._journal.partitions import partition_of


class Longest:
    """The longest that one callback has held up the event loop, in seconds, garbage collections apart."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> Longest:
        self._run = asyncio.Handle._run

        def timed(handle: asyncio.Handle) -> None:
            started = time.perf_counter()
            self._run(handle)
            self.seconds = max(self.seconds, time.perf_counter() - started)

        gc.collect()
        gc.disable()
        asyncio.Handle._run = timed  # type: ignore[assignment,method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        gc.enable()
        asyncio.Handle._run = self._run  # type: ignore[method-assign]


async def ending_at_once(settings: Config, sections: int) -> float:
    """Return the longest hold-up of the loop while so many sections end."""
    async with AsyncClient(settings) as client:
        held = await asyncio.gather(*(client.reserve(ESTIMATE, action=ACTION) for _ in range(sections)))
        with Longest() as longest:
            ended = await asyncio.gather(*(reservation.commit(ACTUAL) for reservation in held))
        assert all(settlement.state == "COMMITTED" for settlement in ended)
        return longest.seconds


def recovered(directory: Path, records: int) -> float:
    """Return the records a second that are recovered against an authority in this process, on a file."""
    url = f"local:{directory / 'ledger.db'}?usd=9000"
    wanted = terms(ESTIMATE, action=ACTION, levels={"tenant": "acme"})
    settings = Config(url, tenant="acme", journal_dir=str(directory / "d"), journal_fsync=False)
    target = directory / "d" / partition_of(url, "acme", None)
    with Client(settings) as client:
        held = [client.reserve(ESTIMATE, action=ACTION, ttl=3600) for _ in range(records)]
    target.mkdir(parents=True, exist_ok=True)
    for number, reservation in enumerate(held):
        pending = Pending(reservation_id=reservation.id, terms=wanted, actual=ACTUAL, key=f"key-{number}")
        (target / name_of(pending)).write_bytes(dump(pending, None, ""))
    started = time.perf_counter()
    with Client(settings) as client:
        client.drain(600)
    taken = time.perf_counter() - started
    assert not list(target.glob("v2-*.json"))
    return records / taken


def start(settings: Config) -> float:
    """Return the seconds that making a client takes."""
    started = time.perf_counter()
    client = Client(settings)
    taken = time.perf_counter() - started
    client.close()
    return taken


def work(sheet: Sheet) -> None:
    """Measure what the journal does beside calls."""
    with tempfile.TemporaryDirectory() as made, stub() as url:
        on = config(url, journal_enabled=True, journal_dir=str(Path(made) / "journal"))
        longest = asyncio.run(ending_at_once(on, 50 if sheet.quick else 500))
        sheet.add("longest hold-up of the loop while 500 async sections end", longest * 1e3, 20.0, unit="ms")
        rate = recovered(Path(made), 50 if sheet.quick else 2_000)
        sheet.add("records recovered in a second", rate, 500.0, least=True)
        kinds = {"on": on, "off": on.replace(journal_enabled=False)}
        times = in_turns({name: partial(start, kind) for name, kind in kinds.items()}, 5 if sheet.quick else 50)
        added = statistics.median(times["on"]) - statistics.median(times["off"])
        sheet.add("what an empty journal adds to a client's start", added * 1e3, 5.0, unit="ms")


if __name__ == "__main__":
    main(work)
