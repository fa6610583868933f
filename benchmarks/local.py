"""What the embedded authority costs: `python benchmarks/local.py [--quick]`.

Its CPU beside that of two bare posts to a stub in a second process; four processes on one file; and the CPU of a served
request beside that of the same ASGI server with nothing behind it. Growth with what is stored is in `growth.py`.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import _sides
import httpx
from _measure import Sheet, cpu_of, in_turns, main, middle, quiet, ratio, timed
from _sides import ACTION, ACTUAL, ESTIMATE, GRANT, asked, bare, bare_settings, child, config, line_of

from cycles import Client, Config, usd
from cycles.local import LocalAuthority
from cycles.local.server import Server, listening, url_of
from cycles_api import models
from cycles_api.api.reservations import commit_reservation, create_reservation
from cycles_api.client import AuthenticatedClient

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

SCOPE: Final = "tenant:acme"
PROCESSES: Final = 4
ROUNDS: Final = 200
"""Many short ones, of which the quickest tenth counts: a busy machine has quiet moments, too (`_measure.quiet`)."""

AT_ONCE: Final = 5
"""Cycles in one sample."""

BEFORE: Final = 3
"""Cycles before each sample: what ran in between has taken the caches."""

ANSWER: Final = GRANT % b"COMMITTED"
HEADERS: Final = (
    (b"content-type", b"application/json"),
    (b"x-request-id", b"6b1f1a0e-8f43-4c4f-9f0e-3f1d5b7a9c0e"),
    (b"x-cycles-trace-id", b"4bf92f3577b34da6a3ce929d0e0e4736"),
    (b"x-ratelimit-remaining", b"-1"),
    (b"x-ratelimit-reset", b"0"),
    (b"x-cycles-tenant", b"acme"),
    (b"content-length", b"%d" % len(ANSWER)),
)
"""As many as an answer of the protocol has: what the server takes to write them is the server's own."""


# -- processes of their own: `python benchmarks/local.py serve …`, and `work …` -------------------------------------
async def floor(scope: Any, receive: Any, send: Any) -> None:
    """The least that an ASGI application can do: read the body, answer as the protocol's answers look."""
    if scope["type"] == "lifespan":
        for part in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{part}.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
    await send({"type": "http.response.body", "body": ANSWER})


def serve(kind: str, path: str) -> None:
    """Serve the authority, or the floor, and say where, and with which key."""
    authority = LocalAuthority(path or None, history=0)
    authority.budget(SCOPE, usd("90000"))
    server = Server(authority)
    if kind == "floor":
        server.config.app = floor
    listener = listening(port=0)
    print(url_of(listener), authority.key(tenant="acme"), flush=True)
    asyncio.run(server.serve(sockets=[listener]))


def work(path: str, seconds: str) -> None:
    """At each line of input, reserve and commit for that long, and say how often."""
    with Client(embedded(path)) as client:
        print("ready", flush=True)
        while sys.stdin.readline():
            ends, count = time.monotonic() + float(seconds), 0
            while time.monotonic() < ends:
                cycle(client)
                count += 1
            print(count, flush=True)


def said(process: subprocess.Popen[str]) -> str:
    """Ask a process for a line, and return it."""
    asked(process)
    return line_of(process)


# -- cycles ------------------------------------------------------------------------------------------------------------
def embedded(path: object = "") -> Config:
    """Return the configuration of a client of a ledger file, or of one in memory."""
    return Config(f"local:{path}", tenant="acme", journal_enabled=False)


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


def one_process(sheet: Sheet, directory: Path, rounds: int) -> None:
    """The CPU of a cycle in this process beside that of two bare posts, the stub's included.

    Nobody waits for anything else: the log is moved into the file in few rounds, which `growth.py` shows.
    """
    with ExitStack() as stack:
        other = stack.enter_context(child(_sides.__file__, "stub"))
        there = stack.enter_context(httpx.Client(**bare_settings(config(line_of(other)))))
        memory = stack.enter_context(Client(embedded("?usd=90000")))
        file = stack.enter_context(Client(embedded(f"{directory / 'one.db'}?usd=90000")))
        authority = stack.enter_context(LocalAuthority(history=0))
        authority.budget(SCOPE, usd("90000"))
        alone = bindings(authority)

        def cpu() -> float:
            return time.process_time() + cpu_of(other.pid)

        times = in_turns(
            {
                "bare": partial(timed, lambda: bare(there), AT_ONCE, cpu, before=BEFORE),
                "memory": partial(timed, lambda: cycle(memory), AT_ONCE, cpu, before=BEFORE),
                "bindings": partial(timed, alone, AT_ONCE, cpu, before=BEFORE),
                "file": partial(timed, lambda: cycle(file), AT_ONCE, cpu, before=BEFORE),
            },
            rounds,
        )
    floor = f"the same by the bindings alone: {quiet(times, 'bindings', 'bare'):.2f}"
    sheet.add("reserve and commit on `local:`, to two bare posts", quiet(times, "memory", "bare"), 0.5, floor=floor)
    floor = f"two bare posts: {middle(times, 'bare'):.0f} µs"
    sheet.add("reserve and commit on `local:FILE`, to two bare posts", quiet(times, "file", "bare"), 0.6, floor=floor)


def many_processes(sheet: Sheet, directory: Path, rounds: int, seconds: float) -> None:
    """Cycles a second of four processes on one file beside those of one."""
    path = str(directory / "many.db")
    with LocalAuthority(path) as authority:
        authority.budget(SCOPE, usd("90000"))
    with ExitStack() as stack:
        workers = [stack.enter_context(child(__file__, "work", path, str(seconds))) for _ in range(PROCESSES)]
        for worker in workers:
            line_of(worker)

        def together() -> float:
            for worker in workers:
                asked(worker)
            return sum(int(line_of(worker)) for worker in workers) / seconds

        rates = in_turns({"one": lambda: int(said(workers[0])) / seconds, "four": together}, rounds)
    floor = f"one process: {statistics.median(rates['one']):.0f} cycles a second"
    name = f"cycles a second of {PROCESSES} processes on one file, to one"
    sheet.add(name, ratio(rates, "four", "one"), 1.0, floor=floor, least=True)


# -- over HTTP ---------------------------------------------------------------------------------------------------------
def served(sheet: Sheet, directory: Path, rounds: int) -> None:
    """CPU of the authority's process for one request, beside that of the same server with nothing behind it."""

    def cpu(process: subprocess.Popen[str], client: httpx.Client) -> float:
        for _ in range(BEFORE):
            bare(client)
        began = cpu_of(process.pid)
        for _ in range(AT_ONCE):
            bare(client)
        return (cpu_of(process.pid) - began) / (2 * AT_ONCE)

    kinds = {
        "floor": ("floor", ""),
        "in memory": ("authority", ""),
        "on a file": ("authority", str(directory / "s.db")),
    }
    with ExitStack() as stack:
        samples: dict[str, Callable[[], float]] = {}
        for name, (kind, path) in kinds.items():
            process = stack.enter_context(child(__file__, "serve", kind, path))
            url, key = line_of(process).split()
            client = stack.enter_context(httpx.Client(**bare_settings(config(url, api_key=key))))
            samples[name] = lambda process=process, client=client: cpu(process, client)  # type: ignore[misc]
        times = in_turns(samples, rounds)
    floor = f"the ASGI server with nothing behind it: {middle(times, 'floor'):.0f} µs"
    for where, goal in (("in memory", 2.0), ("on a file", 2.2)):
        sheet.add(
            f"CPU of a request served {where}, to the server's own", quiet(times, where, "floor"), goal, floor=floor
        )


def measure(sheet: Sheet) -> None:
    """Measure the embedded authority."""
    rounds = 1 if sheet.quick else ROUNDS
    with tempfile.TemporaryDirectory() as written:
        directory = Path(written)
        one_process(sheet, directory, rounds)
        many_processes(sheet, directory, 1 if sheet.quick else 5, 0.1 if sheet.quick else 1.0)
        served(sheet, directory, rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    elif sys.argv[1:2] == ["work"]:
        work(*sys.argv[2:])
    else:
        main(measure)
