"""The journal itself: what it writes, and what it makes of what it finds."""

from __future__ import annotations

import errno
import os
import time

import pytest

from cycles import usd
from cycles._core.record_format import name_of
from cycles._core.records import Claim
from cycles._journal.journal import Journal
from cycles._journal.partitions import partition_of
from tests.support.records import pending
from tests.support.waiting import PATIENCE, until


def files(journal, where=""):
    return sorted(path.name for path in (journal.directory / where).glob("v*.json"))


def test_a_partition_is_a_server_and_a_principal():
    usual = partition_of("https://Cycles.example/v1/", "acme", "key-1")
    assert usual == partition_of("https://cycles.example:443/v1", "acme", "key-2"), "a tenant outlives its key"
    others = [
        partition_of("https://cycles.example", "acme", "key-1"),
        partition_of("http://cycles.example/v1", "acme", "key-1"),
        partition_of("https://cycles.example:8443/v1", "acme", "key-1"),
        partition_of("https://cycles.example/v1", "other", "key-1"),
        partition_of("https://cycles.example/v1", None, "key-1"),
        partition_of("https://cycles.example/v1", None, "key-2"),
        partition_of("https://cycles.example/v1", "key key-1", None),
    ]
    assert len({usual, *others}) == 8


def test_a_local_file_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = partition_of("local:ledger.db?usd=1", "acme", "k")
    assert written == partition_of(f"local:{tmp_path}/ledger.db", "acme", "other")
    assert written != partition_of("local:other.db", "acme", "k")


def test_a_second_write_replaces_the_first_and_leaves_nothing_behind(journal):
    journal.write(pending())
    journal.write(pending(actual=usd("0.04")))
    assert files(journal) == [name_of(pending())]
    assert journal.read(name_of(pending()))[0].actual == usd("0.04")
    journal.forget(pending())
    journal.forget(pending())
    left = [path.name for path in journal.directory.iterdir() if path.is_file()]
    assert left == ["partition.json"]


def test_a_directory_that_was_removed_is_made_again(journal):
    journal.write(pending())
    for path in sorted(journal.directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    journal.directory.rmdir()
    journal.write(pending("res_2"))
    assert files(journal) == [name_of(pending("res_2"))]


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_record_before_it_and_no_litter(journal, monkeypatch, step):
    journal.write(pending())
    real = getattr(os, step)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="no space"):
        journal.write(pending(actual=usd("0.09")))
    with pytest.raises(OSError, match="no space"):
        journal.write_soon(pending(actual=usd("0.09")), None).result(PATIENCE)
    if step != "fsync":  # a report is not flushed here
        with pytest.raises(OSError, match="no space"):
            journal.report(pending("res_2", provisional=True))
    monkeypatch.setattr(os, step, real)
    assert journal.read(name_of(pending()))[0].actual == usd("0.03")
    journal.forget(pending())
    assert [path.name for path in journal.directory.iterdir() if path.name.startswith(".tmp-")] == []


def test_two_journals_of_one_directory_write_at_once(journal):
    hasty = Journal(journal.directory, fsync=False)
    drafts = [each.records.draft(pending(f"res_{number}")) for number, each in enumerate((journal, hasty))]
    for number, (each, (temporary, descriptor)) in enumerate(zip((journal, hasty), drafts, strict=True)):
        os.close(descriptor)
        each.records.publish(name_of(pending(f"res_{number}")), temporary)
    assert files(journal) == sorted(name_of(pending(f"res_{number}")) for number in range(2))


def test_what_a_dead_process_left_over_is_swept_and_a_living_ones_kept(journal):
    journal.write(pending())
    dead, living = journal.directory / ".tmp-feed-1", journal.directory / f".tmp-{journal.owners.own()}-9"
    lock = journal.directory.parent / "owners" / "feed.lock"
    for path in (dead, living, lock):
        path.write_text("")
        os.utime(path, (time.time() - 100, time.time() - 100))
    journal.sweep()
    assert not dead.exists()
    assert not lock.exists()
    assert living.exists()
    assert (journal.directory.parent / "owners" / f"{journal.owners.own()}.lock").exists()


def test_without_file_locks_what_is_committed_is_kept_and_reports_are_not(journal, monkeypatch):
    def unsupported(descriptor):
        raise OSError(errno.ENOTSUP, "no locks here")

    monkeypatch.setattr("cycles._journal.locks._lock", unsupported)
    journal.report(pending(provisional=True))
    assert files(journal) == []
    journal.write(pending())
    queue = journal.queue()
    assert queue.take()[0].key == "key-1"
    queue.close()


def test_a_claimed_record_is_given_to_nobody_else(journal):
    claim = Claim()
    journal.write(pending(), claim)
    queue = journal.queue()
    assert queue.take() is None
    assert queue.is_contended
    claim.active = False
    assert journal.queue().take()[0].key == "key-1"


def test_a_record_that_failed_comes_after_the_others(journal):
    for number in range(3):
        journal.write(pending(f"res_{number}", key=f"key-{number}"))
    queue = journal.queue()
    first, claim = queue.take()
    claim.active = False
    queue.close()
    queue, order = journal.queue(), []
    while (taken := queue.take()) is not None:
        order.append(taken[0].key)
    assert order[-1] == first.key
    assert len(order) == 3


@pytest.mark.slow
def test_the_last_report_wins_and_an_end_overtakes_it(journal):
    for cents in range(1, 60):
        journal.report(pending(actual=usd("0.01") if cents < 59 else usd("0.05"), provisional=True))
    until(lambda: journal.read(name_of(pending()))[0].actual == usd("0.05"))
    journal.report(pending(actual=usd("0.06"), provisional=True))
    journal.write(pending(actual=usd("0.07")))
    time.sleep(0.3)
    found = journal.read(name_of(pending()))[0]
    assert (found.actual, found.provisional) == (usd("0.07"), False)
    journal.report(pending(actual=usd("0.08"), provisional=True))
    journal.forget(pending())
    time.sleep(0.3)
    assert files(journal) == []


def test_what_can_not_be_read_is_told_and_nothing_fails(journal, told, monkeypatch):
    journal.write(pending())

    def fails(path):
        raise OSError(errno.EIO, "a failing disk")

    monkeypatch.setattr("cycles._journal.records.read_own", fails)
    assert journal.queue().take() is None
    assert [event for event, _ in told] == ["journal unreadable"]
