"""What metering adds to an SDK's own calls, in CPU time: `python benchmarks/metering.py [--quick]`.

A metered call is held against what it would be without metering: a post to the authority, the SDK's (openai's) own
call, and another post, in this order. Three requests by turns take about a millisecond more CPU than in loops of their
own, for each finds cold what the others have used since; so figures that were measured apart can't be added up. Inside
a `Limit` a metered call is held against the SDK's own. The endpoint and the authority are processes of their own, so
that their work does not count. Goals: 0.3 ms a call, 0.15 ms inside a limit, and 5 % of a stream of 1,000 chunks.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
from guard import bodies, timed, timed_async
from journal import NOISE, authority, config

import cycles
from cycles import usd

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU: Final = time.process_time

CHUNKS: Final = 1000
RUN: Final = ("agent.run", "bench")
ASKED: Final[dict[str, Any]] = {
    "model": "gpt-metered",
    "messages": [{"role": "user", "content": "What does a metered call cost? " * 20}],
    "max_completion_tokens": 2000,
}
FRAME: Final = {"id": "chatcmpl-1", "created": 1_790_000_000, "model": "gpt-metered", "system_fingerprint": "fp"}
USAGE: Final = {"prompt_tokens": 150, "completion_tokens": CHUNKS, "total_tokens": 150 + CHUNKS}


class Stub(asyncio.Protocol):
    """A provider that says the same to everybody, so quickly that only the client's side is left to measure."""

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
            self.transport.write(STREAM if b'"stream":true' in self.received[:size] else ANSWER)
            self.received = self.received[size:]


def answer() -> bytes:
    message = {"role": "assistant", "content": "It depends. " * 100}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps(FRAME | {"object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


def stream() -> bytes:
    """Return a stream with every event in a chunk of its own, as it comes from a model that speaks token by token."""
    frame = FRAME | {"object": "chat.completion.chunk"}
    said = [{"index": 0, "delta": {"content": f"w{number} "}, "finish_reason": None} for number in range(CHUNKS)]
    events = [frame | {"choices": [choice], "usage": None} for choice in said]
    texts = [*map(json.dumps, [*events, frame | {"choices": [], "usage": USAGE}]), "[DONE]"]
    parts = [f"data: {text}\n\n".encode() for text in texts]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


ANSWER, STREAM = answer(), stream()


async def serve_stub() -> None:
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def stub() -> Iterator[str]:
    with subprocess.Popen([sys.executable, __file__, "--stub"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.kill()


class Figures:
    """CPU seconds of one piece of work, by name, round after round; the best counts, since noise only adds."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.found: dict[str, list[float]] = {}

    def note(self, name: str, seconds: float) -> None:
        self.found.setdefault(name, []).append(seconds)

    def of(self, name: str) -> float:
        return min(self.found[name])

    def judge(self) -> bool:
        """Print what metering adds beside its goals; return whether one is missed."""
        call, turns, long = self.of("call"), self.of("turns"), self.of("stream")
        lines = [
            ("a metered call adds", (self.of("metered") - turns) * 1e3, 0.3, "ms"),
            ("inside a limit", (self.of("limit") - call) * 1e3, 0.15, "ms"),
            (f"a stream of {CHUNKS:,} chunks", (self.of("metered stream") / long - 1) * 100, 5.0, "%"),
        ]
        print(f"{self.kind}: call {call * 1e3:.2f} ms, between posts {turns * 1e3:.2f} ms, stream {long * 1e3:.1f} ms")
        for name, value, goal, unit in lines:
            missed = "  MISSED" if value > goal * (1 + NOISE) else ""
            print(f"  {name:<26} {value:6.2f} {unit}  (goal {goal} {unit}){missed}")
        return any(value > goal * (1 + NOISE) for _, value, goal, _ in lines)


def between_posts(posts: httpx.Client, client: Any) -> None:
    """Do what a metered call does, without metering: post, call, post."""
    reserve, commit = bodies()
    held = posts.post("/v1/reservations", json=reserve).json()["reservation_id"]
    client.chat.completions.create(**ASKED)
    posts.post(f"/v1/reservations/{held}/commit", json=commit).json()


async def between_posts_async(posts: httpx.AsyncClient, client: Any) -> None:
    reserve, commit = bodies()
    held = (await posts.post("/v1/reservations", json=reserve)).json()["reservation_id"]
    await client.chat.completions.create(**ASKED)
    (await posts.post(f"/v1/reservations/{held}/commit", json=commit)).json()


def read(client: Any) -> None:
    for _ in client.chat.completions.create(**ASKED, stream=True):
        pass


async def read_async(client: Any) -> None:
    async for _ in await client.chat.completions.create(**ASKED, stream=True):
        pass


def blocking(plain: Any, metered: Any, posts: httpx.Client, owner: cycles.Client, sizes: tuple[int, int]) -> Figures:
    found, (rounds, count) = Figures("sync"), sizes
    for number in range(rounds + 1):
        some = {
            "call": timed(lambda: plain.chat.completions.create(**ASKED), count, CPU),
            "turns": timed(lambda: between_posts(posts, plain), count, CPU),
            "metered": timed(lambda: metered.chat.completions.create(**ASKED), count, CPU),
        }
        with cycles.Limit(usd("500"), action=RUN, client=owner):
            some["limit"] = timed(lambda: metered.chat.completions.create(**ASKED), count, CPU)
        some["stream"] = timed(lambda: read(plain), 1, CPU)
        some["metered stream"] = timed(lambda: read(metered), 1, CPU)
        for name, seconds in some.items() if number else ():  # the first round warms up
            found.note(name, seconds)
    return found


async def asynchronous(
    plain: Any, metered: Any, posts: httpx.AsyncClient, owner: cycles.AsyncClient, sizes: tuple[int, int]
) -> Figures:
    found, (rounds, count) = Figures("async"), sizes
    for number in range(rounds + 1):
        some = {
            "call": await timed_async(lambda: plain.chat.completions.create(**ASKED), count, CPU),
            "turns": await timed_async(lambda: between_posts_async(posts, plain), count, CPU),
            "metered": await timed_async(lambda: metered.chat.completions.create(**ASKED), count, CPU),
        }
        async with cycles.Limit(usd("500"), action=RUN, client=owner):
            some["limit"] = await timed_async(lambda: metered.chat.completions.create(**ASKED), count, CPU)
        some["stream"] = await timed_async(lambda: read_async(plain), 1, CPU)
        some["metered stream"] = await timed_async(lambda: read_async(metered), 1, CPU)
        for name, seconds in some.items() if number else ():
            found.note(name, seconds)
    return found


def measured(url: str, ready: dict[str, str], sizes: tuple[int, int]) -> list[Figures]:
    openai: Any = importlib.import_module("openai")  # of the session that runs this, and no dependency
    prices = cycles.Prices({"gpt-metered": {"input": "2.50", "cached_input": "1.25", "output": "10"}})
    settings = config(ready, Path(), journal_enabled=False)
    bare_settings: dict[str, Any] = {"base_url": ready["base_url"], "headers": {"x-cycles-api-key": ready["api_key"]}}
    with cycles.Client(settings) as owner, httpx.Client(**bare_settings) as posts:
        plain = openai.OpenAI(api_key="key", base_url=url)
        metered = cycles.wrap(plain, prices=prices, client=owner)
        sync = blocking(plain, metered, posts, owner, sizes)

    async def work() -> Figures:
        async with cycles.AsyncClient(settings) as owner, httpx.AsyncClient(**bare_settings) as posts:
            plain = openai.AsyncOpenAI(api_key="key", base_url=url)
            metered = cycles.wrap(plain, prices=prices, client=owner)
            return await asynchronous(plain, metered, posts, owner, sizes)

    return [sync, asyncio.run(work())]


def main() -> int:
    parser = argparse.ArgumentParser(description="What metering adds to an SDK's own calls.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--stub", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stub:
        asyncio.run(serve_stub())
    with authority() as ready, stub() as url:
        found = measured(url, ready, (3, 10) if options.quick else (30, 15))
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    missed = [figures.judge() for figures in found]
    return 3 if any(missed) else 0


if __name__ == "__main__":
    sys.exit(main())
