"""UNAVAILABLE=allow: sections that run without a hold, on the strength of the journal."""

from __future__ import annotations

import asyncio
import errno
import os

import pytest

import cycles
from cycles import usd
from tests.support.authorities import ACTION
from tests.support.net import DROP
from tests.support.waiting import PATIENCE


def test_an_unreachable_authority_lets_both_kinds_run(server, config, kept):
    server.always = dict.fromkeys(("reservations", "events", "read"), DROP)
    config = config.replace(unavailable="allow")

    async def main():
        async with (
            cycles.AsyncClient(config) as client,
            cycles.Guard(usd("0.10"), action=ACTION, client=client, actual=lambda _: usd("0.02")) as held,
        ):
            assert (held.state, held.id, held.caps) == ("UNRESERVED", None, None)
            held.report(actual=usd("0.02"))
        return held

    with cycles.Client(config) as client:
        with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
            assert (held.state, held.id) == ("UNRESERVED", None)
            with pytest.raises(cycles.AlreadySettled):
                held.extend(5)
            held.report(actual=usd("0.01"))
            held.report(actual=usd("0.03"))
        with cycles.Guard(usd("0.10"), action=ACTION, client=client) as given_back:
            given_back.report(actual=usd("0.03"))
            given_back.release()
        assert given_back.state == "RELEASED"
        assert asyncio.run(main()).state == "UNSETTLED"
        assert len(kept()) == 2
        server.always.clear()
        assert client.drain(PATIENCE).pending == 0
    assert (held.state, server.spent(), kept()) == ("UNSETTLED", 5, [])


def test_running_unguarded_needs_a_journal_that_can_be_written(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(cycles.JournalError, match="CYCLES_JOURNAL_DIR"):
        cycles.Client(config.replace(unavailable="allow", journal_dir=str(tmp_path / "file")))


def test_nothing_runs_unguarded_while_the_disk_is_full(server, config, kept, monkeypatch, caplog):
    """Its spend would be in memory alone, and nobody would hold it back."""
    server.always = dict.fromkeys(("reservations", "read"), DROP)

    def full(*args):
        raise OSError(errno.ENOSPC, "no space left on device")

    with cycles.Client(config.replace(unavailable="allow")) as client:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(cycles.AuthorityUnavailable), cycles.Guard(usd("0.10"), action=ACTION, client=client):
            pytest.fail("it ran")
        monkeypatch.undo()
        assert "no space left on device" in caplog.text
        with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
            held.report(actual=usd("0.01"))
        assert held.settlement is not None
        assert (held.settlement.via, held.state) == ("event", "COMMITTED")
    assert kept() == []


def test_a_denial_is_no_unreachable_authority(server, config):
    with cycles.Client(config.replace(unavailable="allow")) as client, pytest.raises(cycles.BudgetExceeded):
        client.reserve(usd("2.00"), action=ACTION)


def test_running_unguarded_needs_a_journal(environ):
    with pytest.raises(cycles.ConfigError, match=r"CYCLES_UNAVAILABLE='allow'.*journal_enabled"):
        cycles.Config.from_env({**environ, "CYCLES_UNAVAILABLE": "allow", "CYCLES_JOURNAL_ENABLED": "false"})
