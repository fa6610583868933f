"""Interrupted sections settle, shielded and bounded in time; the interruption goes on."""

from __future__ import annotations

import asyncio

import anyio
import httpx
import pytest

import cycles
from cycles import usd
from tests.support.authorities import ACTION


@pytest.fixture
def client(authority):
    return authority.async_client(tenant="acme")


async def sleeping(client, then, *, report=False):
    """Run a section that calls *then*, and waits for ever."""
    async with cycles.Guard(usd("0.10"), action=ACTION, client=client) as reservation:
        if report:
            reservation.report(actual=usd("0.03"))
        then()
        await asyncio.Event().wait()


@pytest.mark.parametrize(("report", "spent"), [(False, 0), (True, 3)])
def test_a_cancelled_task_settles(client, figures, report, spent):
    async def main():
        running = asyncio.Event()
        task = asyncio.create_task(sleeping(client, running.set, report=report))
        await running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert figures() == (spent, 0, 100 - spent)


@pytest.mark.parametrize(("report", "spent"), [(False, 0), (True, 3)])
def test_asyncio_timeout_settles(client, figures, report, spent):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as limit:
                await sleeping(client, lambda: limit.reschedule(0.0), report=report)

    asyncio.run(main())
    assert figures() == (spent, 0, 100 - spent)


@pytest.mark.parametrize(("report", "spent"), [(False, 0), (True, 3)])
def test_an_anyio_cancel_scope_settles(client, figures, report, spent):
    async def main():
        with anyio.CancelScope() as scope:
            await sleeping(client, lambda: setattr(scope, "deadline", 0.0), report=report)
        assert scope.cancelled_caught

    asyncio.run(main())
    assert figures() == (spent, 0, 100 - spent)


def test_a_failing_sibling_in_a_task_group_settles(client, figures):
    async def failing(running):
        await running.wait()
        raise KeyError("sibling")

    async def main():
        running = asyncio.Event()
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(sleeping(client, running.set, report=True))
                group.create_task(failing(running))

    asyncio.run(main())
    assert figures() == (3, 0, 97)


class Slow(httpx.AsyncBaseTransport):
    """Holds requests to one path back until released; counts what arrives."""

    def __init__(self, inner, path):
        self.inner, self.path = inner, path
        self.arrived = asyncio.Event()
        self.go = asyncio.Event()

    async def handle_async_request(self, request):
        if request.url.path.endswith(self.path):
            self.arrived.set()
            await self.go.wait()
        return await self.inner.handle_async_request(request)


def slow_client(authority, path):
    transport = Slow(authority.async_transport(), path)
    config = cycles.Config("local:", api_key=authority.key(tenant="acme"), tenant="acme")
    return transport, cycles.AsyncClient(config, http_client=httpx.AsyncClient(transport=transport))


def test_a_cancellation_during_the_commit_waits_for_it(authority, figures):
    """The commit is on its way when the task is cancelled, twice: it is finished, then the cancellation goes on."""

    async def main():
        transport, client = slow_client(authority, "/commit")

        async def section():
            async with cycles.Guard(usd("0.10"), action=ACTION, client=client) as reservation:
                reservation.report(actual=usd("0.03"))

        task = asyncio.create_task(section())
        await transport.arrived.wait()
        task.cancel()
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.sleep(0.02)
        assert not task.done()
        transport.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert figures() == (3, 0, 97)


def test_a_settlement_that_hangs_does_not_hold_a_cancellation_up_for_ever(authority, monkeypatch):
    monkeypatch.setattr("cycles._client.running_section.PATIENCE", 0.1)

    async def main():
        transport, client = slow_client(authority, "/release")
        running = asyncio.Event()
        task = asyncio.create_task(sleeping(client, running.set))
        await running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert transport.arrived.is_set()

    asyncio.run(main())


def test_keyboard_interrupt_releases(authority, figures):
    with authority.client(tenant="acme") as client:
        guard = cycles.Guard(usd("0.10"), action=ACTION, client=client)
        with pytest.raises(KeyboardInterrupt), guard:
            raise KeyboardInterrupt
    assert figures() == (0, 0, 100)


def test_trio_works_too(authority, figures):
    trio = pytest.importorskip("trio")

    async def main():
        client = authority.async_client(tenant="acme")
        async with cycles.Guard(usd("0.10"), action=ACTION, client=client) as reservation:
            await reservation.commit(usd("0.03"))
        with trio.move_on_after(0.05):
            async with cycles.Guard(usd("0.10"), action=ACTION, client=client) as reservation:
                reservation.report(actual=usd("0.01"))
                await trio.sleep(60)

    trio.run(main)
    assert figures() == (4, 0, 96)
