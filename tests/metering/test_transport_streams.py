"""Streamed answers: the hold lasts as long as the stream, which is charged however it ends."""

from __future__ import annotations

import asyncio
import gc
import gzip
import itertools

import httpx
import pytest

import cycles
from cycles._metering.streams import EventReading
from tests.metering.metered import CHAT, DONE, URL, Metered, Parts, chunk, completion, event, streamed, usage_chunk
from tests.support.waiting import until

WORDS = [chunk(word) for word in ("I ", "am ", "fine")]
STREAM = {**CHAT, "stream": True}


@pytest.fixture
def metered(side, authority):
    return Metered(side, authority)


def test_a_stream_is_charged_at_its_end(metered):
    metered.answers = [streamed(*WORDS, usage_chunk(20, 5), DONE)]
    assert metered.stream(metered.client()) == b"".join([*WORDS, DONE]), "the usage chunk that nobody asked for is out"
    assert metered.body["stream_options"] == {"include_usage": True}
    assert metered.figures == (25, 0)
    assert metered.source is None


def test_the_usage_that_was_asked_for_is_passed_on(metered):
    parts = [*WORDS, usage_chunk(20, 5), DONE]
    metered.answers = [streamed(*parts)]
    body = {**CHAT, "stream_options": {"include_usage": True}}
    assert metered.stream(metered.client(), body=body) == b"".join(parts)
    assert metered.figures == (25, 0)


def test_it_holds_as_long_as_it_lasts(metered):
    held = []
    metered.answers = [httpx.Response(200, stream=Watched(lambda: held.append(metered.figures), *WORDS))]
    metered.stream(metered.client(estimate=lambda request: 100, max_output=300))
    assert held == [(0, 400)] * 3


class Watched(Parts):
    def __init__(self, watch, *parts):
        super().__init__(*parts)
        self.watch = watch

    def __iter__(self):
        for part in self.parts:
            self.watch()
            yield part

    async def __aiter__(self):
        for part in self.parts:
            self.watch()
            yield part


def test_one_that_is_left_at_done_is_charged_its_usage(metered):
    body = Parts(*WORDS, usage_chunk(20, 5), DONE, b": more\n\n")
    metered.answers = [httpx.Response(200, stream=body)]
    metered.stream(metered.client(), most=len(WORDS) + 1)
    assert metered.figures == (25, 0)
    assert body.is_closed


def test_one_without_usage_costs_the_estimate(metered):
    metered.answers = [streamed(*WORDS, DONE)]
    metered.stream(metered.client(estimate=lambda request: 100, max_output=300))
    assert metered.figures == (400, 0)
    assert metered.source == "estimate"


def test_one_whose_usage_was_stripped_to_nothing_costs_the_estimate(metered):
    """Or what came, if the SDK stops reading at the end that the provider has marked."""
    whole = [chunk("Fine."), usage_chunk(0, 0), DONE]
    metered.answers = [streamed(*whole), streamed(*whole)]
    client = metered.client(max_output=100)
    metered.stream(client)
    (estimate, _) = metered.figures
    assert metered.source == "estimate"
    metered.stream(client, most=2)
    came = metered.figures[0] - estimate
    assert 256 < came < estimate, "the input, at its bound, is most of it"


def test_one_that_is_left_early_costs_what_came(metered):
    body = Parts(*WORDS, usage_chunk(20, 5), DONE)
    metered.answers = [httpx.Response(200, stream=body)]
    metered.stream(metered.client(), most=2)
    spent, reserved = metered.figures
    assert reserved == 0
    assert len("I am ") < spent < 600, "the input at its bound, and a little for the words"
    assert metered.source == "partial"
    assert body.is_closed


def test_it_may_cost_the_whole_estimate(metered):
    metered.answers = [streamed(*WORDS, usage_chunk(20, 5), DONE)]
    metered.stream(metered.client(partial="estimate", estimate=lambda request: 100, max_output=300), most=2)
    assert metered.figures == (400, 0)
    assert metered.source == "estimate"


def test_one_that_breaks_costs_what_came(metered):
    metered.answers = [streamed(*WORDS, httpx.ReadError("gone"))]
    with pytest.raises(httpx.ReadError):
        metered.stream(metered.client())
    assert 0 < metered.figures[0] < 600
    assert metered.source == "partial"


def test_one_that_breaks_after_its_usage_is_charged_that(metered):
    metered.answers = [streamed(*WORDS, usage_chunk(20, 5), httpx.ReadError("gone"))]
    with pytest.raises(httpx.ReadError):
        metered.stream(metered.client())
    assert metered.figures == (25, 0)


def test_a_stream_that_is_refused_costs_nothing(metered):
    metered.answers = [httpx.Response(429, json={"error": {}})]
    assert metered.stream(metered.client()) == b'{"error":{}}'
    assert metered.figures == (0, 0)


def test_a_compressed_stream_is_read_and_passed_on_plain(metered):
    packed = gzip.compress(b"".join([*WORDS, usage_chunk(20, 5), DONE]))
    metered.answers = [streamed(packed[:40], packed[40:], headers={"content-encoding": "gzip"})]
    assert metered.stream(metered.client()) == b"".join([*WORDS, DONE])
    assert metered.figures == (25, 0)


@pytest.mark.parametrize("whole", [True, False])
def test_a_stream_in_a_coding_that_is_not_known_costs_the_estimate_and_is_passed_on_as_it_came(metered, whole):
    packed = [b"\x8b one", b"\x8b two", b"\x8b three"]
    metered.answers = [streamed(*packed, headers={"content-encoding": "gzip, cmpr"})]
    seen = []

    def run(client):
        with client.stream("POST", URL, json=STREAM) as response:
            for part in response.iter_raw():
                seen.append(part)
                if not whole:
                    break
        return response

    async def run_async(client):
        async with client.stream("POST", URL, json=STREAM) as response:
            async for part in response.aiter_raw():
                seen.append(part)
                if not whole:
                    break
        return response

    client = metered.client(estimate=lambda request: 100, max_output=300)
    response = metered.side.call(run if metered.side.kind == "sync" else run_async, client)
    assert seen == (packed if whole else packed[:1])
    assert response.headers["content-encoding"] == "gzip, cmpr", "who can decode it has to know"
    assert metered.figures == (400, 0)


def test_a_whole_answer_to_a_stream_is_read_as_it_is(metered):
    metered.answers = [completion({"prompt_tokens": 20, "completion_tokens": 5})]
    assert b"Fine." in metered.stream(metered.client())
    assert metered.figures == (25, 0)


def test_what_came_is_reported_each_second(metered, monkeypatch):
    monkeypatch.setattr("cycles._metered.calls.monotonic", itertools.count(step=1.0).__next__)
    limit = cycles.Limit(cycles.tokens(50_000), action=("agent.run", "test"), client=metered.side.client)
    held = []
    words = [chunk("word " * 200)] * 20
    body = Watched(lambda: held.append(limit.held.amount), *words, usage_chunk(20, 5), DONE)
    metered.answers = [httpx.Response(200, stream=body)]
    # What is reported above the estimate is held, too: so a low estimate shows it.
    client = metered.client(estimate=lambda request: cycles.tokens(1), max_output=8000)

    def run():
        with limit, client.stream("POST", URL, json=STREAM) as response:
            response.read()

    async def run_async():
        async with limit, client.stream("POST", URL, json=STREAM) as response:
            await response.aread()

    metered.side.call(run if metered.side.kind == "sync" else run_async)
    assert held[0] > 1, "the input is spent when the answer begins"
    growing = held[: len(words)]
    assert growing == sorted(growing)
    assert len(set(growing)) > 3
    assert held[-1] == 25, "as soon as the usage is told"
    assert metered.figures == (25, 0)


@pytest.mark.slow
def test_one_that_is_collected_is_charged_what_came(metered):
    metered.answers = [streamed(*WORDS, usage_chunk(20, 5), DONE)]
    client = metered.client()

    def leave():
        response = client.send(client.build_request("POST", URL, json=STREAM), stream=True)
        next(response.iter_bytes())

    async def leave_async():
        response = await client.send(client.build_request("POST", URL, json=STREAM), stream=True)
        parts = response.aiter_bytes()
        await anext(parts)
        await parts.aclose()

    metered.side.call(leave if metered.side.kind == "sync" else leave_async)
    until(lambda: gc.collect() >= 0 and metered.figures[0] > 0)
    spent, reserved = metered.figures
    assert (spent < 600, reserved) == (True, 0)
    assert metered.source == "partial"


def test_one_that_is_never_read_is_charged_its_input(metered):
    metered.answers = [streamed(*WORDS, usage_chunk(20, 5), DONE)]
    client = metered.client()

    def leave():
        client.send(client.build_request("POST", URL, json=STREAM), stream=True).close()

    async def leave_async():
        await (await client.send(client.build_request("POST", URL, json=STREAM), stream=True)).aclose()

    metered.side.call(leave if metered.side.kind == "sync" else leave_async)
    assert metered.figures[0] > 0
    assert metered.source == "partial"


def test_an_error_at_the_end_comes_out_of_the_stream(metered):
    metered.answers = [streamed(*WORDS, usage_chunk(20, 5), DONE)]
    body = metered.stream(metered.client(raise_on_unsettled=True))
    assert body.endswith(DONE)


# -- asynchronous only -------------------------------------------------------------------------------------------------
def test_a_cancelled_stream_is_charged_what_came(authority):
    async def main():
        metered = Metered(Sideless(authority.async_client(tenant="acme")), authority)
        metered.answers = [streamed(*WORDS, asyncio.Event().wait)]
        await _cancelled(metered.client())
        return metered.figures

    spent, reserved = asyncio.run(main())
    assert 0 < spent < 600
    assert reserved == 0


async def _cancelled(wrapped):
    """Cancel a task that waits for the next part of a stream."""
    came = asyncio.Event()

    async def read():
        async with wrapped.stream("POST", URL, json=STREAM) as response:
            async for _ in response.aiter_bytes():
                came.set()

    task = asyncio.create_task(read())
    await came.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(("has_begun", "spent"), [(False, 0), (True, 400)])
def test_a_cancelled_request_costs_the_estimate_if_it_may_have_left(authority, has_begun, spent):
    class Connecting(httpx.AsyncHTTPTransport):
        """Connects for ever, or sends and waits for ever."""

        async def handle_async_request(self, request):
            if has_begun:
                async for _ in request.stream:
                    pass
            asked.set()
            await asyncio.Event().wait()

    async def main():
        nonlocal asked
        asked = asyncio.Event()
        metered = Metered(Sideless(authority.async_client(tenant="acme")), authority)
        plain = httpx.AsyncClient(transport=Connecting())
        wrapped = metered.client(plain, estimate=lambda request: 100, max_output=300)
        task = asyncio.create_task(wrapped.post(URL, json=CHAT))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await plain.aclose()
        return metered.figures

    asked = asyncio.Event()
    assert asyncio.run(main()) == (spent, 0)


@pytest.mark.parametrize(("has_begun", "spent"), [(False, 0), (True, 400)])
def test_an_interrupted_request_costs_the_estimate_if_it_may_have_left(authority, has_begun, spent):
    class Interrupted(httpx.HTTPTransport):
        def handle_request(self, request):
            if has_begun:
                b"".join(request.stream)
            raise KeyboardInterrupt

    metered = Metered(Sideless(authority.client(tenant="acme")), authority)
    with httpx.Client(transport=Interrupted()) as plain, pytest.raises(KeyboardInterrupt):
        metered.client(plain, estimate=lambda request: 100, max_output=300).post(URL, json=CHAT)
    assert metered.figures == (spent, 0)


class Sideless:
    kind = "async"

    def __init__(self, client):
        self.client = client


def test_an_event_in_pieces_is_one_event(metered):
    whole = b"".join([*WORDS, usage_chunk(20, 5), DONE])
    metered.answers = [streamed(*(whole[at : at + 7] for at in range(0, len(whole), 7)))]
    assert metered.stream(metered.client()) == b"".join([*WORDS, DONE])
    assert metered.figures == (25, 0)


def test_a_stream_that_can_not_be_read_is_passed_on(metered, monkeypatch):
    monkeypatch.setattr(EventReading, "feed", lambda *_: 1 // 0)
    metered.answers = [streamed(*WORDS, usage_chunk(20, 5), DONE)]
    client = metered.client(estimate=lambda request: cycles.tokens(50_000))
    assert metered.stream(client) == b"".join([*WORDS, usage_chunk(20, 5), DONE])
    assert metered.figures == (50_000, 0)


def test_an_error_event_is_charged_at_the_estimate(metered):
    metered.answers = [streamed(WORDS[0], event({"error": {"message": "overloaded"}}))]
    metered.stream(metered.client(estimate=lambda request: 100, max_output=300))
    assert metered.figures == (400, 0)
