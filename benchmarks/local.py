"""What the embedded authority costs: `python benchmarks/local.py [--quick] [--rows 1000000] [--dir DIR]`.

Everything is a ratio, of things that take turns in one run. "Bare" is two `httpx.Client.post(json=…)` and `.json()`,
with the bodies of a reserve and a commit, to a server in a second process that answers at once without looking at them.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, cast

import httpx
from guard import bare, bodies, timed
from journal import ACTION, ACTUAL, ESTIMATE, failed, judged

from cycles import Client, Config, usd
from cycles.local import LocalAuthority
from cycles.local.server import Server, listening, url_of
from cycles.local.store.rows import SqliteBooks
from cycles_api import models
from cycles_api.api.reservations import commit_reservation, create_reservation
from cycles_api.client import AuthenticatedClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCOPE: Final = "tenant:acme"
PROCESSES: Final = 4
AT_ONCE: Final = 40
"""Cycles in one sample."""

ANSWER: Final = (
    b'{"decision":"ALLOW","reservation_id":"019ab7f0-7c3e-7d5a-9c0e-3f1d5b7a9c0e","affected_scopes":["tenant:acme"],'
    b'"expires_at_ms":1800000060000,"remaining_ttl_ms":60000,"scope_path":"tenant:acme",'
    b'"reserved":{"unit":"USD_MICROCENTS","amount":10000},"balances":[{"scope":"tenant:acme",'
    b'"scope_path":"tenant:acme","remaining":{"unit":"USD_MICROCENTS","amount":899999990000},'
    b'"reserved":{"unit":"USD_MICROCENTS","amount":10000},"spent":{"unit":"USD_MICROCENTS","amount":0},'
    b'"allocated":{"unit":"USD_MICROCENTS","amount":900000000000}}]}'
)


# -- processes of their own: `python benchmarks/local.py --child NAME …` -----------------------------------------------
class _Stub(asyncio.Protocol):
    """Answers every request at once with what an authority would say."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, rest = self.received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if found and len(rest) >= length:
            self.received = rest[length:]
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
            self.transport.write(head + ANSWER)


async def stub() -> None:
    server = await asyncio.get_running_loop().create_server(_Stub, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def floor(scope: Any, receive: Any, send: Any) -> None:
    """The least that an ASGI application can do: read the body, answer."""
    if scope["type"] == "lifespan":
        for part in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{part}.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


def serve(kind: str, path: str) -> None:
    """Serve the authority, or the floor, and say at each line of input how much CPU it has taken."""
    authority = LocalAuthority(path or None, history=0)
    authority.budget(SCOPE, usd("90000"))
    server = Server(authority)
    if kind == "floor":
        server.config.app = floor
    listener = listening(port=0)
    print(url_of(listener), authority.key(tenant="acme"), flush=True)

    def tell() -> None:
        sys.stdin.readline()
        print(time.process_time(), flush=True)

    async def run() -> None:
        asyncio.get_running_loop().add_reader(sys.stdin, tell)
        await server.serve(sockets=[listener])

    asyncio.run(run())


def work(path: str, seconds: str) -> None:
    """At each line of input, reserve and commit for that long, and say how often."""
    with Client(config(f"local:{path}")) as client:
        print("ready", flush=True)
        while sys.stdin.readline():
            ends, count = time.monotonic() + float(seconds), 0
            while time.monotonic() < ends:
                cycle(client)
                count += 1
            print(count, flush=True)


@contextmanager
def child(*arguments: str) -> Iterator[tuple[IO[str], IO[str]]]:
    """Run one of the above in a process of its own; give its standard input and output."""
    command = [sys.executable, __file__, "--child", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdin, process.stdout
        finally:
            process.kill()


def said(pipes: tuple[IO[str], IO[str]]) -> str:
    """Ask a process for a line, and return it."""
    asked(pipes)
    return pipes[1].readline().strip()


def asked(pipes: tuple[IO[str], IO[str]]) -> None:
    pipes[0].write("\n")
    pipes[0].flush()


# -- cycles ------------------------------------------------------------------------------------------------------------
def config(url: str) -> Config:
    return Config(url, tenant="acme", journal_enabled=False)


def cycle(client: Client) -> None:
    client.reserve(ESTIMATE, action=ACTION).commit(ACTUAL)


def bindings(authority: LocalAuthority) -> Callable[[], object]:
    """Return a cycle of the generated bindings alone."""
    api = AuthenticatedClient(base_url="http://cycles.local", token=authority.key(tenant="acme"))
    api.set_httpx_client(authority.http_client())
    subject, action = models.Subject(tenant="acme"), models.Action(kind=ACTION[0], name=ACTION[1])

    def run() -> None:
        ask = models.ReservationCreateRequest(
            idempotency_key=uuid.uuid4().hex, subject=subject, action=action, estimate=ESTIMATE, ttl_ms=60_000
        )
        held = create_reservation.sync(client=api, body=ask)
        assert isinstance(held, models.ReservationCreateResponse)
        assert isinstance(held.reservation_id, str)
        paid = models.CommitRequest(idempotency_key=uuid.uuid4().hex, actual=ACTUAL)
        commit_reservation.sync(held.reservation_id, client=api, body=paid)

    return run


def medians(samples: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Return the median of each sample, which take turns; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in samples}
    for number in range(rounds + 1):
        for name, sample in samples.items():
            taken = sample()
            if number:
                times[name].append(taken)
    return {name: statistics.median(found) for name, found in times.items()}


def one_process(directory: Path, rounds: int) -> None:
    """A cycle in this process beside two bare posts."""
    with ExitStack() as stack:
        pipes = stack.enter_context(child("stub"))
        key = {"x-cycles-api-key": "k" * 41}
        there = stack.enter_context(httpx.Client(base_url=pipes[1].readline().strip(), headers=key))
        memory = stack.enter_context(Client(config("local:?usd=90000")))
        file = stack.enter_context(Client(config(f"local:{directory / 'one.db'}?usd=90000")))
        authority = stack.enter_context(LocalAuthority(history=0))
        authority.budget(SCOPE, usd("90000"))
        through = stack.enter_context(httpx.Client(transport=authority.transport(), base_url="http://cycles.local"))
        through.headers["x-cycles-api-key"] = authority.key(tenant="acme")
        alone = bindings(authority)
        middle = medians(
            {
                "bare": lambda: timed(lambda: bare(there), AT_ONCE),
                "client, in memory": lambda: timed(lambda: cycle(memory), AT_ONCE),
                "bindings, in memory": lambda: timed(alone, AT_ONCE),
                "httpx, in memory": lambda: timed(lambda: bare(through), AT_ONCE),
                "client, on a file": lambda: timed(lambda: cycle(file), AT_ONCE),
            },
            rounds,
        )
    for name, seconds in middle.items():
        print(f"  {name:<22} {seconds * 1e6:8.0f} µs  {seconds / middle['bare']:.2f} of bare")
    for where, goal, bound in (("in memory", 0.6, 0.75), ("on a file", 0.9, 1.05)):
        ratio = middle[f"client, {where}"] / middle["bare"]
        judged(f"reserve and commit {where}, to two bare posts (goal {goal})", ratio, bound)


def many_processes(directory: Path, rounds: int, seconds: float) -> None:
    """Cycles a second of four processes on one file beside those of one."""
    path = str(directory / "many.db")
    with LocalAuthority(path) as authority:
        authority.budget(SCOPE, usd("90000"))
    with ExitStack() as stack:
        workers = [stack.enter_context(child("work", path, str(seconds))) for _ in range(PROCESSES)]
        for _, output in workers:
            output.readline()

        def together() -> float:
            for worker in workers:
                asked(worker)
            return sum(int(output.readline()) for _, output in workers) / seconds

        rates = medians({"one": lambda: int(said(workers[0])) / seconds, "four": together}, rounds)
    print(f"  one process {rates['one']:.0f} cycles/s, {PROCESSES} processes {rates['four']:.0f} cycles/s")
    # The bound leaves room for a machine whose processors are not all ours: who holds the file may wait for one.
    name = f"cycles a second of {PROCESSES} processes on one file, to one (goal 1)"
    judged(name, rates["four"] / rates["one"], 0.6, least=True)


# -- growth ------------------------------------------------------------------------------------------------------------
def grown(path: Path, rows: int) -> Client:
    """Return a client of a ledger with *rows* reservations: finished, but for one in a hundred, and their replays."""
    client = Client(config(f"local:{path}?usd=90000"))
    held = client.reserve(ESTIMATE, action=ACTION, ttl=86_400)
    done = client.reserve(ESTIMATE, action=ACTION)
    done.commit(ACTUAL)
    authority = LocalAuthority.from_url(f"local:{path}")
    with authority.store.writing() as books:
        assert isinstance(books, SqliteBooks)  # types: its rows are written by hand
        for reservation, live in ((held, 1), (done, 0)):
            books.connection.execute(
                "INSERT INTO holds SELECT printf('%08x-%s', value, substr(reservation_id, 10)), tenant, "
                "lower(hex(randomblob(16))), scope_path, unit, estimate, status, created_at_ms - ?2 + value, "
                "expires_at_ms, deadline_ms, finalized_at_ms, data FROM holds, "
                "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT ?2) SELECT * FROM n) "
                "WHERE reservation_id = ?1 AND (value % 100 = 0) = ?3",
                (reservation.id, rows, live),
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


def growth(directory: Path, sizes: list[int], rounds: int) -> None:
    """The cost of a reserve by how many reservations are stored."""
    with ExitStack() as stack:
        samples: dict[str, Callable[[], float]] = {}
        for size in sizes:
            client = stack.enter_context(closing(grown(directory / f"{size}.db", size)))
            samples[f"{size:,}"] = lambda client=client: reserving(client)  # type: ignore[misc]
        middle = medians(samples, rounds)
    least = middle[f"{sizes[0]:,}"]
    for name, seconds in middle.items():
        print(f"  {name:>11} stored: {seconds * 1e6:6.0f} µs a reserve  {seconds / least:.2f}")
    judged(f"a reserve with {sizes[-1]:,} stored, to one with {sizes[0]:,}", middle[f"{sizes[-1]:,}"] / least, 1.3)


# -- over HTTP ---------------------------------------------------------------------------------------------------------
def served(directory: Path, rounds: int) -> None:
    """CPU of the authority's process for one request, beside that of the same server with nothing behind it."""
    reserve, commit = bodies()

    def ask(client: httpx.Client) -> None:
        held = client.post("/v1/reservations", json={**reserve, "idempotency_key": uuid.uuid4().hex}).json()
        body = {**commit, "idempotency_key": uuid.uuid4().hex}
        client.post(f"/v1/reservations/{held['reservation_id']}/commit", json=body).raise_for_status()

    def cpu(pipes: tuple[IO[str], IO[str]], client: httpx.Client) -> float:
        before = float(said(pipes))
        for _ in range(AT_ONCE):
            ask(client)
        return (float(said(pipes)) - before) / (2 * AT_ONCE)

    kinds = {
        "floor": ("floor", ""),
        "in memory": ("authority", ""),
        "on a file": ("authority", str(directory / "s.db")),
    }
    with ExitStack() as stack:
        samples: dict[str, Callable[[], float]] = {}
        for name, (kind, path) in kinds.items():
            pipes = stack.enter_context(child("serve", kind, path))
            url, key = pipes[1].readline().split()
            client = stack.enter_context(httpx.Client(base_url=url, headers={"x-cycles-api-key": key}))
            samples[name] = lambda pipes=pipes, client=client: cpu(pipes, client)  # type: ignore[misc]
        middle = medians(samples, rounds)
    for name, seconds in middle.items():
        print(f"  {name:<10} {seconds * 1e6:6.0f} µs of CPU a request  {seconds / middle['floor']:.2f} of the floor")
    judged("CPU of a request served from memory, to the server's own floor", middle["in memory"] / middle["floor"], 3.0)


def main() -> int:
    parser = argparse.ArgumentParser(description="What the embedded authority costs.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int, help="Reservations stored at most in the curve; 1,000,000, quick 100,000.")
    parser.add_argument("--dir", help="Where to write; the default is the disk of the temporary directory.")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, *arguments = options.child
        made: Any = {"stub": lambda: asyncio.run(stub()), "serve": serve, "work": work}[name]
        made(*arguments)
        return 0
    rounds = 8 if options.quick else 30
    rows = options.rows or (100_000 if options.quick else 1_000_000)
    with tempfile.TemporaryDirectory(dir=options.dir) as written:
        directory = Path(written)
        one_process(directory, rounds)
        many_processes(directory, 4 if options.quick else 12, 0.5 if options.quick else 1.0)
        growth(directory, [size for size in (1_000, 10_000, 100_000, 1_000_000) if size <= rows], rounds)
        served(directory, rounds)
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
