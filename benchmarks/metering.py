"""What metering adds to an SDK's own calls, in CPU time: `python benchmarks/metering.py [--quick]`.

A metered call is held against what it would be without metering: a post to the authority, the SDK's (openai's) own
call, and another post, in this order. Three requests by turns take about a millisecond more CPU than in loops of their
own, for each finds cold what the others have used since; so figures that were measured apart can't be added up. Inside
a `Limit` a metered call is held against the SDK's own. Provider and authority are one stub in a process of its own, so
that their work does not count.

Rounds are short, and take turns. What disturbs one disturbs its neighbour: so the share that is added is the median of
the rounds' ratios. In milliseconds it is that share of the quickest tenth of the rounds without metering, for a busy
machine is slow at both.

On two cores that 5 to 13 programs wanted, eight sync and six async runs lay within 0.26 and 0.31 ms of their medians
(12 and 11 % of the SDK's call), inside a limit within 0.17 and 0.12 ms (8 and 4 %). What is added to a stream lay
within 10 and 5 % of the stream. A run takes about a minute of CPU time.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import re
import sys
import time
from typing import Any, Final

import httpx
from _measure import Sheet, Times, in_turns, in_turns_async, main, quickest, ratio, timed, timed_async
from _sides import GRANT, Stub, answered, bare_settings, commit_body, config, reserve_body, serve, stub

import cycles
from cycles import usd

CPU: Final = time.process_time
CALL: Final = 0.6
INSIDE: Final = 0.4
"""Milliseconds that a metered call may add, and one inside a limit. 0.3 and 0.15 were wanted. The latter takes 0.15 ms
when all of it is in the processor's caches, as it never is beside requests (docs/performance.md, Metered calls)."""
CHUNKS: Final = 1000
CALLS: Final = 4
"""Calls of one kind in a round."""
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


class Both(Stub):
    """A provider that says the same to everybody, and an authority that grants and charges what it is asked to."""

    WHOLE, STREAM = whole(), stream()

    def answer(self, request: bytes) -> bytes:
        if b"/reservations" in request.partition(b"\r\n")[0]:
            return answered(granted(request))
        return self.STREAM if b'"stream":true' in request else self.WHOLE


def granted(request: bytes) -> bytes:
    """Return the authority's answer to a reserve or a commit."""
    asked = re.search(rb'"amount": *([0-9]+)', request)
    assert asked is not None
    grant, balances, rest = (GRANT % b"COMMITTED").partition(b'"balances"')
    return re.sub(rb'"amount":[0-9]+', b'"amount":' + asked[1], grant) + balances + rest


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
    """Note what metering adds, beside its goals; see above for how."""
    call, turns = (quickest(times[name]) * 1e3 for name in ("call", "turns"))
    added = (ratio(times, "metered", "turns") - 1) * turns
    floor = f"the SDK's call between two bare posts, {turns:.2f} ms"
    sheet.add(f"a metered call adds, {kind}", added, CALL, unit="ms", floor=floor)
    added = (ratio(times, "limit", "call") - 1) * call
    floor = f"the SDK's call, {call:.2f} ms"
    sheet.add(f"a metered call inside a limit adds, {kind}", added, INSIDE, unit="ms", floor=floor)
    added = ratio(times, "metered stream", "stream") - 1
    floor = f"the SDK's stream, {quickest(times['stream']) * 1e3:.1f} ms"
    sheet.add(f"a metered stream of {CHUNKS:,} chunks adds, {kind}", added * 100, 5.0, unit="%", floor=floor)


def settled() -> None:
    """Take what was imported and made so far out of what the collector looks at before each round."""
    gc.collect()
    gc.freeze()


def blocking(plain: Any, owner: cycles.Client, posts: httpx.Client, rounds: int, streams: int) -> Times:
    metered = cycles.wrap(plain, prices=cycles.Prices(PRICES), client=owner)

    def calls(client: Any) -> float:
        return timed(lambda: client.chat.completions.create(**ASKED), CALLS, CPU, before=1)

    def inside() -> float:
        with cycles.Limit(usd("500"), action=RUN, client=owner):
            return calls(metered)

    def read(client: Any) -> float:
        return timed(lambda: list(client.chat.completions.create(**ASKED, stream=True)), 1, CPU)

    settled()
    return in_turns(
        {
            "turns": lambda: timed(lambda: between_posts(posts, plain), CALLS, CPU, before=1),
            "metered": lambda: calls(metered),
            "call": lambda: calls(plain),
            "limit": inside,
        },
        rounds,
    ) | in_turns({"stream": lambda: read(plain), "metered stream": lambda: read(metered)}, streams)


async def asynchronous(
    plain: Any, owner: cycles.AsyncClient, posts: httpx.AsyncClient, rounds: int, streams: int
) -> Times:
    metered = cycles.wrap(plain, prices=cycles.Prices(PRICES), client=owner)

    async def calls(client: Any) -> float:
        return await timed_async(lambda: client.chat.completions.create(**ASKED), CALLS, CPU, before=1)

    async def inside() -> float:
        async with cycles.Limit(usd("500"), action=RUN, client=owner):
            return await calls(metered)

    async def drained(client: Any) -> None:
        async for _ in await client.chat.completions.create(**ASKED, stream=True):
            pass

    settled()
    times = await in_turns_async(
        {
            "turns": lambda: timed_async(lambda: between_posts_async(posts, plain), CALLS, CPU, before=1),
            "metered": lambda: calls(metered),
            "call": lambda: calls(plain),
            "limit": inside,
        },
        rounds,
    )
    return times | await in_turns_async(
        {
            "stream": lambda: timed_async(lambda: drained(plain), 1, CPU),
            "metered stream": lambda: timed_async(lambda: drained(metered), 1, CPU),
        },
        streams,
    )


def work(sheet: Sheet) -> None:
    """Meter an SDK's calls."""
    openai: Any = importlib.import_module("openai")  # of the session that runs this, and no dependency
    rounds, streams = (1, 1) if sheet.quick else (100, 30)
    with stub(__file__) as url:
        key: dict[str, Any] = {"api_key": "key", "base_url": f"{url}/v1"}
        settings = config(url)
        with cycles.Client(settings) as owner, httpx.Client(**bare_settings(settings)) as posts:
            told(sheet, "sync", blocking(openai.OpenAI(**key), owner, posts, rounds, streams))

        async def apart() -> Times:
            async with cycles.AsyncClient(settings) as owner, httpx.AsyncClient(**bare_settings(settings)) as posts:
                return await asynchronous(openai.AsyncOpenAI(**key), owner, posts, rounds, streams)

        told(sheet, "async", asyncio.run(apart()))


if __name__ == "__main__":
    if sys.argv[1:] == ["stub"]:
        asyncio.run(serve(Both))
    main(work)
