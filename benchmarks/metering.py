"""What metering adds to an SDK's own calls, in CPU time: `python benchmarks/metering.py [--quick]`.

A metered call is held against what it would be without metering: a post to the authority, the SDK's (openai's) own
call, and another post, in this order. Three requests by turns take about a millisecond more CPU than in loops of their
own, for each finds cold what the others have used since; so figures that were measured apart can't be added up. Inside
a `Limit` a metered call is held against the SDK's own. The provider, a stub, and the authority are processes of their
own, so that their work does not count.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from typing import Any, Final

import httpx
from _measure import Sheet, Times, in_turns, in_turns_async, main, timed, timed_async
from _sides import Stub, answered, authority, bare_settings, commit_body, reserve_body, serve, stub

import cycles
from cycles import usd

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
PRICES: Final = {"gpt-metered": {"input": "2.50", "cached_input": "1.25", "output": "10"}}


def whole() -> bytes:
    message = {"role": "assistant", "content": "It depends. " * 100}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return answered(json.dumps(FRAME | {"object": "chat.completion", "choices": [choice], "usage": USAGE}).encode())


def stream() -> bytes:
    """Return a stream with every event in a chunk of its own, as it comes from a model that speaks token by token."""
    frame = FRAME | {"object": "chat.completion.chunk"}
    said = [{"index": 0, "delta": {"content": f"w{number} "}, "finish_reason": None} for number in range(CHUNKS)]
    events = [frame | {"choices": [choice], "usage": None} for choice in said]
    texts = [*map(json.dumps, [*events, frame | {"choices": [], "usage": USAGE}]), "[DONE]"]
    parts = [f"data: {text}\n\n".encode() for text in texts]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


class Provider(Stub):
    """A provider that says the same to everybody."""

    WHOLE, STREAM = whole(), stream()

    def answer(self, request: bytes) -> bytes:
        return self.STREAM if b'"stream":true' in request else self.WHOLE


def between_posts(posts: httpx.Client, client: Any) -> None:
    """Do what a metered call does, without metering: post, call, post."""
    held = posts.post("/v1/reservations", json=reserve_body()).json()["reservation_id"]
    client.chat.completions.create(**ASKED)
    posts.post(f"/v1/reservations/{held}/commit", json=commit_body()).json()


async def between_posts_async(posts: httpx.AsyncClient, client: Any) -> None:
    held = (await posts.post("/v1/reservations", json=reserve_body())).json()["reservation_id"]
    await client.chat.completions.create(**ASKED)
    (await posts.post(f"/v1/reservations/{held}/commit", json=commit_body())).json()


def told(sheet: Sheet, kind: str, times: Times) -> None:
    """Note what metering adds, beside its goals; the best round of each counts, since noise only adds."""
    call, turns, whole = (min(times[name]) for name in ("call", "turns", "stream"))
    floor = f"the SDK's call between two bare posts, {turns * 1e3:.2f} ms"
    sheet.add(f"a metered call adds, {kind}", (min(times["metered"]) - turns) * 1e3, 0.3, unit="ms", floor=floor)
    floor = f"the SDK's call, {call * 1e3:.2f} ms"
    sheet.add(
        f"a metered call inside a limit adds, {kind}",
        (min(times["limit"]) - call) * 1e3,
        0.15,
        unit="ms",
        floor=floor,
    )
    floor = f"the SDK's stream, {whole * 1e3:.1f} ms"
    added = min(times["metered stream"]) / whole - 1
    sheet.add(f"a metered stream of {CHUNKS:,} chunks adds, {kind}", added * 100, 5.0, unit="%", floor=floor)


def blocking(plain: Any, owner: cycles.Client, posts: httpx.Client, rounds: int, count: int) -> Times:
    metered = cycles.wrap(plain, prices=cycles.Prices(PRICES), client=owner)

    def call(client: Any, count: int = count) -> float:
        return timed(lambda: client.chat.completions.create(**ASKED), count, CPU)

    def inside() -> float:
        with cycles.Limit(usd("500"), action=RUN, client=owner):
            return call(metered)

    def read(client: Any) -> float:
        return timed(lambda: list(client.chat.completions.create(**ASKED, stream=True)), 1, CPU)

    return in_turns(
        {
            "call": lambda: call(plain),
            "turns": lambda: timed(lambda: between_posts(posts, plain), count, CPU),
            "metered": lambda: call(metered),
            "limit": inside,
            "stream": lambda: read(plain),
            "metered stream": lambda: read(metered),
        },
        rounds,
    )


async def asynchronous(
    plain: Any, owner: cycles.AsyncClient, posts: httpx.AsyncClient, rounds: int, count: int
) -> Times:
    metered = cycles.wrap(plain, prices=cycles.Prices(PRICES), client=owner)

    async def call(client: Any) -> float:
        return await timed_async(lambda: client.chat.completions.create(**ASKED), count, CPU)

    async def inside() -> float:
        async with cycles.Limit(usd("500"), action=RUN, client=owner):
            return await call(metered)

    async def drained(client: Any) -> None:
        async for _ in await client.chat.completions.create(**ASKED, stream=True):
            pass

    return await in_turns_async(
        {
            "call": lambda: call(plain),
            "turns": lambda: timed_async(lambda: between_posts_async(posts, plain), count, CPU),
            "metered": lambda: call(metered),
            "limit": inside,
            "stream": lambda: timed_async(lambda: drained(plain), 1, CPU),
            "metered stream": lambda: timed_async(lambda: drained(metered), 1, CPU),
        },
        rounds,
    )


def work(sheet: Sheet) -> None:
    """Meter an SDK's calls."""
    openai: Any = importlib.import_module("openai")  # of the session that runs this, and no dependency
    rounds, count = (1, 5) if sheet.quick else (6, 40)
    with authority() as served, stub(__file__) as provider:
        key: dict[str, Any] = {"api_key": "key", "base_url": f"{provider}/v1"}
        with cycles.Client(served) as owner, httpx.Client(**bare_settings(served)) as posts:
            told(sheet, "sync", blocking(openai.OpenAI(**key), owner, posts, rounds, count))

        async def apart() -> Times:
            async with cycles.AsyncClient(served) as owner, httpx.AsyncClient(**bare_settings(served)) as posts:
                return await asynchronous(openai.AsyncOpenAI(**key), owner, posts, rounds, count)

        told(sheet, "async", asyncio.run(apart()))


if __name__ == "__main__":
    if sys.argv[1:] == ["stub"]:
        asyncio.run(serve(Provider))
    main(work)
