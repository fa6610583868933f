"""The lock that says "this process lives", swept from under it: it comes back, and what is due is charged, once."""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

import cycles
from cycles import usd
from cycles._core.record_format import load, name_of
from cycles._journal import locks, processes
from cycles._journal.journal import Journal
from cycles_api.api.reservations import commit_reservation
from tests.support.authorities import ACTION
from tests.support.records import pending
from tests.support.waiting import until

linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not say when a process began")


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "journal" / "partition")


def sweep(journal_dir):
    swept = list((journal_dir / "owners").glob("*.lock"))
    for path in swept:
        path.unlink()
    return swept


# -- kept fresh --------------------------------------------------------------------------------------------------------
def test_a_lock_that_is_gone_is_made_again_at_the_next_write(journal, monkeypatch):
    monkeypatch.setattr(locks, "LOOKED_EVERY", -1.0)
    journal.write(pending())
    (swept,) = sweep(journal.directory.parent)
    assert not locks.is_locked(swept)
    journal.write(pending())
    assert locks.is_locked(swept), "under the same name: the records are its"


@linux
def test_a_write_looks_for_its_lock_only_now_and_then_and_until_then_its_process_is_known_by_name(journal, monkeypatch):
    monkeypatch.setattr(locks, "LOOKED_EVERY", math.inf)
    journal.write(pending())
    sweep(journal.directory.parent)
    journal.write(pending())
    assert not list((journal.directory.parent / "owners").iterdir()), "it has not looked"
    assert processes.is_running(journal.owners.own())
    assert journal.owners.is_alive(journal.owners.own())
    journal.refresh()
    assert locks.is_locked(journal.directory.parent / "owners" / f"{journal.owners.own()}.lock"), "a heartbeat looks"


def test_a_lock_whose_directory_is_gone_is_made_again(journal):
    journal.write(pending())
    (swept,) = sweep(journal.directory.parent)
    swept.parent.rmdir()
    journal.refresh()
    assert locks.is_locked(swept)


def test_a_lock_that_was_replaced_is_locked_again(journal):
    journal.write(pending())
    (swept,) = sweep(journal.directory.parent)
    swept.touch()
    journal.refresh()
    assert locks.is_locked(swept)


def test_a_lock_that_somebody_else_has_in_its_place_is_left_to_it(journal):
    journal.write(pending())
    (swept,) = sweep(journal.directory.parent)
    other = locks.Lock.taken(swept)
    journal.refresh()
    other.leave()
    journal.refresh()
    assert locks.is_locked(swept)


def test_a_lock_that_can_not_be_made_is_tried_again(journal):
    journal.write(pending())
    (swept,) = sweep(journal.directory.parent)
    swept.mkdir()
    journal.refresh()
    swept.rmdir()
    journal.refresh()
    assert locks.is_locked(swept)


def test_lock_and_reports_of_a_running_section_do_not_grow_old(journal, monkeypatch):
    """Directories of temporary files are swept by age."""
    journal.report(pending(provisional=True))
    (lock,) = (journal.directory.parent / "owners").glob("*.lock")
    record = journal.directory / name_of(pending())
    for path in (lock, record):
        os.utime(path, (1, 1))
    journal.refresh()
    assert lock.stat().st_mtime == record.stat().st_mtime == 1, "not at each beat"
    monkeypatch.setattr(locks, "TOUCHED_EVERY", -1.0)
    journal.refresh()
    assert min(lock.stat().st_mtime, record.stat().st_mtime) > 1
    record.unlink()
    journal.refresh()  # swept meanwhile, or settled


@pytest.mark.slow
def test_a_heartbeat_keeps_it_fresh(server, config, journal_dir):
    with cycles.Client(config) as client:
        held = client.reserve(usd("0.10"), action=ACTION, ttl=1.0)
        held.report(actual=usd("0.01"))
        (swept,) = sweep(journal_dir)
        until(swept.exists)
        held.commit(usd("0.03"))


def test_without_locks_or_records_there_is_nothing_to_keep(journal, monkeypatch):
    journal.refresh()
    assert not journal.directory.exists()
    monkeypatch.setattr(locks, "_lock", lambda *_, **__: (_ for _ in ()).throw(OSError("no locks")))
    journal.write(pending())
    journal.refresh()


# -- who lives, without a file -----------------------------------------------------------------------------------------
@linux
def test_a_process_is_known_by_its_name_while_it_runs(journal, monkeypatch):
    name = processes.named("ab12")
    assert processes.is_running(name)
    assert processes.is_own(name)
    unique, pid, began, place = name.split("-")
    for other in (
        unique,
        f"{unique}-{pid}-{int(began) + 1}-{place}",  # another process with its number
        f"{unique}-{pid}-{began}-{'0' * 12}",  # in another container, or before the machine began anew
        f"{unique}-99999999-{began}-{place}",
        f"../{unique}-{pid}-{began}-{place}",
    ):
        assert not processes.is_running(other)
        assert not processes.is_own(other)


@linux
def test_a_process_that_ended_and_that_nobody_waited_for_does_not_run():
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert processes._began(child) is None
    finally:
        os.waitpid(child, 0)


def test_where_the_system_does_not_say_a_name_says_nothing(monkeypatch):
    monkeypatch.setattr(processes, "_began", lambda pid: None)
    assert processes.named("ab12") == "ab12"
    assert not processes.is_running("ab12")


def test_a_journal_that_was_left_is_not_alive_though_its_process_is(journal):
    journal.write(pending())
    owner = journal.owners.own()
    assert journal.owners.is_alive(owner)
    journal.leave()
    assert not journal.owners.is_alive(owner)
    assert journal.queue().take() is not None


def test_what_a_section_wrote_since_it_was_taken_for_dead_stays(journal, monkeypatch):
    other = Journal(journal.directory)
    monkeypatch.setattr(type(journal.owners), "is_alive", lambda *_: False)
    journal.report(pending(provisional=True, actual=usd("0.01")))
    queue = other.queue()
    taken, claim = queue.take()
    journal.write(pending(actual=usd("0.05")))
    other.write(taken)
    other.forget(taken)
    (name,) = journal.names()
    assert journal.read(name)[0].actual == usd("0.05")
    claim.active = False
    assert queue.take() is None
    queue.close()
    again = other.queue()
    taken, _ = again.take()
    os.unlink(journal.directory / name)  # noqa: PTH108 - a name, as the journal has it
    other.write(taken)
    assert journal.names() == [], "what is settled does not come back"
    journal.write(pending(actual=usd("0.05")))
    other.write(taken.as_event())
    other.forget(taken)
    assert journal.names() == []
    again.close()


# -- the sequence ------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@linux
def test_another_program_leaves_a_running_section_alone(server, start, journal_dir, kept):
    running = start("report", "0.01")
    assert running.line() == "reported"
    assert len(sweep(journal_dir)) == 1
    assert start("recover").result()["settled"] == 0
    assert server.spent() == 0
    assert len(kept()) == 1
    running.kill()
    assert start("recover").result()["settled"] == 1
    assert server.spent() == 1, "once it is dead, its report is charged"


def taken_for_dead(server, client, journal_dir):
    """Charge what is on record, as a program that finds no lock, and knows nothing of the process, does."""
    (path,) = journal_dir.glob("*/v2-*.json")
    reported, _ = load(path.read_bytes())
    answer = commit_reservation.sync_detailed(
        client=client.api, reservation_id=reported.reservation_id, body=reported.final().commit_body()
    )
    assert answer.status_code == 200
    path.unlink()


def test_a_section_that_was_settled_as_dead_charges_the_rest(server, config, journal_dir, kept):
    with cycles.Client(config) as client:
        with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
            held.report(actual=usd("0.01"))
            taken_for_dead(server, client, journal_dir)
            assert server.spent() == 1
            time.sleep(0.11)  # the next report is not put together with the first
            held.report(actual=usd("0.02"))
            held.commit(usd("0.05"))
        assert (held.settlement.charged, held.settlement.error) == (usd("0.05"), None)
    assert server.spent() == 5
    assert kept() == []


def test_a_section_that_was_settled_in_full_charges_nothing_more(server, config, journal_dir, kept):
    with cycles.Client(config) as client:
        with cycles.Guard(usd("0.10"), action=ACTION, client=client) as held:
            held.report(actual=usd("0.04"))
            taken_for_dead(server, client, journal_dir)
        assert held.settlement.charged == usd("0.04")
    assert server.spent() == 4
    assert kept() == []


def test_a_reservation_that_an_operator_ended_is_refused_as_ever(server, config, journal_dir):
    with cycles.Client(config) as client:
        held = client.reserve(usd("0.10"), action=ACTION)
        held.report(actual=usd("0.01"))
        other = client.reserve(usd("0.10"), action=ACTION)
        other._section.grant.response.reservation_id = held.id
        other.release()
        with suppress(cycles.ReservationFinalized):
            held.commit(usd("0.05"))
        assert isinstance(held.settlement_error, cycles.ReservationFinalized)
    assert server.spent() == 0


def test_a_lock_that_was_moved_elsewhere_is_made_again_when_it_is_looked_for(journal, monkeypatch):
    """A write only asks whether the file has a name still; the touch now and then asks whether it is the right one."""
    journal.write(pending())
    (lock,) = (journal.directory.parent / "owners").glob("*.lock")
    lock.rename(journal.directory.parent / "elsewhere")
    journal.refresh()
    monkeypatch.setattr(locks, "TOUCHED_EVERY", -1.0)
    journal.refresh()
    assert locks.is_locked(lock)
