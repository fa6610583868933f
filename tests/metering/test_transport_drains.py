"""`partial="drain"`: what the caller leaves is read on in the background, within bounds, for the provider's figure."""

from __future__ import annotations

import asyncio
import gc

import httpx
import pytest
import trio

from cycles._metered import async_sources, sources
from cycles._metered.calls import Call
from tests.metering.metered import CHAT, DONE, URL, Metered, Parts, chunk, streamed, usage_chunk
from tests.metering.provider import Gate, Turn
from tests.metering.test_transport_streams import STREAM, WORDS, Sideless, _cancelled
from tests.support.authorities import SCOPE
from tests.support.waiting import PATIENCE, until, until_async

TOLD = (usage_chunk(20, 5), DONE)


@pytest.fixture
def metered(side, authority):
    return Metered(side, authority)


def test_its_rest_is_read_in_the_background(metered):
    body = Parts(*WORDS, *TOLD)
    metered.answers = [httpx.Response(200, stream=body)]
    metered.stream(metered.client(partial="drain"), most=1)
    until(lambda: metered.figures == (25, 0))
    assert metered.source is None
    until(lambda: body.is_closed)


def test_also_of_one_that_was_never_read(metered):
    metered.answers = [streamed(*WORDS, *TOLD)]
    client = metered.client(partial="drain")

    def leave():
        client.send(client.build_request("POST", URL, json=STREAM), stream=True).close()

    async def leave_async():
        await (await client.send(client.build_request("POST", URL, json=STREAM), stream=True)).aclose()

    metered.side.call(leave if metered.side.kind == "sync" else leave_async)
    until(lambda: metered.figures == (25, 0))


@pytest.mark.slow
def test_also_of_one_that_is_collected(metered):
    metered.answers = [streamed(*WORDS, *TOLD)]
    client = metered.client(partial="drain")

    def leave():
        response = client.send(client.build_request("POST", URL, json=STREAM), stream=True)
        next(response.iter_bytes())

    async def leave_async():
        response = await client.send(client.build_request("POST", URL, json=STREAM), stream=True)
        parts = response.aiter_bytes()
        await anext(parts)
        await parts.aclose()

    async def collected():
        await leave_async()
        await until_async(lambda: gc.collect() >= 0 and metered.authority.balance(SCOPE, "TOKENS").spent > 0)

    metered.side.call(leave if metered.side.kind == "sync" else collected)
    until(lambda: gc.collect() >= 0 and metered.figures == (25, 0))
    assert metered.source is None


def test_nothing_is_read_on_after_the_usage(metered):
    body = Parts(*WORDS, *TOLD, b": more\n\n")
    metered.answers = [httpx.Response(200, stream=body)]
    metered.stream(metered.client(partial="drain"), most=len(WORDS) + 1)
    assert metered.figures == (25, 0)
    assert body.given < len(body.parts)


def test_a_rest_that_breaks_costs_what_came(metered):
    metered.answers = [streamed(*WORDS, httpx.ReadError("gone"))]
    metered.stream(metered.client(partial="drain"), most=1)
    until(lambda: metered.figures[0] > 0)
    assert metered.source == "partial"


def test_a_rest_without_usage_costs_the_estimate(metered):
    metered.answers = [streamed(*WORDS)]
    metered.stream(metered.client(partial="drain", estimate=lambda request: 100, max_output=300), most=1)
    until(lambda: metered.figures == (400, 0))
    assert metered.source == "estimate"


def test_it_reads_so_many_bytes_at_most(metered, monkeypatch):
    monkeypatch.setattr(sources, "DRAIN_BYTES", 1000)
    body = Parts(*WORDS, chunk("w" * 600), chunk("w" * 600), chunk("w"), *TOLD)
    metered.answers = [httpx.Response(200, stream=body)]
    metered.stream(metered.client(partial="drain"), most=1)
    until(lambda: metered.figures[1] == 0)
    assert metered.figures[0] > 1200
    assert metered.source == "partial"
    assert body.given == len(WORDS) + 2


def test_it_reads_so_long_at_most(metered, monkeypatch):
    monkeypatch.setattr(sources, "DRAIN_SECONDS", 0.0)
    body = Parts(*WORDS, *TOLD)
    metered.answers = [httpx.Response(200, stream=body)]
    metered.stream(metered.client(partial="drain"), most=1)
    until(lambda: metered.figures[1] == 0)
    assert metered.source == "partial"
    until(lambda: body.is_closed)


def test_it_does_not_wait_for_ever_for_a_part(side, authority, provider, monkeypatch):
    """A provider that sends nothing more is cut off, over a real connection."""
    monkeypatch.setattr(sources, "DRAIN_SECONDS", 0.1)
    metered = Metered(side, authority)
    gate = Gate()
    gate.open(2)
    provider.plan(Turn(gate=gate))
    kind = httpx.Client if side.kind == "sync" else httpx.AsyncClient
    plain = kind(timeout=None)
    client = metered.client(plain, provider="openai", partial="drain")
    sent = {**CHAT, "model": "gpt-metered", "stream": True}

    def leave():
        with client.stream("POST", f"{provider.url}/v1/chat/completions", json=sent) as response:
            next(response.iter_bytes())

    async def leave_async():
        async with client.stream("POST", f"{provider.url}/v1/chat/completions", json=sent) as response:
            await anext(response.aiter_bytes())
        await until_async(lambda: authority.balance(SCOPE, "TOKENS").reserved == 0)
        await plain.aclose()

    side.call(leave if side.kind == "sync" else leave_async)
    until(lambda: metered.figures[1] == 0)
    assert metered.source == "partial"
    assert provider.over()[0].counts.output == 2
    if side.kind == "sync":
        plain.close()


def test_a_rest_that_nobody_can_read_costs_what_came(authority, monkeypatch):
    """While the interpreter ends, no thread can be started."""

    def refused(*_):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    metered = Metered(Sideless(authority.client(tenant="acme")), authority)
    body = Parts(*WORDS, *TOLD)
    monkeypatch.setattr(Sideless, "kind", "sync")
    metered.answers = [httpx.Response(200, stream=body)]
    client = metered.client(partial="drain", estimate=lambda request: 100, max_output=300)
    with monkeypatch.context() as patch, client.stream("POST", URL, json=STREAM) as response:
        patch.setattr("_thread.start_new_thread", refused)
        next(response.iter_bytes())
    assert metered.figures[0] > 100
    assert metered.source == "partial"
    assert metered.figures[1] == 0
    assert body.is_closed


# -- asynchronous only -------------------------------------------------------------------------------------------------
def test_one_whose_reader_is_cancelled_is_read_on(authority):
    """The reader waits for a part; the part that it was to get is no more lost than those after it."""

    async def main():
        metered = Metered(Sideless(authority.async_client(tenant="acme")), authority)
        goes_on = asyncio.Event()
        metered.answers = [streamed(*WORDS, goes_on.wait, *TOLD)]
        await _cancelled(metered.client(partial="drain"))
        assert metered.figures[0] == 0
        goes_on.set()
        await until_async(lambda: metered.figures == (25, 0))
        assert [row.status async for row in metered.side.client.reservations()] == ["COMMITTED"]

    asyncio.run(main())


def test_a_drain_that_is_cut_off_by_the_end_of_its_loop_costs_what_came(authority):
    async def main():
        metered = Metered(Sideless(authority.async_client(tenant="acme")), authority)
        metered.answers = [streamed(*WORDS, asyncio.Event().wait)]
        wrapped = metered.client(partial="drain")
        async with wrapped.stream("POST", URL, json=STREAM) as response:
            async for _ in response.aiter_bytes():
                break
        await asyncio.sleep(0)
        return metered

    metered = asyncio.run(main())
    spent, reserved = metered.figures
    assert 0 < spent < 600
    assert reserved == 0


def test_what_is_left_while_the_loop_ends_is_not_read_on(authority):
    """A task that begins while all others are being cancelled would never run."""

    async def main():
        metered = Metered(Sideless(authority.async_client(tenant="acme")), authority)
        metered.answers = [streamed(*WORDS, *TOLD)]
        wrapped = metered.client(partial="drain")
        came = asyncio.Event()

        async def read():
            async with wrapped.stream("POST", URL, json=STREAM) as response:
                await anext(response.aiter_bytes())
                came.set()
                await asyncio.Event().wait()

        tasks.append(asyncio.create_task(read()))
        await came.wait()
        return metered

    tasks = []
    metered = asyncio.run(main())
    spent, reserved = metered.figures
    assert 0 < spent < 600
    assert reserved == 0


def test_one_that_is_collected_after_its_loop_costs_what_came(authority):
    kept = []

    async def main():
        metered = Metered(Sideless(authority.async_client(tenant="acme")), authority)
        metered.answers = [streamed(*WORDS, *TOLD)]
        wrapped = metered.client(partial="drain")
        kept.append(await wrapped.send(wrapped.build_request("POST", URL, json=STREAM), stream=True))
        return metered

    metered = asyncio.run(main())
    assert metered.figures[0] == 0
    kept.clear()
    gc.collect()
    asyncio.run(metered.side.client.drain())
    assert 0 < metered.figures[0] < 600
    assert metered.figures[1] == 0


class Cancelled:
    """A part that never comes; it notes that its wait was cancelled, and may break then.

    Args:
        breaks: What a connection raises that is closed while it is read.
    """

    def __init__(self, breaks: BaseException | None = None) -> None:
        self.breaks = breaks
        self.was_cancelled = False

    async def __call__(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was_cancelled = True
            if self.breaks is not None:
                raise self.breaks from None
            raise


@pytest.mark.parametrize("breaks", [None, httpx.ReadError("closed")], ids=["waits", "breaks"])
def test_a_cancelled_reader_leaves_no_part_pending_where_nothing_is_read_on(authority, breaks):
    """The usage was told, so nothing is read on: no task is left behind, and nobody hears of what it raised."""
    pending, complaints = Cancelled(breaks), []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        metered = Metered(Sideless(authority.async_client(tenant="acme")), authority)
        body = Parts(*WORDS, *TOLD, pending)
        metered.answers = [httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body)]
        wrapped, told = metered.client(partial="drain"), asyncio.Event()

        async def read():
            async with wrapped.stream("POST", URL, json=STREAM) as response:
                async for part in response.aiter_bytes():
                    if part == DONE:
                        told.set()

        before = asyncio.all_tasks()
        task = asyncio.create_task(read())
        await told.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pending.was_cancelled
        assert body.is_closed
        left = asyncio.all_tasks() - before
        return metered, [one.get_coro().__qualname__ for one in left if "AsyncSource" in one.get_coro().__qualname__]

    metered, left = asyncio.run(main())
    gc.collect()
    assert left == []
    assert complaints == []
    assert metered.figures == (25, 0)


def test_a_part_that_came_as_its_reader_was_cancelled_counts(authority, monkeypatch):
    """The provider's figure is in it. Nothing is read on, as at the end of a loop, and nobody gets to see the part."""
    monkeypatch.setattr(async_sources, "_is_ending", lambda _: True)

    async def main():
        metered = Metered(Sideless(authority.async_client(tenant="acme")), authority)
        tasks = []

        async def cancel():
            tasks[0].cancel()

        metered.answers = [streamed(*WORDS, cancel, usage_chunk(20, 5), asyncio.Event().wait)]
        seen = []

        async def read():
            async with metered.client(partial="drain").stream("POST", URL, json=STREAM) as response:
                async for part in response.aiter_bytes():
                    seen.append(part)

        tasks.append(asyncio.create_task(read()))
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
        assert seen == WORDS
        return metered

    assert asyncio.run(main()).figures == (25, 0)


def test_a_reader_that_trio_cancels_is_charged_what_came(authority):
    """No task outlives its block under trio: nothing is read on, and the answer is closed."""
    body = Parts(*WORDS, trio.sleep_forever)
    client = authority.async_client(tenant="acme")
    metered = Metered(Sideless(client), authority)
    metered.answers = [httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body)]

    async def main():
        seen = []
        with trio.CancelScope() as scope:
            async with metered.client(partial="drain").stream("POST", URL, json=STREAM) as response:
                async for part in response.aiter_raw():
                    seen.append(part)
                    if len(seen) == len(WORDS):
                        scope.cancel()
        assert scope.cancelled_caught
        await client.close()

    trio.run(main)
    spent, reserved = metered.figures
    assert 0 < spent < 600
    assert reserved == 0
    assert body.is_closed


# -- closed by another task than the one that reads --------------------------------------------------------------------
async def _closed_meanwhile(metered, *, when, then):
    """Read a stream in a task, and close it in another one once *when* is set, and then set *then*.

    Returns:
        What the reader saw, and what came out of it.
    """
    client, seen = metered.client(partial="drain"), []
    response = await client.send(client.build_request("POST", URL, json=STREAM), stream=True)

    async def read():
        async for part in response.stream:
            seen.append(part)

    reader = asyncio.create_task(read())
    await when.wait()
    await response.aclose()
    then.set()
    (raised,) = await asyncio.gather(reader, return_exceptions=True)
    return seen, raised


class Waits:
    """A part that comes when it may; it notes that somebody waits for it."""

    def __init__(self) -> None:
        self.is_awaited = asyncio.Event()
        self.may_come = asyncio.Event()

    async def __call__(self) -> None:
        self.is_awaited.set()
        await self.may_come.wait()


def test_one_that_another_task_closes_is_read_by_the_background_alone(authority, monkeypatch):
    """Who waits for the next part does not get it, nor any that comes after it: each is read once."""
    complaints, fed, feed = [], [], Call.feed
    monkeypatch.setattr(Call, "feed", lambda call, data: fed.append(data) or feed(call, data))

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        metered, waits = Metered(Sideless(authority.async_client(tenant="acme")), authority), Waits()
        body = Parts(*WORDS, waits, chunk("more"), chunk("and more"), *TOLD)
        metered.answers = [httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body)]
        seen, raised = await _closed_meanwhile(metered, when=waits.is_awaited, then=waits.may_come)
        assert seen == WORDS
        assert isinstance(raised, httpx.ReadError)
        await until_async(lambda: metered.figures == (25, 0))
        await until_async(lambda: body.is_closed)
        assert fed == [*WORDS, chunk("more"), chunk("and more"), TOLD[0]]

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
    gc.collect()
    assert complaints == []


def test_a_reader_is_not_cancelled_because_another_task_closes_the_stream(authority):
    """The usage was told, so nothing is read on; its reader has waited for more, and hears that it was closed."""

    async def main():
        metered, waits = Metered(Sideless(authority.async_client(tenant="acme")), authority), Waits()
        metered.answers = [streamed(*WORDS, *TOLD, waits)]
        seen, raised = await _closed_meanwhile(metered, when=waits.is_awaited, then=waits.may_come)
        assert seen == [*WORDS, DONE]
        assert isinstance(raised, httpx.ReadError)
        assert metered.figures == (25, 0)

    asyncio.run(asyncio.wait_for(main(), PATIENCE))
