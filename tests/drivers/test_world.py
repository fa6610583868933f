"""What both drivers stand on: effects without waiting, the queue for a connection, and a full disk."""

from __future__ import annotations

import asyncio
import threading
import time
from queue import Empty

import anyio
import httpx
import pytest

from cycles import usd
from cycles._core import requests
from cycles._core.effects import Call, Clock, Effect, Forget, Notify, Ready, Sleep, Tell
from cycles._core.operations import COMMIT_RESERVATION, CREATE_RESERVATION
from cycles._core.outcomes import Trouble
from cycles._core.results import SettlementDetails
from cycles._drivers import aio, blocking
from cycles._drivers.lanes import Lanes
from cycles._drivers.threads import Permits
from cycles._drivers.world import World
from cycles_api.client import AuthenticatedClient
from tests.support.records import pending
from tests.support.waiting import PATIENCE


def world() -> World:
    return World(AuthenticatedClient("http://a", "key"), lambda event, facts: None)


def test_the_time_of_day_is_in_milliseconds():
    assert abs(world().perform(Clock()) - time.time() * 1000) < 60_000


def test_nothing_can_be_kept_without_a_journal():
    assert world().perform(Ready()) is False


def answer(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"decision": "ALLOW", "affected_scopes": []})


def asked():
    """A flow of one request."""
    terms = requests.terms(usd("1"), action=("a", "b"), levels={"tenant": "acme"})
    return (yield from Call(CREATE_RESERVATION, body=terms.create_body("key")))


def too_deep(request: httpx.Request) -> httpx.Response:
    raise RecursionError("maximum recursion depth exceeded")


def test_a_stack_that_is_too_deep_is_no_trouble_of_the_network():
    api = AuthenticatedClient("http://a", "key", httpx_args={"transport": httpx.MockTransport(too_deep)})
    with api, pytest.raises(RecursionError):
        blocking.run(asked(), World(api, lambda event, facts: None))


def test_a_stack_that_is_too_deep_never_hides_what_a_section_did():
    def commit():
        return (yield from Call(COMMIT_RESERVATION, reservation_id="r", body=pending().commit_body()))

    api = AuthenticatedClient("http://a", "key", httpx_args={"transport": httpx.MockTransport(too_deep)})
    with api:
        assert blocking.run(commit(), World(api, lambda event, facts: None)).trouble is Trouble.LOST


def test_the_time_in_a_queue_is_no_time_on_the_wire():
    """A lease is judged by its round trips: 1,000 guards that began at once lost most of theirs to the queue."""
    lanes = Permits(0)
    take, put = lanes.steps
    api = AuthenticatedClient("http://a", "key", httpx_args={"transport": httpx.MockTransport(answer)})
    with api:
        threading.Timer(0.3, put, (None,)).start()
        began = time.monotonic()
        found = blocking.run(asked(), World(api, lambda event, facts: None, lanes=lanes))
    assert found.status == 200
    assert found.sent_at - began >= 0.29
    assert take(0.0) is None, "the lane is free again"


def test_what_a_transport_raises_is_no_queue_of_ours():
    def raises(request):
        raise Empty

    api = AuthenticatedClient("http://a", "key", httpx_args={"transport": httpx.MockTransport(raises)})
    with api, pytest.raises(Empty):
        blocking.run(asked(), World(api, lambda event, facts: None, lanes=Permits(1)))


def test_who_waits_too_long_for_a_turn_has_sent_nothing():
    api = AuthenticatedClient("http://a", "key")

    def one():
        return (yield from Call(CREATE_RESERVATION, within=0.05, body=None))

    found = blocking.run(one(), World(api, lambda event, facts: None, lanes=Permits(0)))
    assert found.trouble is Trouble.NOT_SENT
    assert "no connection was free in time" in found.reason


def test_the_same_queue_in_an_event_loop():
    async def main():
        gate = Lanes(1)
        gate.taken = 1
        api = AuthenticatedClient("http://a", "key", httpx_args={"transport": httpx.MockTransport(answer)})
        async with api:
            asyncio.get_running_loop().call_later(0.3, gate.leave)
            began = time.monotonic()
            found = await aio.run(asked(), World(api, lambda event, facts: None, gate=gate))
        assert found.status == 200
        assert found.sent_at - began >= 0.29

    asyncio.run(main())


# -- what happens seldom -----------------------------------------------------------------------------------------------
class Odd(Effect[None]):
    """An effect that no driver performs."""


class Full:
    """A journal on a disk that is full."""

    fsync = False

    def __init__(self):
        self.failures = []

    def forget(self, pending, refusal=None):
        raise OSError(28, "No space left on device")

    def failed(self, error):
        self.failures.append(error)


@pytest.fixture
def outside():
    return World(
        AuthenticatedClient(base_url="http://localhost:1", token=""), lambda event, facts: None, journal=Full()
    )


def of(effect):
    return (yield from effect)


def test_a_record_that_can_not_be_forgotten_is_told(outside):
    blocking.run(of(Forget(pending())), outside)
    assert [error.errno for error in outside.journal.failures] == [28]


def test_who_tells_nobody_goes_on(outside):
    details = SettlementDetails(None, pending().actual, "settled", via="event", attempts=1)
    assert blocking.run(of(Tell(details)), outside) is None
    assert blocking.run(of(Notify("anything", {})), outside) is None


def test_an_effect_that_no_driver_knows_is_an_error(outside):
    with pytest.raises(TypeError, match="not an effect"):
        blocking.run(of(Odd()), outside)


def test_without_a_key_the_reason_is_left_as_it_is(outside):
    assert outside.failed(Call(COMMIT_RESERVATION), ValueError("cut off"), 0.0).reason == "ValueError: cut off"


def test_a_flow_is_given_up_when_its_time_is_over(outside):
    assert blocking.run_within(of(Sleep(5.0)), outside, 0.1) is None
    assert blocking.run_within(of(Sleep(0.0)), outside, 1.0) is None
    assert blocking.run_within(of(Notify("anything", {})), outside, 0.0) is None
    assert blocking.run_within(of(Call(COMMIT_RESERVATION)), outside, 0.0) is None


def test_in_trio_a_hurried_flow_is_given_up_in_time(outside):
    trio = pytest.importorskip("trio")

    async def main():
        with anyio.fail_after(PATIENCE):
            return await aio.run_through(of(Sleep(60.0)), outside, patience=0.05, hurried=True)

    assert trio.run(main) is None
