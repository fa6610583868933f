"""Clients of both kinds that use the journal."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import threading
import time
from pathlib import Path

import anyio
import pytest

import cycles
from cycles import usd
from cycles._core import section_flows
from cycles._drivers import aio
from cycles.local import LocalAuthority
from tests.support.authorities import ACTION
from tests.support.net import DROP, Answer, error
from tests.support.waiting import PATIENCE, until

from .spending import spend, spend_async


@pytest.mark.slow
@pytest.mark.parametrize("fsync", [True, False])
def test_both_kinds_of_client_keep_it_until_it_is_acknowledged(server, config, kept, fsync):
    server.always["commit"] = Answer(503, error("INTERNAL_ERROR"))
    config = config.replace(journal_fsync=fsync)

    async def main():
        async with cycles.AsyncClient(config) as client:
            return await spend_async(client)

    with cycles.Client(config) as client:
        held = [spend(client), asyncio.run(main())]
    assert [one.state for one in held] == ["UNSETTLED", "UNSETTLED"]
    assert all(one.settlement.is_kept for one in held)
    assert sorted(record["reservation_id"] for record in kept()) == sorted(one.id for one in held)
    server.always.clear()
    with cycles.Client(config) as client:
        assert client.drain(PATIENCE).pending == 0
    assert (server.spent(), kept()) == (6, [])


def test_trio_keeps_it_too(server, config, kept):
    server.always["commit"] = Answer(503, error("INTERNAL_ERROR"))

    async def main():
        async with cycles.AsyncClient(config) as client:
            await spend_async(client)
            assert len(kept()) == 1
            server.always.clear()
            drained = await client.drain(PATIENCE)
            assert drained.pending == 0

    anyio.run(main, backend="trio")
    assert (server.spent(), kept()) == (3, [])


def test_a_full_disk_is_reported_and_settlement_goes_on(server, config, kept, monkeypatch, caplog):
    def full(*args):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("cycles._journal.records.write_all", full)

    async def main():
        async with cycles.AsyncClient(config) as client:
            return await spend_async(client)

    with cycles.Client(config) as client:
        assert spend(client).state == "COMMITTED"
    assert asyncio.run(main()).state == "COMMITTED"
    failures = [record for record in caplog.records if "journal failed" in record.getMessage()]
    assert failures
    assert all(record.levelno == logging.ERROR and "no space" in record.getMessage() for record in failures)
    assert (server.spent(), kept()) == (6, [])


@pytest.mark.slow
def test_a_cancelled_commit_is_on_disk_before_it_leaves(server, config, kept, monkeypatch):
    """Cancelled while the disk is slow: the cancellation waits for the record, and no request goes without it."""
    real, slow = os.fsync, threading.Event()

    def fsync(descriptor):
        slow.set()
        time.sleep(0.3)  # a slow disk: what did not wait for it would have left by now
        real(descriptor)

    async def main():
        async with cycles.AsyncClient(config) as client:
            held = await client.reserve(usd("0.10"), action=ACTION)
            monkeypatch.setattr(os, "fsync", fsync)
            flow = section_flows.commit(
                held._section, usd("0.03")
            )  # without what else finishes a commit that is cancelled
            commit = asyncio.create_task(aio.run(flow, held._running.world))
            await asyncio.to_thread(slow.wait)
            commit.cancel()
            with pytest.raises(asyncio.CancelledError):
                await commit
            assert server.of("commit") == []
            assert len(kept()) == 1
            assert (await client.drain(PATIENCE)).pending == 0

    asyncio.run(main())
    assert (server.spent(), kept()) == (3, [])


def test_pending_settlements_are_tried_again_in_the_background(server, config, kept, monkeypatch):
    monkeypatch.setattr("cycles._client.upkeep.LATER", 0.05)
    told = []
    server.always["commit"] = DROP
    with cycles.Client(config, on_settlement=told.append) as client:
        spend(client)
        assert [details.outcome for details in told] == ["pending"]
        server.always.clear()
        until(lambda: len(told) == 2)
    assert [(details.outcome, details.recovered) for details in told] == [("pending", False), ("settled", True)]
    assert (server.spent(), kept()) == (3, [])


def test_what_a_loop_that_ended_left_is_taken_up_in_the_next(server, config, kept):
    server.always["commit"] = DROP
    told = []
    settled = asyncio.Event()

    def note(details):
        told.append(details)
        if details.outcome == "settled":
            settled.set()

    client = cycles.AsyncClient(config, on_settlement=note)

    async def first():
        await spend_async(client)

    async def second():
        await client.decide(usd("0.01"), action=ACTION)
        await asyncio.wait_for(settled.wait(), PATIENCE)
        await client.close()

    asyncio.run(first())
    assert len(kept()) == 1
    told.clear()
    server.always.clear()
    asyncio.run(second())
    assert [details.outcome for details in told] == ["settled"]
    assert (server.spent(), kept()) == (3, [])


@pytest.mark.slow
def test_a_refused_key_stops_this_run_and_keeps_everything(server, config, kept, caplog):
    with cycles.Client(config) as client:
        held = [client.reserve(usd("0.01"), action=ACTION) for _ in range(5)]
        server.always["commit"] = Answer(401, error("UNAUTHORIZED"))
        for one in held:
            with pytest.raises(cycles.SettlementPending):
                one.commit(usd("0.01"))
        asked = len(server.of("commit"))
        assert asked == 5
        assert client.drain(5).pending == 5
        assert len(server.of("commit")) == asked + 1, "one 401 is enough to know"
    assert "settlement stopped" in caplog.text
    assert len(kept()) == 5


def test_a_hook_that_raises_is_logged_and_hides_nothing(server, config, caplog):
    def hook(details):
        raise RuntimeError("by the test")

    with cycles.Client(config, on_settlement=hook) as client:
        assert spend(client).state == "COMMITTED"
    assert "on_settlement failed" in caplog.text


def test_details_are_frozen(server, config):
    told = []
    with cycles.Client(config, on_settlement=told.append) as client:
        held = spend(client)
    (details,) = told
    assert (details.reservation_id, details.actual, details.charged) == (held.id, usd("0.03"), usd("0.03"))
    assert (details.outcome, details.attempts, details.error, details.via) == ("settled", 1, None, "commit")
    with pytest.raises(AttributeError, match="frozen"):
        details.outcome = "rejected"


def test_an_authority_in_memory_has_no_journal():
    with LocalAuthority() as authority:
        authority.budget("tenant:acme", usd("1.00"))
        client = authority.client(tenant="acme")
        assert client.drain() == cycles.Drained()
        assert client.reserve(usd("0.10"), action=ACTION).commit(usd("0.01")).state == "COMMITTED"
    assert not Path(os.environ["XDG_STATE_HOME"]).exists()


@pytest.mark.parametrize(
    "spoiled",
    [{"reservation_id": "\ud800"}, {"metadata": {"x": "\ud800"}}, {"metadata": {"x": float("nan")}}, {"subject": 5}],
    ids=str,
)
def test_what_no_request_can_carry_is_set_aside_and_the_others_are_settled(server, environ, kept, spoiled):
    config = cycles.Config.from_env(environ)
    server.always["commit"] = DROP
    with cycles.Client(config) as client:
        for _ in range(2):
            with pytest.raises(cycles.SettlementPending):
                client.reserve(usd("0.10"), action=("tool.pay", "web")).commit(usd("0.03"))
        file = next(client._runtime.upkeep.journal.directory.glob("v2-*.json"))
        file.with_name("v2-000.json").write_text(json.dumps(json.loads(file.read_text()) | spoiled))
        file.unlink()
        server.always.clear()
        assert client.drain(timeout=PATIENCE).settled == 1
    assert server.spent() == 3
    assert len(kept("quarantine")) == 1
