"""What an authority costs on a file and on PostgreSQL: `python benchmarks/stores.py [--quick] [--rows 1000000]`.

Pairs of a reserve and a commit, over HTTP, to `cycles serve` in a process of its own: on a ledger file, on PostgreSQL,
and by two servers on one PostgreSQL. All take turns in one run. "Hot" is one budget that everybody spends from;
"spread" is a budget for each worker. PostgreSQL runs as it is installed, with fsync, on a unix socket.

Needs the extra `postgres` and PostgreSQL's `initdb`; without them it says so, and measures nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from cycles import tokens  # noqa: E402
from cycles.local import LocalAuthority  # noqa: E402
from tests.support.postgres import programs, running  # noqa: E402 - the source tree's

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.postgres import Server

KEY: Final = "key-of-the-benchmark"
WORKERS: Final = (1, 4, 16, 64)
TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


# -- a client that costs little ----------------------------------------------------------------------------------------
async def _asked(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], path: str, body: dict[str, Any]) -> Any:
    reader, writer = streams
    content = json.dumps(body).encode()
    head = f"POST /v1/{path} HTTP/1.1\r\nhost: x\r\nx-cycles-api-key: {KEY}\r\ncontent-length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    told = (await reader.readuntil(b"\r\n\r\n")).lower()
    size = int(told.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    answer = await reader.readexactly(size)
    if not told.startswith(b"http/1.1 200"):
        raise RuntimeError(f"{path}: {told[:20]!r} {answer[:300]!r}")
    return json.loads(answer)


async def _worker(number: int, port: int, until: float, subject: dict[str, str], run: str) -> int:
    streams = await asyncio.open_connection("127.0.0.1", port)
    pairs, amount = 0, {"unit": "TOKENS", "amount": 5}
    while time.perf_counter() < until:
        key = f"{run}-{number}-{pairs}"
        terms = {"subject": subject, "action": {"kind": "k", "name": "n"}, "estimate": amount}
        held = await _asked(streams, "reservations", {"idempotency_key": key, "ttl_ms": 600_000, **terms})
        done = {"idempotency_key": f"{key}-c", "actual": amount}
        await _asked(streams, f"reservations/{held['reservation_id']}/commit", done)
        pairs += 1
    streams[1].close()
    return pairs


async def _pairs(ports: list[int], workers: int, seconds: float, *, hot: bool, run: str) -> int:
    until = time.perf_counter() + seconds
    subjects = [{"tenant": "acme"} | ({} if hot else {"agent": f"w{number}"}) for number in range(workers)]
    return sum(
        await asyncio.gather(
            *(_worker(number, ports[number % len(ports)], until, subjects[number], run) for number in range(workers))
        )
    )


# -- servers -----------------------------------------------------------------------------------------------------------
def funded(place: str, *, hot: bool) -> None:
    """Make the budgets: the tenant's, or one of each worker, and none above them."""
    with LocalAuthority(place) as authority:
        for scope in ["tenant:acme"] if hot else [f"tenant:acme/agent:w{number}" for number in range(max(WORKERS))]:
            authority.budget(scope, tokens(10**15))


@contextmanager
def serving(place: str) -> Iterator[tuple[int, int]]:
    """Give the port and the process of a `cycles serve`."""
    line = [sys.executable, "-m", "cycles.cli", "serve", "--port", "0", "--json", "--api-key", KEY, "--tenant", "acme"]
    environment = {**os.environ, "CYCLES_LOCAL_DB": place, "PYTHONPATH": f"{ROOT}:{ROOT / 'generated'}"}
    with subprocess.Popen(
        line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        try:
            yield int(ready["base_url"].rpartition(":")[2]), process.pid
        finally:
            process.terminate()


def cpu(pids: list[int]) -> float:
    """Return the seconds that processes, and those that they started, have used."""
    found, wanted = 0.0, set(pids)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat.parent.name) in wanted or int(fields[1]) in wanted:
            found += (int(fields[11]) + int(fields[12])) / TICKS
    return found


def measured(server: Server, folder: Path, *, hot: bool, rounds: int, seconds: float) -> dict[tuple[str, int], Any]:
    """Return pairs a second and CPU milliseconds a pair, of the authority and of the database, by what and workers."""
    file, url = str(folder / f"{hot}.db"), server.database()
    for place in (file, url):
        funded(place, hot=hot)
    seen: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    with ExitStack() as stack:
        on_file, one, two = (stack.enter_context(serving(place)) for place in (file, url, url))
        for number in range(rounds):
            for workers in WORKERS:
                for name, used in (("file", [on_file]), ("postgres", [one]), ("postgres, two servers", [one, two])):
                    pids = [pid for _, pid in used]
                    before, database = cpu(pids), cpu([server.pid])
                    run = f"{number}-{name[:12]}-{len(used)}-{workers}"
                    began = time.perf_counter()
                    count = asyncio.run(_pairs([port for port, _ in used], workers, seconds, hot=hot, run=run))
                    lasted = time.perf_counter() - began
                    costs = (1000 * (cpu(pids) - before) / count, 1000 * (cpu([server.pid]) - database) / count)
                    seen.setdefault((name, workers), []).append((count / lasted, *costs))
    return {what: tuple(map(statistics.median, zip(*found, strict=True))) for what, found in seen.items()}


# -- many reservations that are stored ---------------------------------------------------------------------------------
FILL: Final = (
    "INSERT INTO cycles_holds (reservation_id, tenant, idempotency_key, scope_path, unit, budgeted, estimate, status, "
    "created_at_ms, expires_at_ms, deadline_ms, finalized_at_ms, charged, data) "
    "SELECT '0000-' || lpad(n::text, 12, '0'), 'acme', convert_to('old-' || n, 'UTF8'), 'tenant:acme', 'TOKENS', "
    "ARRAY['tenant:acme'], 5, 'COMMITTED', "
    "t + n, t + n, t + n, t + n, 5, repeat('x', 700) FROM generate_series(1, {rows}) n, "
    "(SELECT floor(extract(epoch FROM now()) * 1000)::bigint - {rows} AS t) now"
)
FILL_REPLAYS: Final = (
    "INSERT INTO cycles_replays SELECT 'reserve:acme', convert_to('old-' || n, 'UTF8'), 9000000000000 + n, "
    "repeat('x', 500) FROM generate_series(1, {rows}) n"
)


def stored(server: Server, rows: int, rounds: int) -> float:
    """Return the cost of a reserve with *rows* stored, as a multiple of that with 1000."""
    with ExitStack() as stack:
        sides = []
        for count in (1000, rows):
            url = server.database()
            funded(url, hot=True)
            name = url.partition("?")[0].rpartition("/")[2]
            for statement in (FILL, FILL_REPLAYS):
                server.query(name, statement.format(rows=count))
            server.query(name, "VACUUM ANALYZE")
            authority = stack.enter_context(LocalAuthority(url))
            client = stack.enter_context(authority.client(tenant="acme"))
            sides.append(lambda client=client: client.reserve(tokens(5), action=("k", "n")).release())
        times: list[list[float]] = [[], []]
        for _ in range(rounds):
            for side, into in zip(sides, times, strict=True):
                into.append(timed(side))
    return statistics.median(times[1]) / statistics.median(times[0])


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short look, which only shows the numbers")
    parser.add_argument("--rows", type=int, default=None, help="reservations that are stored; 1,000,000, quick: 20,000")
    asked = parser.parse_args()
    try:
        import psycopg_pool  # noqa: F401, PLC0415 - whether it is there
    except ImportError:
        print("stores: not measured: the extra `postgres` is not installed")
        return 0
    if programs() is None:
        print("stores: not measured: there is no PostgreSQL on this machine (initdb, postgres)")
        return 0
    rounds, seconds = (1, 0.5) if asked.quick else (5, 2.0)
    missed = False
    with running("fsync = on") as server, tempfile.TemporaryDirectory() as folder:
        for hot in (False, True):
            found = measured(server, Path(folder), hot=hot, rounds=rounds, seconds=seconds)
            print(f"\n{'hot: one budget' if hot else 'spread: a budget for each worker'}")
            for (name, workers), (pairs, authority, database) in found.items():
                cost = f"CPU of the authority {authority:.2f} ms a pair, of PostgreSQL {database:.2f}"
                print(f"  {workers:3} workers, {name + ':':24} {pairs:7.0f} pairs/s, {cost}")
            ratio = found["postgres", 16][0] / found["file", 16][0]
            two = found["postgres, two servers", 16][0] / found["postgres", 16][0]
            print(
                f"  at 16 workers: postgres {ratio:.2f} of the file (goal 0.7), two servers {two:.2f} of one (goal 1.5)"
            )
            missed = missed or (not hot and ratio < 0.7)
        rows = asked.rows or (20_000 if asked.quick else 1_000_000)
        growth = stored(server, rows, 100 if asked.quick else 400)
        print(f"\na reserve and its release with {rows:,} stored: {growth:.2f} of that with 1,000 (goal 1.3)")
    return 0 if asked.quick else 3 if missed or growth > 1.3 else 0


if __name__ == "__main__":
    sys.exit(main())
