"""What happens rarely: rests that are read in this thread, streams that are closed while they are read, interruptions.

Nothing here depends on how quick a thread or a task is: each part of an answer does what is to happen when it comes.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import types

import httpx
import pytest

import cycles
from cycles import usd
from cycles._metered import calls, sources
from cycles._metered.meter import Meter
from cycles._metering.billable import Billable
from cycles._metering.streams import EventReading
from tests.metering.metered import CHAT, DONE, URL, Metered, Parts, chunk, completion, streamed, told, usage_chunk
from tests.metering.test_transport_streams import STREAM, WORDS, Sideless
from tests.support.authorities import SCOPE
from tests.support.waiting import until_async

TOLD = (usage_chunk(20, 5), DONE)
BOUNDED = {"estimate": lambda request: 100, "max_output": 300}


@pytest.fixture
def metered(side, authority):
    return Metered(side, authority)


@pytest.fixture
def blocking(authority, monkeypatch):
    monkeypatch.setattr(Sideless, "kind", "sync")
    made = Sideless(authority.client(tenant="acme"))
    made.call = lambda work, *args, **options: work(*args, **options)
    return Metered(made, authority)


# -- rests that are read in this thread --------------------------------------------------------------------------------
@pytest.fixture
def inline(monkeypatch):
    """Read in this thread what is left, at once."""
    monkeypatch.setattr("_thread.start_new_thread", lambda work, args: work(*args))


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    ("rest", "source"),
    [
        (TOLD, None),
        ((httpx.ReadError("gone"),), "partial"),
        ((), "estimate"),
        ((chunk("w" * 2_000), *TOLD), "partial"),
    ],
    ids=["told", "broken", "untold", "long"],
)
def test_what_a_rest_costs(blocking, monkeypatch, rest, source):
    monkeypatch.setattr(sources, "DRAIN_BYTES", 1_000)
    body = Parts(*WORDS, *rest)
    blocking.answers = [httpx.Response(200, stream=body)]
    blocking.stream(blocking.client(partial="drain", **BOUNDED), most=1)
    assert blocking.source == source
    assert blocking.figures == ({None: 25, "estimate": 400}.get(source, blocking.figures[0]), 0)
    assert body.is_closed


@pytest.mark.usefixtures("inline")
def test_a_rest_is_read_so_long_at_most(blocking, monkeypatch):
    monkeypatch.setattr(sources, "DRAIN_SECONDS", 0.0)
    monkeypatch.setattr(sources, "time", types.SimpleNamespace(monotonic=iter(range(100)).__next__))
    body = Parts(*WORDS, *TOLD)
    blocking.answers = [httpx.Response(200, stream=body)]
    blocking.stream(blocking.client(partial="drain", **BOUNDED), most=1)
    assert blocking.source == "partial"
    assert body.given == 2


class Late(threading.Timer):
    """A time limit that is over at once."""

    def start(self) -> None:
        self.function()


class Wire:
    """The connection of an answer."""

    def __init__(self) -> None:
        self.ends: list[object] = []

    def get_extra_info(self, name: str) -> object:
        assert name == "socket"
        return types.SimpleNamespace(shutdown=self.ends.append)


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(("version", "is_cut"), [(b"HTTP/1.1", True), (b"HTTP/2", False)])
def test_a_rest_that_does_not_come_is_cut_off(blocking, monkeypatch, version, is_cut):
    """A connection of HTTP/2 serves other requests, too."""
    monkeypatch.setattr(sources.threading, "Timer", Late)
    wire = Wire()
    answer = httpx.Response(
        200, stream=Parts(*WORDS, *TOLD), extensions={"network_stream": wire, "http_version": version}
    )
    blocking.answers = [answer]
    blocking.stream(blocking.client(partial="drain"), most=1)
    assert len(wire.ends) == is_cut
    assert blocking.figures == (25, 0)


def test_one_that_is_collected_after_its_usage_is_not_read_on(authority):
    """Its settlement is left to the background, at the provider's figure."""

    async def main():
        metered = Metered(Sideless(authority.async_client(tenant="acme")), authority)
        body = Parts(*WORDS, *TOLD, asyncio.Event().wait)
        metered.answers = [httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body)]
        client = metered.client(partial="drain")

        async def read():
            response = await client.send(client.build_request("POST", URL, json=STREAM), stream=True)
            parts = response.stream.__aiter__()
            for _ in range(len(WORDS) + 1):
                await anext(parts)
            await parts.aclose()

        await read()
        await until_async(lambda: gc.collect() >= 0 and metered.figures == (25, 0))

    asyncio.run(main())


# -- streams that are closed while they are read -----------------------------------------------------------------------
class Closed(Parts):
    """A body whose response is closed while its next part is awaited; then it goes on, ends or breaks."""

    def __iter__(self):
        yield WORDS[0]
        self.response.close()
        yield from super().__iter__()

    async def __aiter__(self):
        yield WORDS[0]
        await self.response.aclose()
        async for part in super().__aiter__():
            yield part


@pytest.mark.parametrize("then", [(WORDS[1],), (httpx.ReadError("closed"),)], ids=["ends", "breaks"])
def test_a_stream_that_is_closed_while_it_is_read_is_charged_once(metered, monkeypatch, then):
    """It costs what had come when it was closed; what comes after that is reported no more."""
    body = Closed(*then)
    metered.answers = [httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body)]
    client = metered.client(**BOUNDED)
    monkeypatch.setattr(calls, "_REPORT_EVERY", -1.0)  # each part is reported

    def read():
        with client.stream("POST", URL, json=STREAM) as response:
            body.response = response
            for _ in response.stream:
                pass

    async def read_async():
        async with client.stream("POST", URL, json=STREAM) as response:
            body.response = response
            async for _ in response.stream:
                pass

    work = read if metered.side.kind == "sync" else read_async
    if isinstance(then[0], Exception):
        with pytest.raises(httpx.ReadError, match="closed"):
            metered.side.call(work)
    else:
        metered.side.call(work)
    spent, reserved = metered.figures
    assert 100 < spent < 400
    assert reserved == 0
    assert metered.source == "partial"


def test_half_an_event_at_the_end_is_passed_on(metered):
    """It might have been one to hide; at the end it is known that it is none."""
    half = b'data: {"x": 1'
    metered.answers = [streamed(*WORDS, half)]
    assert metered.stream(metered.client()) == b"".join([*WORDS, half])


# -- interruptions, and what can't be priced ---------------------------------------------------------------------------
def test_an_interruption_while_an_answer_is_read_comes_out_and_costs_the_estimate(blocking, monkeypatch):
    blocking.answers = [completion(told(20, 5))]
    client = blocking.client(**BOUNDED)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Billable, "answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        blocking.post(client)
    assert blocking.figures == (400, 0)


def test_an_interruption_while_an_answer_is_priced_costs_what_it_tells(blocking, monkeypatch):
    blocking.answers = [completion(told(20, 5))]
    client, cost, asked = blocking.client(**BOUNDED), Meter.cost, []

    def interrupted(meter, billable, usage):
        asked.append(usage)
        if len(asked) == 2:  # the first is the estimate
            raise KeyboardInterrupt
        return cost(meter, billable, usage)

    monkeypatch.setattr(Meter, "cost", interrupted)
    with pytest.raises(KeyboardInterrupt):
        blocking.post(client)
    assert blocking.figures == (25, 0)
    assert blocking.source is None


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="needs signals")
def test_a_time_limit_that_strikes_while_a_part_is_read_comes_out(blocking, monkeypatch):
    """Its exception is the program's; it is not taken for a stream that nobody can read."""

    def struck(*_):
        raise TimeoutError("the program's own limit")

    def feed(reading, data):
        signal.raise_signal(signal.SIGUSR1)
        return data

    before = signal.signal(signal.SIGUSR1, struck)
    try:
        blocking.answers = [streamed(*WORDS, *TOLD)]
        monkeypatch.setattr(EventReading, "feed", feed)
        with pytest.raises(TimeoutError, match="the program's own limit"):
            blocking.stream(blocking.client(**BOUNDED))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert blocking.figures[1] == 0
    assert blocking.source == "partial"


def test_a_stream_whose_usage_has_no_price_costs_the_estimate(metered, monkeypatch):
    metered.answers = [streamed(*WORDS, *TOLD)]
    client = metered.client(estimate=lambda request: cycles.tokens(5_000))

    def unpriced(*_):
        raise cycles.UnknownPrice("no price is known for it")

    monkeypatch.setattr(Meter, "cost", unpriced)
    assert metered.stream(client) == b"".join([*WORDS, DONE])
    assert metered.figures == (5_000, 0)
    assert metered.source == "estimate"


def test_a_context_window_bounds_what_a_request_only_names(metered, monkeypatch, caplog):
    monkeypatch.setattr(cycles.Prices, "context_window", lambda *_: 128_000)
    metered.authority.budget(SCOPE, usd(1))
    prices = cycles.Prices({"gpt-4o": {"input": "1", "output": "1"}})
    client = metered.client(unit="USD_MICROCENTS", prices=prices)
    held = []

    def answered(request):
        held.append(metered.authority.balance(SCOPE, "USD_MICROCENTS").reserved)
        return completion(told(20, 5))

    client._transport._inner.handler = answered
    page = {"type": "file", "file": {"file_id": "f_1"}}
    metered.post(client, {**CHAT, "messages": [{"role": "user", "content": [page]}], "max_completion_tokens": 1_000})
    assert held == [129_000 * 100]
    assert "without a bound" not in caplog.text


# -- clients -----------------------------------------------------------------------------------------------------------
def test_a_copy_of_a_closed_client_is_closed(metered):
    plain = metered.plain()
    metered.side.call(plain.close if metered.side.kind == "sync" else plain.aclose)
    client = metered.client(plain)
    assert client.is_closed
    with pytest.raises(RuntimeError, match="closed"):
        metered.post(client)
    assert metered.figures == (0, 0)


class Audio:
    """As Mistral's SDK has it: sockets that are made when they are asked for."""

    def __init__(self, configuration):
        self.sdk_configuration = configuration

    @property
    def realtime(self):
        return getattr(self, "_realtime", "a socket")


class Mistral:
    _sub_sdk_map = {"chat": ("", ""), "audio": ("", "")}  # noqa: RUF012 - as the SDK has it

    def __init__(self, **clients):
        self.sdk_configuration = types.SimpleNamespace(**clients)

    def __getattr__(self, name):
        if name != "audio":
            raise AttributeError(name)
        return self.__dict__.setdefault(name, Audio(self.sdk_configuration))


def test_sockets_of_mistrals_client_are_refused_by_name(metered, caplog):
    original = Mistral(client=httpx.Client(), async_client=httpx.AsyncClient())
    assert original.audio.realtime == "a socket"
    socket = metered.client(original).audio.realtime
    with pytest.raises(cycles.Unmeterable, match=r"Audio\.realtime can't be metered"):
        socket.connect("m")
    assert not hasattr(socket, "__wrapped__"), "tools that look at it learn nothing, and raise nothing"
    with caplog.at_level("WARNING", "cycles.guard"):
        assert metered.client(original, unknown="pass").audio.realtime.upper() == "A SOCKET"
    assert [record.cycles_event for record in caplog.records] == ["sent without being counted"]
    assert original.audio.realtime == "a socket"


def test_mistrals_own_client_speaks_its_wire_at_azure(metered, monkeypatch):
    monkeypatch.setattr(Mistral, "__module__", "mistralai.azure.client.sdk")
    name = "client" if metered.side.kind == "sync" else "async_client"
    original = Mistral(**{"client": None, "async_client": None, name: metered.plain()})
    http = getattr(metered.client(original).sdk_configuration, name)
    metered.answers = [streamed(*WORDS, *TOLD)]
    body = {**CHAT, "model": "mistral-large", "stream": True}
    metered.post(http, body, "https://mine.services.ai.azure.com/models/chat/completions")
    assert metered.body == {**body, "max_tokens": 4096}
    assert metered.only.action.name == "mistral:mistral-large"
