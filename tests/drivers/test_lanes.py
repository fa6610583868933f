"""The queue of an asynchronous client: who is next when all its lanes are taken."""

from __future__ import annotations

import asyncio

import anyio
import anyio.lowlevel
import pytest

from cycles._core.effects import Call
from cycles._core.operations import (
    COMMIT_RESERVATION,
    CREATE_EVENT,
    CREATE_RESERVATION,
    DECIDE,
    EXTEND_RESERVATION,
    RELEASE_RESERVATION,
)
from cycles._drivers.lanes import Lanes

RENEWAL = Call(EXTEND_RESERVATION, request_timeout=7.0)


def commit(lease_ends_ms):
    return Call(COMMIT_RESERVATION, lease_ends_ms=lease_ends_ms)


class Requests:
    """Requests on one client's lanes: which of them have begun, in their order."""

    def __init__(self, lanes):
        self.lanes = lanes
        self.begun = []
        self.tasks = {}
        self.ends = {}

    async def send(self, **calls):
        for name, call in calls.items():
            self.ends[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self._sent(name, call))
        await self.settled()

    async def end(self, name):
        self.ends[name].set()
        await self.settled()

    async def settled(self):
        for _ in range(10):  # as many turns of the loop as a task needs to go on
            await asyncio.sleep(0)

    async def _sent(self, name, call):
        async with self.lanes.lane(call):
            self.begun.append(name)
            await self.ends[name].wait()


def in_loop(work):
    async def main():
        requests = Requests(Lanes(1))
        await work(requests)
        for name, task in requests.tasks.items():
            requests.ends[name].set()
            await asyncio.gather(task, return_exceptions=True)
        assert requests.lanes.taken == 0, "every lane is given back"

    asyncio.run(main())


def test_a_lane_goes_to_the_settlement_whose_lease_ends_first_then_to_who_has_waited_longest():
    async def work(requests):
        await requests.send(first=Call(CREATE_RESERVATION))
        await requests.send(
            reserve=Call(CREATE_RESERVATION),
            decide=Call(DECIDE),
            release=Call(RELEASE_RESERVATION),
            event=Call(CREATE_EVENT),
            relaxed=commit(1_790_000_060_000),
            pressed=commit(1_790_000_015_000),
        )
        for name in ("first", "pressed", "relaxed", "release", "event", "reserve"):
            await requests.end(name)
        assert requests.begun == ["first", "pressed", "relaxed", "release", "event", "reserve", "decide"]

    in_loop(work)


def test_a_renewal_goes_at_once_and_the_others_wait_until_its_lane_is_free_too():
    async def work(requests):
        await requests.send(first=Call(CREATE_RESERVATION), renewal=RENEWAL, commit=commit(1))
        assert requests.begun == ["first", "renewal"]
        await requests.end("first")
        assert requests.begun == ["first", "renewal"], "the one lane is the renewal's"
        await requests.end("renewal")
        assert requests.begun == ["first", "renewal", "commit"]

    in_loop(work)


def test_who_waits_no_longer_is_passed_over():
    async def work(requests):
        await requests.send(first=Call(DECIDE), left=commit(1), next=commit(2))
        requests.tasks["left"].cancel()
        await requests.settled()
        await requests.end("first")
        assert requests.begun == ["first", "next"]

    in_loop(work)


def test_a_lane_that_came_at_the_moment_of_a_cancellation_goes_on_to_the_next():
    async def work(requests):
        await requests.send(first=Call(DECIDE), left=commit(1), next=commit(2))
        requests.lanes.leave()  # gives the lane to `left`, which is cancelled before it wakes
        requests.lanes.taken += 1  # `first` has its own still
        requests.tasks["left"].cancel()
        await requests.settled()
        await requests.end("first")
        assert requests.begun == ["first", "next"]

    in_loop(work)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_queue_is_the_same_in_both_kinds_of_loop(backend):
    begun = []

    async def main():
        lanes = Lanes(1)

        async def send(name, call):
            async with lanes.lane(call):
                begun.append(name)
                await anyio.lowlevel.checkpoint()

        async with lanes.lane(Call(DECIDE)), anyio.create_task_group() as group:
            group.start_soon(send, "reserve", Call(CREATE_RESERVATION))
            await anyio.wait_all_tasks_blocked()
            group.start_soon(send, "commit", commit(1))
            await anyio.wait_all_tasks_blocked()
            lanes.leave()
            await anyio.wait_all_tasks_blocked()
            lanes.taken += 1

    anyio.run(main, backend=backend)
    assert begun == ["commit", "reserve"]
