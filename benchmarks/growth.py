"""What a reserve costs by how many reservations are stored in the file: `python benchmarks/growth.py [--quick]`."""

from __future__ import annotations

import gc
import tempfile
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from _measure import Sheet, in_turns, main, middle, ratio
from _sides import ACTION, ACTUAL, ESTIMATE

from cycles import Client, Config
from cycles.local import LocalAuthority
from cycles.local.store.rows import SqliteBooks

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE: Final = 40
"""Reserves in one sample."""


def grown(path: Path, rows: int) -> Client:
    """Return a client of a ledger with *rows* reservations: finished, but for one in a hundred, and their replays."""
    client = Client(Config(f"local:{path}?usd=90000", tenant="acme", journal_enabled=False))
    held = client.reserve(ESTIMATE, action=ACTION, ttl=86_400)
    done = client.reserve(ESTIMATE, action=ACTION)
    done.commit(ACTUAL)
    authority = LocalAuthority.from_url(f"local:{path}")
    with authority.store.writing() as books:
        assert isinstance(books, SqliteBooks)  # types: its rows are written by hand
        for reservation, live in ((held, 1), (done, 0)):
            books.connection.execute(
                "INSERT INTO holds SELECT printf('%08x-%s', value, substr(reservation_id, 10)), tenant, "
                "lower(hex(randomblob(16))), scope_path, unit, estimate, status, created_at_ms - :rows + value, "
                "expires_at_ms, deadline_ms, finalized_at_ms, data FROM holds, "
                "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT :rows) SELECT * FROM n) "
                "WHERE reservation_id = :held AND (value % 100 = 0) = :live",
                {"held": reservation.id, "rows": rows, "live": live},
            )
        books.connection.execute(
            "INSERT INTO replays SELECT r.scope, h.idempotency_key, r.keep_until_ms, r.data "
            "FROM holds h, (SELECT * FROM replays LIMIT 1) r WHERE TRUE ON CONFLICT DO NOTHING"
        )
        (found,) = books.connection.execute("SELECT count(*) FROM holds").fetchone()
    assert found == rows + 2
    held.release()
    return client


def reserving(client: Client) -> float:
    """Return the seconds of one reserve; its commit is not counted."""
    gc.collect()
    taken = 0.0
    for _ in range(AT_ONCE):
        started = time.perf_counter()
        held = client.reserve(ESTIMATE, action=ACTION)
        taken += time.perf_counter() - started
        held.commit(ACTUAL)
    return taken / AT_ONCE


def work(sheet: Sheet) -> None:
    """Reserve in small and in large ledgers."""
    sizes = (100, 1_000) if sheet.quick else (1_000, 10_000, 100_000, 1_000_000)
    with tempfile.TemporaryDirectory() as made, ExitStack() as stack:
        samples: dict[str, Callable[[], float]] = {}
        for size in sizes:
            client = stack.enter_context(closing(grown(Path(made) / f"{size}.db", size)))
            samples[f"{size:,}"] = partial(reserving, client)
        times = in_turns(samples, 1 if sheet.quick else 10)
    least, *larger = samples
    for name in larger:
        goal = 1.3 if name == larger[-1] else None
        floor = f"with {least} stored: {middle(times, least):.0f} µs"
        sheet.add(f"a reserve with {name} reservations stored", ratio(times, name, least), goal, floor=floor)


if __name__ == "__main__":
    main(work)
