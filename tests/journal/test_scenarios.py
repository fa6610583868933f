"""The recovery scenarios, each by its own test; `cycles.testing.recovery_adapter` runs them by id.

A restart is a fresh client in a new process that shares only the disk; a kill is SIGKILL with the request in flight.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import unicodedata
from collections import deque

import pytest

import cycles
from cycles import usd
from cycles._core.record_format import name_of
from cycles._core.records import Pending
from cycles._core.requests import terms
from tests.support.authorities import ACTION
from tests.support.net import DROP, HANG, HANG_AFTER, LOSE, Answer, error
from tests.support.waiting import until

pytestmark = pytest.mark.slow


def spend(client, amount="0.03", **fields):
    with cycles.Guard(usd("0.10"), action=ACTION, client=client, **fields) as held:
        held.commit(usd(amount))
    return held


def test_cr_core_001_a_lost_commit_response_is_asked_for_again_under_its_key(server, client, kept):
    server.plan["commit"] = deque([LOSE, LOSE])
    held = spend(client)
    assert held.state == "COMMITTED"
    keys = server.keys("commit")
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert server.spent() == 3
    assert kept() == []


def test_cr_core_002_an_expired_commit_becomes_an_event_under_its_key(server, client, clock, kept):
    with cycles.Guard(usd("0.10"), action=ACTION, client=client, ttl=10, grace_period=0) as held:
        clock.advance(11)
        held.commit(usd("0.03"), metrics=cycles.Metrics(tokens_input=7), metadata={"run": "r1"})
    (commit,), (event,) = server.of("commit"), server.of("events")
    assert event.key == commit.key
    assert event.body["actual"] == commit.body["actual"]
    assert event.body["metrics"] == {"tokens_input": 7}
    assert event.body["metadata"] == {
        "run": "r1",
        "recovered_reservation_id": held.id,
        "recovery_reason": "commit_after_reservation_expired",
    }
    assert event.body["subject"] == {"tenant": "acme"}
    assert event.body["action"] == {"kind": ACTION[0], "name": ACTION[1]}
    assert (held.state, server.spent(), kept()) == ("COMMITTED", 3, [])


def test_cr_core_003_a_heartbeat_that_fails_is_reported_and_the_work_goes_on(server, environ, caplog):
    """The first renewal is due a second into the lease, and there are four more to ask again under the same key."""
    server.always["extend"] = DROP
    config = cycles.Config.from_env({**environ, "CYCLES_READ_TIMEOUT": "3", "CYCLES_CONNECT_TIMEOUT": "1"})
    caplog.set_level(logging.WARNING, logger="cycles")
    with cycles.Client(config) as client, cycles.Guard(usd("0.10"), action=ACTION, client=client, ttl=10) as held:
        server.wait_for("extend", 2)
        until(lambda: _told(caplog, "renewal failed, retrying"))
        assert held.state == "ACTIVE", "the work was cancelled"
        held.commit(usd("0.03"))
    first, second = server.keys("extend")[:2]
    assert first == second, "a renewal whose answer was lost is asked for again under its key"
    told = _told(caplog, "renewal failed, retrying")[0]
    assert (told.cycles_reservation_id, told.cycles_retry_in > 0) == (held.id, True)
    assert (held.state, server.spent()) == ("COMMITTED", 3)
    assert len(server.of("commit")) == 1


def _told(caplog, event):
    return [record for record in caplog.records if getattr(record, "cycles_event", None) == event]


@pytest.mark.parametrize("body", [b"not JSON", {"status": "COMMITTED"}, {"status": "LATER", "charged": None}])
def test_cr_core_004_a_malformed_success_stays_ambiguous(server, client, kept, body):
    server.plan["commit"] = deque([Answer(200, body), Answer(204, b"")])
    held = spend(client)
    keys = server.keys("commit")
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert (held.state, server.spent(), kept()) == ("COMMITTED", 3, [])


@pytest.mark.parametrize("when", [HANG, HANG_AFTER])
def test_cr_durable_001_a_process_killed_in_its_first_commit_is_settled_after_restart(server, start, kept, when):
    server.always["commit"] = when
    first = start("spend")
    server.wait_for("commit")
    (record,) = kept()
    first.kill()
    assert record["idempotency_key"] == server.keys("commit")[0]
    assert record["mode"] == "commit"
    server.always.clear()
    assert start("recover").result()["settled"] == 1
    first_key, *later = server.keys("commit")
    assert later == [first_key]
    assert (server.spent(), kept()) == (3, [])


def test_cr_durable_002_a_switch_to_event_mode_survives_a_kill(server, start, kept, clock):
    server.always["commit"] = HANG
    first = start("spend", "0.03", "10")
    server.wait_for("commit")
    first.kill()
    clock.advance(11)
    server.always = {"events": HANG}
    second = start("recover")
    server.wait_for("events")
    (record,) = kept()
    second.kill()
    assert record["mode"] == "event"
    server.always.clear()
    assert start("recover").result()["settled"] == 1
    assert len(server.of("commit")) == 2, "no commit after the switch"
    assert len(set(server.keys("commit", "events"))) == 1
    assert (server.spent(), kept()) == (3, [])


def test_cr_durable_003_a_429_floor_survives_a_restart(server, start, kept, journal_dir):
    server.always["commit"] = Answer(429, error("LIMIT_EXCEEDED"), {"retry-after": "600"})
    result = start("spend", retry_max_attempts="1").result()
    ended_at = time.time()
    throttled_at = server.of("commit")[0].at
    server.always.clear()
    assert result["state"] == "UNSETTLED"
    (record,) = kept()
    assert throttled_at + 599.9 <= record["not_before"]["until_ms"] / 1000 <= ended_at + 600
    assert start("recover", "1").result() == {"told": [], "settled": 0, "rejected": 0, "pending": 1}
    assert len(server.of("commit")) == 1, "asked before the floor"
    (path,) = journal_dir.glob("*/v2-*.json")
    record["not_before"]["until_ms"] -= 600_000  # ten minutes pass
    path.write_text(json.dumps(record), encoding="utf-8")
    assert start("recover").result()["settled"] == 1
    first, second = server.of("commit")
    assert second.key == first.key
    assert (server.spent(), kept()) == (3, [])


def test_cr_durable_004_the_journal_of_a_tenant_survives_the_rotation_of_its_key(
    server, start, kept, environ, journal_dir
):
    server.always["commit"] = HANG
    first = start("spend")
    server.wait_for("commit")
    first.kill()
    server.always.clear()
    server.authority.revoke(environ["CYCLES_API_KEY"])
    refused = start("recover").result()
    assert (refused["settled"], refused["pending"], len(kept())) == (0, 1, 1)
    fresh = server.authority.key(tenant="acme")
    files = [path for path in journal_dir.rglob("*") if path.is_file()]
    assert files
    for path in files:  # neither key is anywhere on disk, nor a hash by which the old one could be recognised
        for key in (environ["CYCLES_API_KEY"], fresh):
            assert key.encode() not in path.read_bytes()
            assert hashlib.sha256(key.encode()).hexdigest()[:32] not in f"{path}{path.read_bytes()!r}"
    assert start("recover", api_key=fresh).result()["settled"] == 1
    assert len(set(server.keys("commit"))) == 1
    assert (server.spent(), kept()) == (3, [])


def test_cr_durable_005_unusable_records_are_set_aside_and_the_others_replayed(server, start, kept, journal_dir):
    server.always["commit"] = HANG
    first = start("spend")
    server.wait_for("commit")
    first.kill()
    server.always.clear()
    (good,) = journal_dir.glob("*/v2-*.json")
    cut_off = good.with_name(f"v2-{'0' * 64}.json")
    cut_off.write_bytes(good.read_bytes()[:100])
    of_tomorrow = good.with_name(f"v3-{'1' * 64}.json")
    of_tomorrow.write_text('{"version": 3}')
    misnamed = good.with_name(f"v2-{'2' * 64}.json")
    misnamed.write_bytes(good.read_bytes())
    worker = start("recover")
    assert worker.result()["settled"] == 1
    assert {path.name for path in good.parent.glob("quarantine/*.json")} == {
        cut_off.name,
        of_tomorrow.name,
        misnamed.name,
    }
    assert worker.log.count("record quarantined") == 3
    assert (server.spent(), kept()) == (3, [])


def test_cr_durable_006_two_processes_that_replay_one_record_settle_it_once(server, start, kept):
    server.always["commit"] = HANG
    first = start("spend")
    server.wait_for("commit")
    first.kill()
    server.always.clear()
    workers = [start("recover") for _ in range(4)]
    settled = [worker.result()["settled"] for worker in workers]
    assert sum(settled) == 1
    assert len(server.of("commit")) == 2, "one of them did the work"
    assert (server.spent(), kept()) == (3, [])


IDS = [
    "res_1", "RES_1", "res_1 ", "res/1", "res%2F1", "res\\1", "../res_1", "res.1", "res_1.json", "a" * 128, "a" * 127,
    unicodedata.normalize("NFC", "réservé"), unicodedata.normalize("NFD", "réservé"), "\u202ares_1", "v2-res_1",
    "ß", "ss",
]  # fmt: skip


def test_cr_durable_007_file_names_never_collide():
    what = terms(usd("0.10"), action=ACTION, levels={"tenant": "acme"})
    names = {
        held: name_of(Pending(reservation_id=held, terms=what, actual=usd("0.03"), key="the same key")) for held in IDS
    }
    assert len({name.lower() for name in names.values()}) == len(IDS), "file systems may ignore case"
    for held, name in names.items():
        assert name == f"v2-{hashlib.sha256(held.encode()).hexdigest()}.json"
    without = {
        name_of(Pending(reservation_id=None, terms=what, actual=usd("0.03"), key=key, by_event=True)) for key in IDS
    }
    assert len(without) == len(IDS)
    assert not without & set(names.values())


def test_cr_boundary_001_without_a_known_actual_nothing_is_settled(server, client, kept, start):
    with (
        pytest.raises(cycles.UnreportedSpend),
        cycles.Guard(usd("0.10"), action=ACTION, client=client, unreported="error"),
    ):
        pass
    worker = start("report")  # reports nothing, and waits
    assert worker.line() == "reported"
    worker.kill()
    assert start("recover").result()["settled"] == 0
    assert server.of("commit", "events", "release") == []
    assert (server.spent(), kept()) == (0, [])
