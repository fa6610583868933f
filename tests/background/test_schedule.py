"""Leases held while sections run: a client's real time, a real socket, and as many guards as may be open."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading

import anyio
import httpx
import pytest

import cycles
from cycles import State, usd
from cycles.local import LocalAuthority, ManualClock
from cycles.local.server import serve
from cycles_api.api.reservations import release_reservation
from cycles_api.models import ReleaseRequest
from tests.support.authorities import ACTION
from tests.support.waiting import until, until_async

SHORT = 8.0


@pytest.fixture
def real():
    """An authority whose clock stands still: no hold expires, however slow the machine is. A renewal moves its end."""
    with LocalAuthority(clock=ManualClock()) as authority:
        authority.budget("tenant:acme", usd("100.00"))
        yield authority


def renewed(*reservations):
    """Return what says whether each of them has been renewed since."""
    first = [reservation.expires_at for reservation in reservations]
    return lambda: all(held.expires_at > end for held, end in zip(reservations, first, strict=True))


def heartbeats() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "cycles-heartbeats"}


@pytest.mark.slow
def test_a_short_lease_is_held_for_sync_sections_on_one_thread(real):
    before = heartbeats()
    with real.client(tenant="acme") as client:
        held = [client.reserve(usd("0.01"), action=ACTION, ttl=SHORT, grace_period=0) for _ in range(100)]
        assert len(heartbeats() - before) == 1
        until(renewed(*held))
        ends = [reservation.commit(usd("0.001")) for reservation in held]
    assert {(end.state, end.via) for end in ends} == {(State.COMMITTED, "commit")}
    assert real.balance("tenant:acme", "USD_MICROCENTS").reserved == 0


@pytest.mark.slow
def test_a_short_lease_is_held_for_async_sections_without_a_thread(real):
    before = heartbeats()

    async def one(client) -> str:
        async with cycles.Guard(usd("0.01"), action=ACTION, ttl=SHORT, grace_period=0, client=client) as reservation:
            await until_async(renewed(reservation))
            return (await reservation.commit(usd("0.001"))).via

    async def main() -> list[str]:
        async with real.async_client(tenant="acme") as client:
            return await asyncio.gather(*(one(client) for _ in range(100)))

    assert set(asyncio.run(main())) == {"commit"}
    assert not heartbeats() - before


@pytest.mark.slow
def test_a_short_lease_is_held_under_trio(real):
    async def main() -> str:
        async with (
            real.async_client(tenant="acme") as client,
            cycles.Guard(usd("0.01"), action=ACTION, ttl=SHORT, grace_period=0, client=client) as reservation,
        ):
            is_renewed = renewed(reservation)
            while not is_renewed():
                await anyio.sleep(0.02)
            return (await reservation.commit(usd("0.001"))).via

    assert anyio.run(main, backend="trio") == "commit"


@pytest.mark.slow
def test_one_async_client_holds_leases_under_successive_loops(real):
    client = real.async_client(tenant="acme")

    async def one() -> str:
        async with cycles.Guard(usd("0.01"), action=ACTION, ttl=SHORT, grace_period=0, client=client) as reservation:
            await until_async(renewed(reservation))
            return (await reservation.commit(usd("0.001"))).via

    assert [asyncio.run(one()), asyncio.run(one())] == ["commit", "commit"]
    asyncio.run(client.close())


def lose(held, client) -> None:
    """Have somebody else release the hold; the next renewal finds it gone."""
    release_reservation.sync(held.id, client=client.api, body=ReleaseRequest(idempotency_key="someone else"))


def until_lost(held) -> None:
    until(lambda: held.state is not State.ACTIVE)
    assert held.state is State.LOST


@pytest.fixture
def policy(real):
    """A client with a heartbeat policy."""
    with real.client(tenant="acme") as plain:
        clients = []

        def made(heartbeat: str):
            clients.append(plain.with_options(heartbeat=heartbeat))
            return clients[-1]

        yield made
        for client in clients:
            client.close()


@pytest.mark.slow
def test_by_default_a_lost_lease_is_seen_by_the_section_and_logged(policy, caplog):
    client = policy("warn")
    with caplog.at_level(logging.WARNING, "cycles.guard"):
        held = client.reserve(usd("0.01"), action=ACTION, ttl=SHORT, grace_period=0)
        lose(held, client)
        until(lambda: "lease lost" in caplog.text)  # said once the section knows
    assert held.state is State.LOST
    held.report(actual=usd("0.001"))
    held.release()


@pytest.mark.slow
def test_fail_on_finalize_raises_after_the_section(policy):
    client = policy("fail_on_finalize")
    reached = False
    with (
        pytest.raises(cycles.LeaseLost, match="ttl"),
        cycles.Guard(usd("0.01"), action=ACTION, ttl=SHORT, grace_period=0, client=client) as held,
    ):
        lose(held, client)
        until_lost(held)
        held.report(actual=usd("0.001"))
        reached = True
    assert reached
    assert held.settlement.via == "commit"


@pytest.mark.slow
def test_cancel_tells_a_sync_section_at_its_next_call_and_what_it_reported_is_kept(policy):
    client = policy("cancel")
    with (
        pytest.raises(cycles.LeaseLost),
        cycles.Guard(usd("0.01"), action=ACTION, ttl=SHORT, grace_period=0, client=client) as held,
    ):
        lose(held, client)
        until_lost(held)
        held.report(actual=usd("0.001"))
        pytest.fail("went on")
    assert held.settlement.via == "commit"


@pytest.mark.slow
def test_cancel_cancels_an_async_section_with_the_cause(real):
    async def main() -> BaseException | None:
        async with real.async_client(tenant="acme") as plain:
            client = plain.with_options(heartbeat="cancel")
            try:
                async with cycles.Guard(usd("0.01"), action=ACTION, ttl=SHORT, grace_period=0, client=client) as held:
                    body = ReleaseRequest(idempotency_key="someone else")
                    await release_reservation.asyncio(held.id, client=client.api, body=body)
                    await asyncio.Event().wait()  # until it is cancelled
            except asyncio.CancelledError as cancelled:
                return cancelled.__cause__
        return None

    assert isinstance(asyncio.run(main()), cycles.LeaseLost)


def test_a_client_that_is_closed_or_dropped_takes_its_thread_with_it(real):
    before = heartbeats()
    closed, dropped = real.client(tenant="acme"), real.client(tenant="acme")
    for client in (closed, dropped):
        client.reserve(usd("0.01"), action=ACTION).commit(usd("0.001"))
    assert len(heartbeats() - before) == 2
    closed.close()
    dropped.api.get_httpx_client().close()
    del client, dropped
    gc.collect()
    until(lambda: not heartbeats() - before)


@pytest.mark.slow
def test_ended_sections_do_not_pile_up(real):
    with real.client(tenant="acme") as client:
        for _ in range(1000):
            client.reserve(usd("0.01"), action=ACTION).release()
        assert len(client._runtime.heartbeats._beats.agenda) <= 64


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_heartbeat_of_its_own(real, tmp_path):
    path = tmp_path / "ledger.db"
    with LocalAuthority(path, clock=ManualClock()) as shared:
        shared.budget("tenant:acme", usd("1.00"))
        with shared.client(tenant="acme") as client:
            client.reserve(usd("0.01"), action=ACTION).commit(usd("0.001"))
            child = os.fork()
            if child == 0:
                try:
                    held = client.reserve(usd("0.01"), action=ACTION, ttl=SHORT, grace_period=0)
                    until(renewed(held))
                    os._exit(0 if held.commit(usd("0.001")).via == "commit" else 3)
                finally:
                    os._exit(4)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0


# -- over sockets ------------------------------------------------------------------------------------------------------
@pytest.fixture
def over_http(real):
    with serve(real) as url:
        yield cycles.Config(base_url=url, api_key=real.key(tenant="acme"), tenant="acme")


@pytest.mark.slow
def test_a_short_lease_is_held_over_http_for_60_sync_sections(over_http):
    before = heartbeats()
    with cycles.Client(over_http) as client:
        held = [client.reserve(usd("0.01"), action=ACTION, ttl=4 * SHORT, grace_period=0) for _ in range(60)]
        assert len(heartbeats() - before) == 1
        until(renewed(*held))
        assert {reservation.commit(usd("0.001")).via for reservation in held} == {"commit"}


def test_an_async_client_reconnects_in_the_next_loop(over_http):
    client = cycles.AsyncClient(over_http)

    async def one(*, last: bool) -> str:
        async with cycles.Guard(usd("0.01"), action=ACTION, client=client) as reservation:
            settled = await reservation.commit(usd("0.001"))
        if last:
            await client.close()
        else:
            # What the first loop leaves open would warn when it is collected; a user sees that only with -W error.
            await client.api.get_async_httpx_client().aclose()
        return settled.via

    assert asyncio.run(one(last=False)) == "commit"
    assert asyncio.run(one(last=True)) == "commit"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_used_client_guards_in_the_parent_and_eight_forked_children_at_once(over_http):
    """A child that wrote to its parent's socket would get, or take, another process's answer."""
    with cycles.Client(over_http) as client:
        variant = client.with_options(agent="other")
        inherited = client.api.get_httpx_client()
        client.reserve(usd("0.01"), action=ACTION).commit(usd("0.001"))

        def work(number: int) -> bool:
            mine = []
            for _ in range(5):
                for each in (client, variant):
                    held = each.reserve(usd("0.0001"), action=ACTION, metadata={"process": number})
                    settled = held.commit(usd("0.00001"))
                    mine.append(settled.state is State.COMMITTED)
                    mine.append(each.reservation(held.id).metadata == {"process": number})
            return all(mine)

        children = []
        for number in range(8):
            child = os.fork()
            if child == 0:
                try:
                    fresh = client.api.get_httpx_client() is not inherited
                    os._exit(0 if fresh and work(number) else 3)
                finally:
                    os._exit(4)
            children.append(child)
        assert work(100)
        assert client.api.get_httpx_client() is inherited
        for child in children:
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0


def test_a_loop_that_ends_during_renewals_ends_cleanly(caplog):
    """More are due than may be in flight: those that are cancelled with the loop must not start the others."""
    extends, held = 0, []  # which nobody drops before the loop has ended

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal extends
        if request.url.path.endswith("/extend"):
            extends += 1
            await asyncio.sleep(30)
        grant = {"decision": "ALLOW", "reservation_id": "res-1", "affected_scopes": [], "remaining_ttl_ms": 1000}
        return httpx.Response(200, json=grant)

    async def main() -> None:
        over_http = cycles.Config("http://authority.invalid", api_key="key", tenant="acme")
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
            client = cycles.AsyncClient(over_http, http_client=http)
            held[:] = [await client.reserve(usd("0.01"), action=ACTION, ttl=1) for _ in range(40)]
            await until_async(lambda: extends == 20)
            for _ in range(100):  # in which another one would begin
                await asyncio.sleep(0)
            assert all(reservation.state == "ACTIVE" for reservation in held)

    asyncio.run(main())
    gc.collect()
    assert extends == 20, "as many as there are lanes over httpx"
    assert {record.cycles_event.split(",")[0] for record in caplog.records} == {"lease too short to be renewed safely"}


@pytest.mark.slow
def test_a_closed_async_client_renews_no_more(real, caplog):
    async def main() -> None:
        client = real.async_client(tenant="acme")
        held = await client.reserve(usd("0.01"), action=ACTION, ttl=SHORT)
        before = held.expires_at
        await client.close()
        await asyncio.sleep(SHORT - 1.0)
        assert held.expires_at == before

    asyncio.run(main())
    assert caplog.text == ""


def test_a_lease_too_short_to_be_renewed_is_warned_about_when_it_is_asked_for(side, caplog):
    with caplog.at_level(logging.WARNING, "cycles.guard"):
        side.call(side.client.reserve, usd("0.01"), action=ACTION, ttl=SHORT)
        assert caplog.text == ""
        side.call(side.client.reserve, usd("0.01"), action=ACTION, ttl=2)
    assert "ask for a longer ttl" in caplog.text
    assert caplog.records[0].cycles_needed == 3.0
