"""Copies and backups of ledger files."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from cycles import tokens
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
from cycles.local.store import files, schema
from cycles.local.store import sqlite as store
from tests.support.authorities import SCOPE
from tests.support.waiting import PATIENCE

from .files import beside, spent


def test_a_copy_without_its_log_is_recognised(opened, path, monkeypatch):
    """At every moment of use, also after the log was moved into the file."""
    monkeypatch.setattr(store, "MOVE_LOG_EVERY", 3)
    copy = path.with_name("copy.db")
    for _ in range(8):
        shutil.copy(path, copy)
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"without its log copy\.db-wal.*cycles local backup"):
                LocalAuthority(copy)
        for file in beside(copy):
            file.unlink(missing_ok=True)
        assert opened.event(1).status_code == 201


def test_a_ledger_that_comes_into_use_while_it_is_looked_at_is_no_copy(opened, path, monkeypatch):
    """Its log was not there at first; then another process begins to move it, and the file alone says so."""
    opened.authority.close()
    assert not path.with_name("ledger.db-wal").exists()
    look = files._looked_at
    with closing(sqlite3.connect(path, isolation_level=None)) as another:

        def meanwhile(*asked):
            schema.note_moving(another)
            another.execute("PRAGMA wal_checkpoint(PASSIVE)")
            return look(*asked)

        monkeypatch.setattr(files, "_looked_at", meanwhile)
        files.refuse_foreign(path)


@pytest.mark.slow
def test_the_log_is_moved_now_and_then(opened, path, monkeypatch):
    monkeypatch.setattr(store, "MOVE_LOG_EVERY", 20)
    for _ in range(200):
        assert opened.event(0).status_code == 201
    assert path.with_name("ledger.db-wal").stat().st_size < 1_500_000, "200 events take three times that"


def test_a_copy_with_its_log_is_whole(opened, path):
    for file in beside(path)[:2]:
        shutil.copy(file, file.with_name(file.name.replace("ledger", "copy")))
    assert spent(path.with_name("copy.db")) == 30


FORGETFUL = """
import os, sys
from cycles import tokens
from cycles.local import LocalAuthority
authority = LocalAuthority(sys.argv[1])
authority.budget("tenant:acme", tokens(5))
if sys.argv[2] == "killed":
    os._exit(9)
"""


@pytest.mark.parametrize("how", ["forgotten", "killed"])
@pytest.mark.slow
def test_what_a_process_left_can_be_copied(path, how):
    """One that ends without closing its ledger leaves a whole file; one that is killed leaves a log beside it."""
    subprocess.run([sys.executable, "-c", FORGETFUL, str(path), how], timeout=PATIENCE, check=False)
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    if how == "killed":
        with pytest.raises(ConfigError, match="without its log"):
            LocalAuthority(copy)
        shutil.copy(path.with_name("ledger.db-wal"), copy.with_name("copy.db-wal"))
    for file in (copy, path):
        with LocalAuthority(file) as authority:
            assert authority.balance(SCOPE, "TOKENS").allocated == 5


def test_the_tables_are_in_the_file_from_the_first_moment(path):
    with LocalAuthority(path):
        data = path.read_bytes()
        assert data[68:72] == b"CYCL"
        assert b"CREATE TABLE budgets" in data


def test_an_empty_copy_of_an_earlier_version_is_not_taken_for_new(path):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"log ledger\.db-wal is missing"):
        LocalAuthority(path)
    assert path.read_bytes() == before


def test_a_backup_of_a_ledger_in_use_is_whole(opened, path):
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            assert opened.event(1, overage_policy="ALLOW_IF_AVAILABLE").status_code == 201

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for number in range(5):
            copy = path.with_name(f"copy-{number}.db")
            opened.authority.backup(copy)
            with LocalAuthority(copy) as authority:
                assert authority.check() == []
                assert authority.balance(SCOPE, "TOKENS").spent >= 30
    finally:
        stop.set()
        worker.join()
    assert not list(path.parent.glob("*.part*"))


def test_a_backup_is_one_file_and_of_one_moment(opened, path):
    opened.authority.backup(path.with_name("copy.db"))
    opened.event(1)
    assert not path.with_name("copy.db-wal").exists()
    shutil.copy(path.with_name("copy.db"), path.with_name("again.db"))
    assert spent(path.with_name("again.db")) == 30


def test_a_ledger_in_memory_can_be_kept(path):
    with LocalAuthority() as authority:
        authority.budget(SCOPE, tokens(7))
        authority.backup(path)
    with LocalAuthority(path) as authority:
        assert authority.balance(SCOPE, "TOKENS").allocated == 7


def test_a_backup_replaces_nothing(opened, path):
    for target, says in (
        (path, "is there already"),
        (path.parent, "is a folder"),
        (path.parent / "no" / "copy.db", "there is no folder"),
    ):
        with pytest.raises(ConfigError, match=says):
            opened.authority.backup(target)
    assert opened.event(1).status_code == 201
