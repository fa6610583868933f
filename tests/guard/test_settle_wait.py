"""The end of a section waits `settle_wait` seconds for the authority at most; the background goes on, under one key."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections import deque

import anyio
import pytest

import cycles
from cycles import usd
from cycles._background import exit_drain
from cycles._core.jobs import Charge
from tests.support.authorities import ACTION
from tests.support.net import HANG, HANG_AFTER
from tests.support.waiting import PATIENCE, until


@pytest.fixture
def impatient(config, monkeypatch):
    """A configuration whose requests may take long, but whose ends wait a moment only."""
    monkeypatch.setattr("cycles._client.upkeep.LATER", 0.01)
    return config.replace(settle_wait=0.2, read_timeout=30.0)


JOURNAL = pytest.mark.parametrize("journal_enabled", [True, False])


@JOURNAL
@pytest.mark.parametrize("answer", [HANG, HANG_AFTER])
def test_a_section_does_not_wait_for_an_authority_that_hangs(server, impatient, answer, journal_enabled):
    server.plan["commit"] = deque([answer])
    told = []
    config = impatient.replace(journal_enabled=journal_enabled)
    with cycles.Client(config, on_settlement=told.append) as client:
        with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
            held.report(actual=usd("0.07"))
        assert (held.state, held.settlement.goes_on) == ("UNSETTLED", True)
        assert told[0].outcome == "pending"
        until(lambda: told[-1].outcome == "settled")
    assert (server.spent(), server.held()) == (7, 0)
    assert len(set(server.keys("commit"))) == 1


@JOURNAL
@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_a_task_does_not_wait_either(server, impatient, journal_enabled, library):
    server.plan["commit"] = deque([HANG])
    told = []
    config = impatient.replace(journal_enabled=journal_enabled)

    async def main():
        async with cycles.AsyncClient(config, on_settlement=told.append) as client:
            async with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
                held.report(actual=usd("0.07"))
            assert held.state == "UNSETTLED"
            with anyio.fail_after(2 * PATIENCE):  # under load a request may hang that the background has sent
                while told[-1].outcome != "settled":
                    await anyio.sleep(0.01)

    anyio.run(main, backend=library)
    assert (server.spent(), server.held()) == (7, 0)
    assert len(set(server.keys("commit"))) == 1


@JOURNAL
def test_a_commit_by_hand_says_that_it_goes_on(server, impatient, journal_enabled):
    server.plan["commit"] = deque([HANG])
    told = []
    with cycles.Client(impatient.replace(journal_enabled=journal_enabled), on_settlement=told.append) as client:
        reservation = client.reserve(usd("0.10"), action=ACTION)
        where = "journal" if journal_enabled else "memory"
        with pytest.raises(cycles.SettlementPending, match=where):
            reservation.commit(usd("0.07"))
        with pytest.raises(cycles.AlreadySettled):
            reservation.commit(usd("0.07"))
        until(lambda: told[-1].outcome == "settled")
    assert server.spent() == 7


def test_without_a_wait_all_is_left_to_the_background(server, impatient):
    told = []
    with cycles.Client(impatient.replace(settle_wait=0), on_settlement=told.append) as client:
        reservation = client.reserve(usd("0.10"), action=ACTION, raise_on_unsettled=False)
        settlement = reservation.commit(usd("0.07"))
        assert (settlement.attempts, settlement.is_kept) == (0, True)
        until(lambda: told[-1].outcome == "settled")
    assert server.spent() == 7


def test_a_release_is_not_waited_for_and_goes_on(server, impatient):
    server.plan["release"] = deque([HANG])
    with cycles.Client(impatient) as client:
        reservation = client.reserve(usd("0.10"), action=ACTION)
        assert reservation.release().error is not None
        until(lambda: server.held() == 0)
    assert len(server.of("release")) == 2


def test_a_release_that_is_cancelled_goes_on(server, impatient):
    server.plan["release"] = deque([HANG])

    async def main():
        async with cycles.AsyncClient(impatient.replace(settle_wait=60)) as client:
            reservation = await client.reserve(usd("0.10"), action=ACTION)
            task = asyncio.create_task(reservation.release())
            await asyncio.to_thread(server.wait_for, "release")
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(until, lambda: server.held() == 0)

    asyncio.run(main())


PROGRAM = """
import cycles
from cycles import usd
client = cycles.Client(cycles.Config.from_env())
with cycles.Guard(usd("0.10"), action=("llm.completion", "gpt-4o"), client=client) as held:
    held.report(actual=usd("0.07"))
print(held.state)
"""


@pytest.mark.slow
@JOURNAL
def test_the_exit_drains_it(server, environ, journal_enabled):
    server.plan["commit"] = deque([HANG])
    changed = {
        "CYCLES_SETTLE_WAIT": "0.2",
        "CYCLES_RETRY_FLUSH_TIMEOUT": "20",
        "CYCLES_READ_TIMEOUT": "30",
        "CYCLES_JOURNAL_ENABLED": str(journal_enabled),
    }
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env={**os.environ, **environ, **changed}, capture_output=True, check=True, text=True)
    assert done.stdout.split() == ["UNSETTLED"]
    assert (server.spent(), server.held()) == (7, 0)
    assert len(set(server.keys("commit"))) == 1


def test_what_the_background_is_done_with_is_not_owed_for_ever(config, monkeypatch):
    monkeypatch.setattr(exit_drain, "_owed", [])

    class Done:
        is_needed = False

    for _ in range(1000):
        exit_drain.owe(Done(), config, None, None)
    assert len(exit_drain._owed) <= exit_drain._MANY


def test_a_reservation_may_be_collected_while_debts_are_looked_through(config, monkeypatch):
    """The collector runs wherever a thread just is, and the charge of what it drops is owed there and then."""
    monkeypatch.setattr(exit_drain, "_owed", [])

    class Needed:
        is_needed = True

    class Looked:
        def __eq__(self, other):
            exit_drain.owe(Needed(), config, None, "collected")
            return False

        __hash__ = None

    exit_drain.owe(Needed(), config, None, Looked())
    looking = threading.Thread(target=exit_drain.owed_to, args=("me",), daemon=True)
    looking.start()
    looking.join(PATIENCE)
    assert not looking.is_alive()
    assert len(exit_drain.owed_to("collected")) >= 1


def test_a_charge_whose_client_is_gone_at_exit_is_an_error_in_the_log(config, monkeypatch, caplog):
    from contextlib import nullcontext  # noqa: PLC0415 - only here

    from tests.support.records import pending  # noqa: PLC0415 - only here

    monkeypatch.setattr(exit_drain, "_known", {})
    monkeypatch.setattr(exit_drain, "_owed", [])
    exit_drain.owe(Charge(pending(), config.retry, due=0.0), config, lambda: nullcontext(None), None)
    exit_drain.at_exit()
    assert "settlement failed" in caplog.text
