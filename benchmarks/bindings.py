"""What the generated bindings cost beside bare httpx: `python benchmarks/bindings.py [--quick]`.

Each line compares two ways to do one thing, in rounds that take turns, so that a machine that slows down slows both.
The ratio is that of the medians. Exits with 3 when a ratio misses its bound by more than the noise margin.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx

from cycles_api.api.reservations import create_reservation
from cycles_api.client import AuthenticatedClient
from cycles_api.models import Action, Amount, ReservationCreateRequest, ReservationCreateResponse, Subject

if TYPE_CHECKING:
    from collections.abc import Callable

NOISE: Final = 0.05
"""How much a ratio may miss its bound by before it counts: two runs of the same thing differ by that much here."""

BALANCE: Final[dict[str, Any]] = {
    "scope": "tenant:acme",
    "scope_path": "tenant:acme",
    **{
        name: {"unit": "USD_MICROCENTS", "amount": amount}
        for name, amount in (("remaining", 95_000_000), ("reserved", 5_000_000), ("spent", 0), ("allocated", 10**8))
    },
}
ANSWER: Final[dict[str, Any]] = {
    "decision": "ALLOW",
    "reservation_id": "3d1f9a52-6f7e-4a7f-9a57-0a3c8a1c2b11",
    "reserved": {"unit": "USD_MICROCENTS", "amount": 5_000_000},
    "expires_at_ms": 1_790_000_060_000,
    "remaining_ttl_ms": 60_000,
    "scope_path": "tenant:acme/agent:planner",
    "affected_scopes": ["tenant:acme", "tenant:acme/agent:planner"],
    "balances": [BALANCE, {**BALANCE, "scope": "agent:planner", "scope_path": "tenant:acme/agent:planner"}],
}
CONTENT: Final = json.dumps(ANSWER, separators=(",", ":")).encode()
KEY: Final = "cyc_live_benchmark"
BODY: Final = ReservationCreateRequest(
    idempotency_key="7f0c2f6e-reserve-1",
    subject=Subject(tenant="acme", agent="planner"),
    action=Action(kind="llm.completion", name="openai:gpt-4o"),
    estimate=Amount(unit="USD_MICROCENTS", amount=5_000_000),
    ttl_ms=60_000,
)


class Line(NamedTuple):
    """One comparison; *bound* is the most that *ours* may take of *theirs*, None for what is only shown."""

    name: str
    theirs: Callable[[], object]
    ours: Callable[[], object]
    bound: float | None


class Canned(asyncio.Protocol):
    """A server that gives one answer to whatever is asked."""

    head: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(CONTENT)

    def __init__(self) -> None:
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if end and len(body) >= int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]):
            self.received = b""
            self.transport.write(self.head + CONTENT)


async def serve() -> None:
    """Serve on a free port of the loopback, whose number goes to standard output, until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Canned, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def per_call(function: Callable[[], object], calls: int) -> float:
    """Return the seconds that one call takes, over *calls* of them."""
    started = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - started) / calls


def compare(line: Line, *, rounds: int, calls: int) -> tuple[float, float]:
    """Return the medians of both ways, in seconds."""
    times: tuple[list[float], list[float]] = ([], [])
    per_call(line.theirs, calls)
    per_call(line.ours, calls)
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            ways = [(line.theirs, times[0]), (line.ours, times[1])]
            for function, series in ways if turn % 2 else reversed(ways):
                series.append(per_call(function, calls))
    finally:
        gc.enable()
    return statistics.median(times[0]), statistics.median(times[1])


def call_lines(base_url: str, name: str, bound: float, arguments: dict[str, Any]) -> Line:
    """Return the comparison of a whole reserve call."""
    bare = httpx.Client(base_url=base_url, headers={"X-Cycles-API-Key": KEY}, timeout=10.0, **arguments)
    client = AuthenticatedClient(base_url, KEY, httpx_args=arguments)
    payload = BODY.to_dict()
    return Line(
        name,
        lambda: bare.post("/v1/reservations", json=payload).json(),
        lambda: create_reservation.sync_detailed(client=client, body=BODY),
        bound,
    )


def lines(base_url: str) -> list[Line]:
    """Return what is compared."""
    answer = httpx.MockTransport(lambda _: httpx.Response(200, content=CONTENT))
    return [
        call_lines(base_url, "reserve, loopback / bare post + .json()", 1.15, {}),
        call_lines("http://mock", "reserve, no network / bare post + .json()", 1.15, {"transport": answer}),
        Line(
            "decode the answer / json.loads",
            lambda: json.loads(CONTENT),
            lambda: ReservationCreateResponse.from_dict(ANSWER),
            None,
        ),
        Line("encode the request / json.dumps", lambda: json.dumps(ANSWER), BODY.to_dict, None),
    ]


def main() -> int:
    """Run the comparisons; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return 0
    rounds, calls = (15, 40) if options.quick else (61, 100)
    missed = 0
    with subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        print(f"{'medians in us':44}{'theirs':>9}{'ours':>9}{'ratio':>8}{'bound':>8}")
        for line in lines(f"http://127.0.0.1:{port}"):
            theirs, ours = compare(line, rounds=rounds, calls=calls)
            ratio = ours / theirs
            late = line.bound is not None and ratio > line.bound + NOISE
            missed += late
            bound = "" if line.bound is None else f"{line.bound:8.2f}"
            print(f"{line.name:44}{theirs * 1e6:9.1f}{ours * 1e6:9.1f}{ratio:8.2f}{bound}{'  MISSED' if late else ''}")
        server.communicate()
    print(f"noise margin {NOISE}; {'a bound was missed' if missed else 'all bounds kept'}")
    return 3 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
