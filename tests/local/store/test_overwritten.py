"""Ledger files that are overwritten in place, whose device and inode stay what they were."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing
from pathlib import Path

import pytest

from cycles import tokens
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
from cycles.local.store import marks
from cycles.local.store import sqlite as store
from tests.support.authorities import SCOPE
from tests.support.waiting import PATIENCE
from tests.support.wire import failed

from .files import beside, posix, spent


def overwritten(path, source) -> None:
    """What `cp source path` does."""
    with source.open("rb") as copy, path.open("r+b") as file:
        file.truncate(0)
        shutil.copyfileobj(copy, file)
        file.flush()
        os.utime(path)


def of_another_ledger(path, opened, monkeypatch):
    other = path.with_name("other.db")
    with LocalAuthority(other) as authority:
        authority.budget(SCOPE, tokens(1_000_000))
        for number in range(50):
            authority.budget(f"{SCOPE}/agent:a{number}", tokens(1))
    return other


def of_a_backup(path, opened, monkeypatch):
    opened.authority.backup(path.with_name("backup.db"))
    return path.with_name("backup.db")


def of_an_earlier_state(path, opened, monkeypatch):
    """A plain copy, made before the log was moved into the file once more."""
    monkeypatch.setattr(store, "MOVE_LOG_EVERY", 3)
    earlier = path.with_name("earlier.db")
    shutil.copy(path, earlier)
    for _ in range(6):
        assert opened.event(1).status_code == 201
    return earlier


def of_something_else(path, opened, monkeypatch):
    other = path.with_name("notes.txt")
    other.write_bytes(b"my notes\n" * 5000)
    return other


def of_nothing(path, opened, monkeypatch):
    other = path.with_name("empty")
    other.touch()
    return other


@posix
@pytest.mark.parametrize("source", [of_another_ledger, of_a_backup, of_an_earlier_state, of_something_else, of_nothing])
def test_a_file_that_is_overwritten_is_noticed(opened, path, monkeypatch, source):
    """Nothing more is spent, and who leaves does not move the old log into the new file."""
    copy = source(path, opened, monkeypatch)
    assert opened.event(1).status_code == 201
    overwritten(path, copy)
    for response in (opened.reserve(1), opened.event(1), opened.get("/v1/reservations")):
        assert failed(response, 500, "INTERNAL_ERROR")
        assert "was overwritten while this program used it" in response.json()["message"]
        assert "delete ledger.db-wal and ledger.db-shm" in response.json()["message"]
    with pytest.raises(ConfigError, match="was overwritten"):
        opened.authority.balances()
    opened.authority.close()
    assert path.read_bytes() == copy.read_bytes()
    assert path.with_name("ledger.db-wal").exists()


@posix
@pytest.mark.parametrize("source", [of_another_ledger, of_a_backup, of_an_earlier_state])
def test_a_log_that_is_not_the_files_is_refused(opened, path, monkeypatch, source):
    """SQLite would put the one over the other; what the message advises makes the file good again."""
    copy = source(path, opened, monkeypatch)
    assert opened.event(1).status_code == 201
    assert opened.get("/v1/reservations").status_code == 200
    folder = path.with_name("restored")
    folder.mkdir()
    for file in beside(path)[:2]:  # as a killed program leaves them
        shutil.copy(file, folder)
    restored = folder / path.name
    expected = spent(shutil.copy(copy, folder / "alone.db")) if source is not of_an_earlier_state else None
    overwritten(restored, copy)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"its log ledger\.db-wal belongs to another state of it") as caught:
            LocalAuthority(restored)
        assert "delete ledger.db-wal and ledger.db-shm" in str(caught.value)
    assert restored.read_bytes() == copy.read_bytes()
    for file in beside(restored)[1:]:
        file.unlink(missing_ok=True)
    if expected is None:  # it was made while the ledger was in use, and its log is gone
        with pytest.raises(ConfigError, match="without its log"):
            LocalAuthority(restored)
    else:
        assert spent(restored) == expected


@posix
def test_a_file_that_its_own_programs_write_to_was_not_overwritten(opened, path, monkeypatch):
    """Two stores move their logs into one file, and each sees that the other did."""
    monkeypatch.setattr(store, "MOVE_LOG_EVERY", 2)
    with LocalAuthority(path) as other:
        for number in range(1, 21):
            assert opened.event(1).status_code == 201
            other.budget(f"{SCOPE}/agent:a", tokens(number))
    assert opened.authority.check() == []
    assert opened.authority.balance(SCOPE, "TOKENS").spent == 50


def test_one_that_reads_the_mark_while_another_moves_the_log(opened, path, monkeypatch):
    """The one has an old mark in hand when the other notes a newer one."""
    monkeypatch.setattr(store, "MOVE_LOG_EVERY", 1)
    read, met = marks.Beneath.mark, []

    def slowly(file, where):
        found = read(file, where)
        if not met:
            met.append(found)
            assert [opened.event(1).status_code for _ in range(2)] == [201, 201]
        return found

    monkeypatch.setattr(marks.Beneath, "mark", slowly)
    os.utime(path)
    assert opened.get("/v1/reservations").status_code == 200
    assert met


@posix
@pytest.mark.parametrize("moved", [False, True])
def test_a_vacuum_is_no_overwriting(opened, path, monkeypatch, moved):
    """It gives the mark another place: in the log at first, and in the file when the log is moved."""
    for number in range(30):
        opened.authority.budget(f"{SCOPE}/agent:a{number}", tokens(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE last (a)")
        connection.execute("INSERT INTO last VALUES (zeroblob(200000))")
        connection.execute("DROP INDEX holds_by_end")
        connection.execute("VACUUM")
        if moved:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        connection.execute("DROP TABLE last")
        os.utime(path)
        assert opened.event(1).status_code == 201
        with LocalAuthority(path) as other:
            assert other.balance(SCOPE, "TOKENS").spent == 31


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts descriptors in /proc")
def test_no_descriptor_outlives_its_store(tmp_path):
    """Of one that is closed, and of one that is only forgotten."""

    def of_ledgers() -> list[Path]:
        opened = (link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
        return [file for file in opened if file.is_relative_to(tmp_path)]

    path = tmp_path / "ledger.db"
    with LocalAuthority(path) as first, LocalAuthority(path):
        first.budget(SCOPE, tokens(1))
        assert of_ledgers()
    assert of_ledgers() == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # from 3.13 on Python warns of a file's connection
        LocalAuthority(path)
        gc.collect()
    assert of_ledgers() == []


def test_one_in_memory_that_is_forgotten_is_closed_and_no_warning():
    """From 3.13 on Python warns of an unclosed connection; README's programs close none that is in memory."""
    authority = LocalAuthority()
    authority.budget(SCOPE, tokens(1))
    (connection,) = authority.store.connections.idle
    del authority
    gc.collect()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connection.execute("SELECT 1")


LOCKED = """
import sys
from cycles.local import LocalAuthority
with LocalAuthority(sys.argv[1]) as first:
    LocalAuthority(sys.argv[1]).close()
    try:
        LocalAuthority(sys.argv[1] + "-no/such.db")
    except Exception:
        pass
    print("ready", flush=True)
    sys.stdin.readline()
"""


@posix
@pytest.mark.slow
def test_reading_beside_sqlite_takes_no_lock_away(path):
    """Else another process, leaving, would take itself for the last one, and delete the log that is in use."""
    with (
        subprocess.Popen(
            [sys.executable, "-c", LOCKED, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with LocalAuthority(path) as authority:
            authority.budget(SCOPE, tokens(5))
        assert path.with_name("ledger.db-wal").exists(), "the other process has it open"
        process.communicate("\n", timeout=PATIENCE)
    assert not path.with_name("ledger.db-wal").exists()


def test_a_backup_is_a_ledger_of_its_own(opened, path):
    opened.authority.backup(path.with_name("copy.db"))
    ids = []
    for file in (path, path.with_name("copy.db")):
        with closing(sqlite3.connect(file)) as connection:
            found = marks.seen(connection)
            assert found is not None
            ids.append(found.mark.ledger)
    assert len(set(ids)) == 2
