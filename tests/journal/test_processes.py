"""Spend that happened is settled whatever ends the process: SIGKILL, exit, SIGTERM, fork; and nothing too early."""

from __future__ import annotations

import os
import signal
import stat
from collections import deque

import pytest

from tests.support.net import DROP, HANG, Answer, error
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.slow


def test_reported_spend_survives_sigkill_and_says_that_it_was_reported(server, start, kept):
    worker = start("report", "0.01", "0.02", "0.04")
    assert worker.line() == "reported"
    (record,) = kept()
    assert (record["provisional"], record["actual"]["amount"]) == (True, 4_000_000)
    worker.kill()
    assert start("recover").result()["settled"] == 1
    (commit,) = server.of("commit")
    assert commit.body["metadata"] == {"actual_source": "reported", "step": "0.04"}
    assert (server.spent(), kept()) == (4, [])


def test_what_a_living_process_reports_is_nobody_elses_to_settle(server, start, kept):
    worker = start("report", "0.02")
    assert worker.line() == "reported"
    assert start("recover").result() == {"told": [], "settled": 0, "rejected": 0, "pending": 0}
    assert server.of("commit") == []
    assert len(kept()) == 1
    worker.kill()


def test_reports_are_written_once_in_a_tenth_of_a_second_and_the_end_overtakes_them(server, start, journal_dir):
    worker = start("stream", "1.5")
    server.wait_for("reservations")
    writes, last = 0, None
    while worker.process.poll() is None:
        for path in journal_dir.glob("*/v2-*.json"):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            file = found.st_ino, found.st_mtime_ns
            writes, last = writes + (file != last), file
    result = worker.result()
    assert result["reports"] >= 1000
    # How many this loop saw depends on the machine; how many there were at most does not.
    assert 1 <= writes <= result["seconds"] / 0.1 + 3
    assert result["state"] == "COMMITTED"
    assert server.spent() == 2


def test_the_exit_settles_what_is_pending_within_its_bound(server, start, kept):
    server.plan["commit"] = deque([DROP, DROP, DROP])
    result = start("spend", retry_flush_timeout="300").result()
    assert (result["state"], result["error"]) == ("UNSETTLED", "AuthorityUnavailable")
    assert len(set(server.keys("commit"))) == 1
    assert (server.spent(), kept()) == (3, [])


def test_the_exit_does_not_wait_longer_than_its_bound(server, start, kept):
    server.always["commit"] = HANG
    options = {"read_timeout": "0.5", "retry_max_attempts": "1", "retry_enabled": "false"}
    worker = start("spend", retry_flush_timeout="1.5", **options)
    worker.result()
    assert "pending at exit" in worker.log
    assert len(kept()) == 1


def test_sigterm_that_the_program_turns_into_an_exit_settles_too(server, start, kept):
    server.plan["commit"] = deque([DROP, DROP, DROP])
    worker = start("terminated", retry_flush_timeout="300")
    assert worker.line() == "spent"
    assert len(kept()) == 1
    worker.process.send_signal(signal.SIGTERM)
    worker.process.communicate(timeout=PATIENCE)
    assert worker.process.returncode == 143
    assert (server.spent(), kept()) == (3, [])


def test_a_client_settles_in_the_background_what_a_dead_process_left(server, start, kept):
    server.always["commit"] = HANG
    first = start("spend")
    server.wait_for("commit")
    first.kill()
    server.always.clear()
    told = start("start").result()["told"]
    assert [(outcome, via) for _, outcome, via in told] == [("settled", "commit")]
    assert (server.spent(), kept()) == (3, [])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_leaves_its_parents_sections_alone(server, start, kept):
    result = start("forked").result()
    assert result["child"] == 10, "the child settled what its parent was still spending"
    assert result["state"] == "COMMITTED"
    assert (server.spent(), kept()) == (5, [])


def test_a_recorded_spend_without_reservation_survives_too(server, start, kept):
    server.always["events"] = HANG
    worker = start("record")
    server.wait_for("events")
    worker.kill()
    server.always.clear()
    assert start("recover").result()["settled"] == 1
    assert len(set(server.keys("events"))) == 1
    assert (server.spent(), kept()) == (3, [])


def test_a_record_says_that_the_journal_holds_it(server, start, kept):
    server.always["events"] = Answer(503, error("INTERNAL_ERROR"))
    assert start("record").result()["error"] == "SettlementPending"
    assert len(kept()) == 1


def test_an_unreachable_authority_lets_the_section_run_and_is_charged_later_once(server, start, kept):
    server.always = dict.fromkeys(("reservations", "events", "read"), DROP)
    result = start("spend", unavailable="allow").result()
    assert result["state"] == "UNSETTLED"
    assert (server.spent(), len(kept())) == (0, 1)
    server.always.clear()
    assert start("recover").result()["settled"] == 1
    assert server.of("commit") == []
    assert len(set(server.keys("events"))) == 1
    assert (server.spent(), kept()) == (3, [])


def test_a_refused_settlement_is_kept_aside_with_the_answer(server, start, kept):
    server.always["commit"] = Answer(409, error("RESERVATION_FINALIZED", "it was released by an operator"))
    worker = start("spend")
    result = worker.result()
    assert [outcome for _, outcome, _ in result["told"]] == ["rejected"]
    assert "settlement rejected" in worker.log
    (rejected,) = kept("rejected")
    assert rejected["answer"]["code"] == "RESERVATION_FINALIZED"
    assert rejected["actual"]["amount"] == 3_000_000
    assert kept() == []
    assert server.of("release") == []


def test_only_the_user_can_read_it_and_no_secret_is_in_it(server, start, journal_dir, environ):
    server.always["commit"] = Answer(503, error("INTERNAL_ERROR"))
    start("spend").result()
    found = [journal_dir, *journal_dir.rglob("*")]
    assert len(found) > 5
    for path in found:
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            assert mode == 0o700, path
        elif path.name != "README.txt":
            assert mode == 0o600, path
        if path.is_file():
            assert environ["CYCLES_API_KEY"] not in path.read_text()
    assert "spend" in (journal_dir / "README.txt").read_text()
