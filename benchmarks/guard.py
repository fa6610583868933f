"""What a guarded call costs beside the two bare posts that it sends: `python benchmarks/guard.py [--quick]`.

Ours and theirs take turns, on an authority on loopback in a process of its own. A guarded call is reserve, section,
commit, without journal; theirs is two `httpx.Client.post(json=…)` and `.json()`, with the same bodies. What aiohttp
saves is measured against a stub, since the authority is slower than that client.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
import statistics
import subprocess
import sys
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
from journal import ACTION, ACTUAL, ESTIMATE, NOISE, authority

from cycles import AsyncClient, Client, Config, Guard
from cycles._drivers.aiohttp_engine import AiohttpClient

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

TASKS: Final = 50


def bodies() -> tuple[dict[str, Any], dict[str, Any]]:
    reserve = {
        "idempotency_key": uuid.uuid4().hex,
        "subject": {"tenant": "acme"},
        "action": {"kind": ACTION[0], "name": ACTION[1]},
        "estimate": ESTIMATE.to_dict(),
        "ttl_ms": 60_000,
    }
    return reserve, {"idempotency_key": uuid.uuid4().hex, "actual": ACTUAL.to_dict()}


def bare(client: httpx.Client) -> None:
    reserve, commit = bodies()
    held = client.post("/v1/reservations", json=reserve).json()["reservation_id"]
    client.post(f"/v1/reservations/{held}/commit", json=commit).json()


async def bare_async(client: httpx.AsyncClient) -> None:
    reserve, commit = bodies()
    held = (await client.post("/v1/reservations", json=reserve)).json()["reservation_id"]
    (await client.post(f"/v1/reservations/{held}/commit", json=commit)).json()


def guarded(client: Client) -> None:
    with Guard(ESTIMATE, action=ACTION, client=client) as reservation:
        reservation.commit(ACTUAL)


async def guarded_async(client: AsyncClient) -> None:
    async with Guard(ESTIMATE, action=ACTION, client=client) as reservation:
        await reservation.commit(ACTUAL)


class Line:
    """One comparison: seconds of both, round after round.

    The *goal* is where we want to be; beyond the *bound* something has become slower, and the benchmark fails.
    """

    def __init__(self, name: str, *, goal: float, bound: float) -> None:
        self.name, self.goal, self.bound = name, goal, bound
        self.theirs: list[float] = []
        self.ours: list[float] = []

    def judge(self) -> bool:
        theirs, ours = statistics.median(self.theirs), statistics.median(self.ours)
        missed = ours / theirs > self.bound * (1 + NOISE)
        times = f"bare {theirs * 1e6:7.0f} µs  guarded {ours * 1e6:7.0f} µs"
        judged = "  MISSED" if missed else "" if ours / theirs <= self.goal else "  not there yet"
        print(f"{self.name:<26} {times}  ratio {ours / theirs:.2f}  goal {self.goal:.2f}  bound {self.bound}{judged}")
        return missed


def timed(work: Callable[[], object], count: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of one call, by *clock*."""
    gc.collect()
    started = clock()
    for _ in range(count):
        work()
    return (clock() - started) / count


async def timed_async(
    work: Callable[[], Awaitable[object]], count: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    """The same for asynchronous code; see `timed`."""
    gc.collect()
    started = clock()
    for _ in range(count):
        await work()
    return (clock() - started) / count


async def timed_together(work: Callable[[], Awaitable[object]], count: int) -> float:
    async def some() -> None:
        for _ in range(count):
            await work()

    gc.collect()
    started = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(TASKS)))
    return (time.perf_counter() - started) / (count * TASKS)


class Stub(asyncio.Protocol):
    """An authority that says yes to everything at once: so quick that only the client's side is left to measure."""

    GRANT: Final = (
        b'{"decision":"ALLOW","reservation_id":"3f6e9f0c-0000-7000-8000-000000000000","affected_scopes":["tenant:acme"],'
        b'"remaining_ttl_ms":60000,"expires_at_ms":4102444800000,"status":"COMMITTED","charged":{"unit":"USD_MICROCENTS",'
        b'"amount":5000}}'
    )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"content-length: *([0-9]+)", self.received[:end], re.IGNORECASE)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.received) < size:
                return
            self.received = self.received[size:]
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            self.transport.write(head % len(self.GRANT) + self.GRANT)


async def serve_stub() -> None:
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def stub() -> Iterator[str]:
    command = [sys.executable, __file__, "--stub"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


async def over_aiohttp(url: str, rounds: int) -> list[Line]:
    """Compare bare httpx with its API over aiohttp, and with a guarded call over that: the goal is a quarter each."""
    settings: dict[str, Any] = {"base_url": url, "headers": {"x-cycles-api-key": "key"}, "timeout": 30.0}
    config = Config(url, api_key="key", tenant="acme", journal_enabled=False, http_engine="aiohttp")
    lines = (
        Line(f"aiohttp, {TASKS} tasks, bare", goal=0.25, bound=0.35),
        Line(f"aiohttp, {TASKS} tasks", goal=0.25, bound=0.45),
    )
    async with httpx.AsyncClient(**settings) as slow, AiohttpClient(**settings) as quick, AsyncClient(config) as client:
        for number in range(rounds + 1):
            found = (
                await timed_together(lambda: bare_async(slow), 4),
                await timed_together(lambda: bare_async(quick), 4),
                await timed_together(lambda: guarded_async(client), 4),
            )
            if number:
                for line, ours in zip(lines, found[1:], strict=True):
                    line.theirs.append(found[0])
                    line.ours.append(ours)
    return list(lines)


async def asynchronous(config: Config, bare_client: httpx.AsyncClient, rounds: int) -> list[Line]:
    alone, together = (
        Line("async, one after the other", goal=1.10, bound=1.25),
        Line(f"async, {TASKS} tasks at once", goal=1.00, bound=1.35),
    )
    async with AsyncClient(config) as client, bare_client:
        for number in range(rounds + 1):
            found = (
                await timed_async(lambda: bare_async(bare_client), 30),
                await timed_async(lambda: guarded_async(client), 30),
                await timed_together(lambda: bare_async(bare_client), 4),
                await timed_together(lambda: guarded_async(client), 4),
            )
            if number:  # the first round warms up
                alone.theirs.append(found[0])
                alone.ours.append(found[1])
                together.theirs.append(found[2])
                together.ours.append(found[3])
    return [alone, together]


def main() -> int:
    parser = argparse.ArgumentParser(description="A guarded call beside two bare posts.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--stub", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stub:
        asyncio.run(serve_stub())
    rounds = 6 if options.quick else 30
    with authority() as ready:
        config = Config(ready["base_url"], api_key=ready["api_key"], tenant="acme", journal_enabled=False)
        settings: dict[str, Any] = {
            "base_url": ready["base_url"],
            "headers": {"x-cycles-api-key": ready["api_key"]},
            "timeout": 30.0,
        }
        sync = Line("sync", goal=1.15, bound=1.2)
        with Client(config) as client, httpx.Client(**settings) as bare_client:
            for number in range(rounds + 1):
                theirs, ours = timed(lambda: bare(bare_client), 30), timed(lambda: guarded(client), 30)
                if number:
                    sync.theirs.append(theirs)
                    sync.ours.append(ours)
        lines = [sync, *asyncio.run(asynchronous(config, httpx.AsyncClient(**settings), rounds))]
    with stub() as url:
        lines += asyncio.run(over_aiohttp(url, rounds))
    missed = [line.name for line in lines if line.judge()]
    return 3 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
