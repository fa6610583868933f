"""Holds that nobody on this side has any more: of dropped reservations, and of reserves that were cut off."""

from __future__ import annotations

import asyncio
import gc
import time
import warnings

import pytest

import cycles
from cycles import usd
from tests.support.authorities import ACTION
from tests.support.net import DROP, HANG_AFTER, LOSE
from tests.support.waiting import PATIENCE, until, until_async

pytestmark = pytest.mark.filterwarnings("default::ResourceWarning")


def test_a_dropped_reservation_warns_and_is_given_back(server, config):
    with cycles.Client(config) as client:
        reservation = client.reserve(usd("0.10"), action=ACTION)
        with pytest.warns(ResourceWarning, match="without commit or release"):
            del reservation
            gc.collect()
        until(lambda: server.held() == 0)
    assert [seen.body["reason"] for seen in server.of("release")] == ["dropped"]
    assert server.spent() == 0


def test_a_dropped_reservation_of_a_loop_is_given_back(server, config):
    async def main():
        async with cycles.AsyncClient(config) as client:
            reservation = await client.reserve(usd("0.10"), action=ACTION)
            with pytest.warns(ResourceWarning, match="without commit or release"):
                del reservation
                gc.collect()
            await until_async(lambda: server.held() == 0)

            reservation = await client.reserve(usd("0.10"), action=ACTION)
            with pytest.warns(ResourceWarning, match="without commit or release"):
                dropped = [reservation]
                del reservation
                await asyncio.to_thread(lambda: (dropped.clear(), gc.collect()))
            await until_async(lambda: server.held() == 0)

    asyncio.run(main())


@pytest.mark.parametrize("journal_enabled", [True, False])
def test_what_a_dropped_reservation_reported_is_charged_without_its_background(server, config, journal_enabled):
    """Its record says what a running section reported, which a drain passes over, and so does the exit."""
    config = config.replace(journal_enabled=journal_enabled)
    with cycles.Client(config) as client:
        reservation = client.reserve(usd("0.10"), action=ACTION)
        reservation.report(actual=usd("0.03"))
    with pytest.warns(ResourceWarning, match="what it reported is charged"):
        del reservation
        gc.collect()
    with cycles.Client(config) as client:
        assert client.drain(PATIENCE) == cycles.Drained(settled=1)
    assert (server.spent(), server.held()) == (3, 0)


def test_a_settled_reservation_is_dropped_in_silence(server, config):
    with cycles.Client(config) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        client.reserve(usd("0.10"), action=ACTION).commit(usd("0.03"))
        client.reserve(usd("0.10"), action=ACTION).release()
        client.reserve(usd("0.10"), action=ACTION, dry_run=True)
        gc.collect()
    assert len(server.of("release")) == 1


def test_what_ended_unreported_sends_nothing_and_is_renewed_no_more(server, config):
    with cycles.Client(config) as client, warnings.catch_warnings():
        warnings.simplefilter("error")
        with (
            pytest.raises(cycles.UnreportedSpend),
            cycles.Guard(usd("0.10"), action=ACTION, client=client, unreported="error") as held,
        ):
            pass
        section = held._section
        assert section.is_open, "it may still be committed by whoever has it"
        del held
        gc.collect()
        assert not section.is_open
    assert server.of("release", "commit", "events") == []


@pytest.mark.slow
def test_a_reserve_that_is_cancelled_leaves_no_hold(server, config):
    server.always["reservations"] = HANG_AFTER

    async def main():
        async with cycles.AsyncClient(config.replace(read_timeout=30.0)) as client:
            asked = asyncio.create_task(client.reserve(usd("0.10"), action=ACTION))
            await until_async(lambda: server.held() > 0)
            server.always.clear()
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            await until_async(lambda: server.held() == 0)

    asyncio.run(main())


@pytest.mark.slow
def test_a_reserve_whose_answers_are_all_lost_leaves_no_hold(server, config):
    server.always = {"reservations": LOSE, "read": DROP}
    with cycles.Client(config) as client:
        with pytest.raises(cycles.AuthorityUnavailable):
            client.reserve(usd("0.10"), action=ACTION)
        assert server.held() > 0
        server.always.clear()
        until(lambda: server.held() == 0)


@pytest.mark.slow
def test_a_hold_under_a_key_of_the_callers_own_is_left_to_the_caller(server, config):
    server.always = {"reservations": LOSE, "read": DROP}
    with cycles.Client(config) as client:
        with pytest.raises(cycles.AuthorityUnavailable):
            client.reserve(usd("0.10"), action=ACTION, idempotency_key="my-own")
        server.always.clear()
        time.sleep(1.5)
        assert server.held() > 0
        client.reserve(usd("0.10"), action=ACTION, idempotency_key="my-own").commit(usd("0.03"))
    assert (server.held(), server.spent()) == (0, 3)
    assert server.of("release") == []


@pytest.mark.slow
def test_a_refused_reserve_is_not_looked_for(server, config):
    with cycles.Client(config) as client:
        with pytest.raises(cycles.BudgetExceeded):
            client.reserve(usd("5.00"), action=ACTION)
        time.sleep(1.3)
    assert server.of("read") == []
