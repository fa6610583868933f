"""Interrupts at the worst moments: what is known to be spent is charged once, whoever is interrupted, or forked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import time

import pytest

import cycles
from cycles import usd
from cycles._background.agenda import Agenda
from cycles._background.schedule import ThreadHeartbeats
from cycles._core import renewal, section, section_flows
from cycles._journal import journal
from tests.support.authorities import ACTION
from tests.support.net import DROP, HANG, LOSE, Answer, error
from tests.support.waiting import PATIENCE, until, until_async


def guard(client, **fields):
    return cycles.Guard(usd("0.10"), action=ACTION, client=client, **fields)


def interrupting(*_):
    raise KeyboardInterrupt


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------
def test_an_interrupt_in_actual_charges_the_estimate_and_goes_on(server, client):
    with pytest.raises(KeyboardInterrupt):
        guard(client, actual=interrupting)(lambda: "done")()
    assert (server.spent(), server.held()) == (10, 0)
    assert server.of("commit")[0].body["metadata"] == {"actual_source": "estimate"}


def test_an_interrupt_in_actual_of_a_coroutine_charges_the_estimate(server, config):
    seen = []

    async def main():
        async with cycles.AsyncClient(config) as client:

            async def work():
                return "done"

            try:
                await guard(client, actual=interrupting)(work)()
            except KeyboardInterrupt:
                seen.append(server.spent())

    asyncio.run(main())
    assert seen == [10]


def test_an_interrupt_at_the_very_beginning_of_a_commit_loses_no_charge(server, client, monkeypatch):
    monkeypatch.setattr("cycles._client.upkeep.LATER", 0.01)
    reservation = client.reserve(usd("0.10"), action=ACTION)
    spend, interrupts = section.Section.spend, [KeyboardInterrupt()]

    def spending(*args, **options):
        if interrupts:
            raise interrupts.pop()
        return spend(*args, **options)

    monkeypatch.setattr(section.Section, "spend", spending)
    with pytest.raises(KeyboardInterrupt):
        reservation.commit(usd("0.07"))
    until(lambda: (server.spent(), server.held()) == (7, 0))
    assert len(server.of("commit")) == 1


def test_an_interrupted_record_is_written_before_the_interrupt_goes_on(server, client, kept, monkeypatch):
    reservation = client.reserve(usd("0.10"), action=ACTION)
    replace, interrupts = os.replace, [KeyboardInterrupt()]

    def replacing(source, target):
        if interrupts:
            raise interrupts.pop()
        replace(source, target)

    monkeypatch.setattr(os, "replace", replacing)
    monkeypatch.setattr("cycles._client.upkeep.LATER", 0.05)
    with pytest.raises(KeyboardInterrupt):
        reservation.commit(usd("0.07"))
    until(lambda: server.spent() == 7)  # from the record, soon, and not only at exit
    until(lambda: kept() == [])


@pytest.mark.slow
@pytest.mark.parametrize("answer", [HANG, Answer(429, error("LIMIT_EXCEEDED"), {"Retry-After": "20"})])
def test_an_interrupted_section_does_not_wait_for_a_dead_authority(server, client, answer, monkeypatch):
    monkeypatch.setattr("cycles._client.running_section.PATIENCE", 0.7)
    server.always["release"] = answer
    with pytest.raises(KeyboardInterrupt), guard(client):
        raise KeyboardInterrupt
    assert server.of("release")


def test_what_an_interrupted_section_reported_is_charged_later(server, client, monkeypatch):
    monkeypatch.setattr("cycles._client.running_section.PATIENCE", 0.0)
    monkeypatch.setattr("cycles._client.upkeep.LATER", 0.05)
    with pytest.raises(KeyboardInterrupt), guard(client) as reservation:
        reservation.report(actual=usd("0.07"))
        raise KeyboardInterrupt
    assert reservation.state == "UNSETTLED"
    until(lambda: server.spent() == 7)


def test_a_commit_that_is_interrupted_before_it_began_charges_what_it_said(server, client, kept, monkeypatch):
    """And not what was reported before: that is on record, but the program knows better."""
    reservation = client.reserve(usd("0.10"), action=ACTION)
    reservation.report(actual=usd("0.02"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("cycles._drivers.world.os.urandom", interrupting)
        reservation.commit(usd("0.07"))
    assert reservation.state == "ACTIVE"
    del reservation
    gc.collect()
    until(lambda: server.spent() == 7)
    until(lambda: kept() == [])
    assert server.held() == 0


def test_a_release_that_is_interrupted_leaves_no_record_of_what_was_reported(server, client, kept, monkeypatch):
    """The next process would charge it."""
    monkeypatch.setattr("cycles._client.upkeep.LATER", 0.05)
    reservation = client.reserve(usd("0.10"), action=ACTION)
    reservation.report(actual=usd("0.02"))
    until(lambda: len(kept()) == 1)
    forget, interrupts = journal.Journal.forget, [KeyboardInterrupt()]

    def forgetting(self, pending, refusal=None):
        if interrupts:
            raise interrupts.pop()
        forget(self, pending, refusal)

    monkeypatch.setattr(journal.Journal, "forget", forgetting)
    with pytest.raises(KeyboardInterrupt):
        reservation.release()
    until(lambda: server.held() == 0)
    assert kept() == []
    assert server.spent() == 0


# -- cancellation ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("journal_enabled", [True, False])
def test_a_commit_that_is_cancelled_is_finished_first(server, config, journal_enabled):
    async def main():
        async with cycles.AsyncClient(config.replace(journal_enabled=journal_enabled)) as client:
            entered = asyncio.Event()

            async def section():
                async with guard(client) as reservation:
                    entered.set()
                    await reservation.commit(usd("0.07"))

            server.always["commit"] = LOSE
            task = asyncio.create_task(section())
            await entered.wait()
            await asyncio.sleep(0)
            task.cancel()
            server.always.clear()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert server.spent() == 7

    asyncio.run(main())
    assert len(set(server.keys("commit"))) == 1


# -- forks -------------------------------------------------------------------------------------------------------------
def in_child(function):
    """Run *function* in a forked child, which then ends without an exit."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_leaves_the_section_to_its_parent(server, client):
    def section(*, ends):
        with guard(client) as reservation:
            pid = os.fork()
            if pid == 0:
                raise SystemExit
            os.waitpid(pid, 0)
            assert server.held() > 0
            reservation.report(actual=usd("0.07"))
        return reservation

    parent = os.getpid()
    try:
        reservation = section(ends="badly")
    except BaseException:
        if os.getpid() != parent:
            os._exit(0)
        raise
    assert reservation.state == "COMMITTED"
    assert server.spent() == 7

    def leaving_well():
        with guard(client):
            pid = os.fork()
            if pid:
                os.waitpid(pid, 0)
                assert server.held() > 0

    leaving_well()
    if os.getpid() != parent:
        os._exit(0)
    assert server.spent() == 17


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_copy_that_a_forked_child_drops_is_not_given_back(server, client):
    kept_here = [client.reserve(usd("0.10"), action=ACTION)]

    def drop():
        kept_here.clear()
        gc.collect()
        time.sleep(0.3)  # a thread of the child's would release it now

    in_child(drop)
    assert kept_here.pop().commit(usd("0.05")).state == "COMMITTED"
    assert server.of("release") == []


# -- threads -----------------------------------------------------------------------------------------------------------
def test_a_lease_that_is_lost_during_the_commit_charges_once(server, clock, client, monkeypatch):
    """The heartbeat's thread finds the lease lost, the section commits, and only then the heartbeat goes on."""
    found, goes_on = threading.Event(), threading.Event()
    lost, settle, step = renewal._lost, section_flows.settle, section.step

    def losing(heart, reason):
        found.set()
        return (yield from lost(heart, reason))

    def stepping(*args):  # the heartbeat that looks, waits, and then writes what it saw
        state = step(*args)
        goes_on.wait(PATIENCE)
        return state

    def settling(*args, **how):
        goes_on.set()
        until(lambda: reservation._section.lease_lost)
        return (yield from settle(*args, **how))

    monkeypatch.setattr(renewal, "_lost", losing)
    monkeypatch.setattr(renewal, "step", stepping, raising=False)
    monkeypatch.setattr(section_flows, "settle", settling)
    with guard(client, ttl=3, grace_period=0) as reservation:
        clock.advance(10)
        assert found.wait(PATIENCE)
        assert reservation.commit(usd("0.03")).via == "event"
        assert reservation.state == "COMMITTED"
    assert server.spent() == 3


@pytest.mark.slow
def test_of_two_threads_that_commit_at_once_one_is_refused(server, client, monkeypatch):
    reservation = client.reserve(usd("0.10"), action=ACTION)
    inside, step, results = threading.Barrier(2, timeout=2), section.step, []

    def stepping(state, happened):
        if happened == "commit wanted":
            with contextlib.suppress(threading.BrokenBarrierError):
                inside.wait()  # both are between looking and writing, if both get that far
        return step(state, happened)

    def committing():
        try:
            results.append(reservation.commit(usd("0.03")).state)
        except cycles.AlreadySettled:
            results.append("refused")

    monkeypatch.setattr(section, "step", stepping)
    threads = [threading.Thread(target=committing) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["COMMITTED", "refused"]
    assert len(server.of("commit")) == 1


# -- who keeps what ----------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_a_reservation_keeps_the_client_that_renews_it(server, client):
    reservation = client.with_options(agent="x").reserve(usd("0.10"), action=ACTION, ttl=10)
    gc.collect()
    server.wait_for("extend")
    reservation.release()


def test_what_a_dropped_reservation_reported_is_charged(server, client, kept):
    reservation = client.reserve(usd("0.10"), action=ACTION)
    reservation.report(actual=usd("0.07"))
    with pytest.warns(ResourceWarning, match="what it reported is charged"):
        del reservation
        gc.collect()
    until(lambda: server.spent() == 7)
    until(lambda: kept() == [])
    assert server.of("release") == []
    assert server.of("commit")[0].body["metadata"] == {"actual_source": "reported"}


def test_a_dropped_reservation_is_given_back_when_its_warning_is_an_error(server, client):
    reservation = client.reserve(usd("0.10"), action=ACTION)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "cycles._client.reservation_view.warnings.warn",
            lambda *args, **more: (_ for _ in ()).throw(ResourceWarning()),
        )
        patch.setattr("sys.unraisablehook", lambda unraisable: None)
        del reservation
        gc.collect()
    until(lambda: server.held() == 0)


@pytest.mark.parametrize("lock", ["_lock", "agenda"])
def test_a_collection_at_any_moment_does_not_deadlock(lock):
    """`__del__` of a reservation plans its release, in a thread that may hold the schedule's locks just then."""
    heartbeats = ThreadHeartbeats(blocks=True)

    class Job:
        is_needed = True
        is_nested = False

        @property
        def due(self):
            if lock == "_lock" and not self.is_nested:
                self.is_nested = True
                heartbeats.keep(Job.nested(), None)
            return time.monotonic() + 60

        @classmethod
        def nested(cls):
            job = cls()
            job.is_nested = True
            return job

    if lock == "agenda":
        agenda = Agenda()
        with agenda._lock:
            agenda.add(time.monotonic(), Job.nested(), None)
        assert len(agenda) == 1
        return
    planner = threading.Thread(target=heartbeats.keep, args=(Job(), None), daemon=True)
    planner.start()
    planner.join(PATIENCE)
    assert not planner.is_alive()
    assert len(heartbeats._beats.agenda) == 2
    heartbeats.close()


def test_a_closed_client_says_so_and_runs_nothing_unguarded(config):
    client = cycles.Client(config.replace(unavailable="allow"))
    client.close()
    with pytest.raises(cycles.InvalidRequest, match="closed"):
        client.reserve(usd("0.10"), action=ACTION)


def test_a_list_is_made_before_there_is_a_loop(server, config):
    server.always["commit"] = DROP
    with cycles.Client(config) as client, pytest.raises(cycles.SettlementPending):
        client.reserve(usd("0.10"), action=ACTION).commit(usd("0.03"))
    server.always.clear()
    client = cycles.AsyncClient(config)
    rows = client.balances()

    async def main():
        async with client:
            assert [row.scope async for row in rows] == ["tenant:acme"]
            await client.reservation((await anext(client.reservations())).reservation_id)
            await until_async(lambda: server.spent() == 3)  # the loop's client recovers what is pending

    asyncio.run(main())


def test_an_expiry_beyond_all_calendars_is_the_last_one(client):
    reservation = client.reserve(usd("0.10"), action=ACTION)
    reservation._section.expires_at_ms = 2**63 - 1
    assert reservation.expires_at.year == 9999
    reservation.release()


@pytest.mark.parametrize("thing", [5, property(lambda self: 1), "name"])
def test_only_what_can_be_called_is_decorated(client, thing):
    with pytest.raises(cycles.InvalidRequest, match="decorates functions"):
        guard(client)(thing)
