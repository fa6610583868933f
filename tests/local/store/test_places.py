"""Ledger files that go away while they are used."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from cycles import tokens
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
from tests.support.authorities import SCOPE
from tests.support.waiting import PATIENCE
from tests.support.wire import failed

from .files import beside, posix

if TYPE_CHECKING:
    from pathlib import Path


def deleted(path: Path) -> None:
    for file in beside(path):
        file.unlink()


def renamed(path: Path) -> None:
    path.rename(path.with_name("old.db"))


def replaced(path: Path) -> None:
    deleted(path)
    with LocalAuthority(path) as other:
        other.budget(SCOPE, tokens(100))


def restored(path: Path) -> None:
    shutil.copy(path, path.with_name("copy.db"))
    path.with_name("copy.db").replace(path)


def without_log(path: Path) -> None:
    path.with_name("ledger.db-wal").unlink()


def with_another_log(path: Path) -> None:
    shutil.copy(path.with_name("ledger.db-wal"), path.with_name("x"))
    path.with_name("x").replace(path.with_name("ledger.db-wal"))


@posix
@pytest.mark.parametrize(
    ("happens", "says"),
    [
        (deleted, "was deleted or renamed"),
        (renamed, "was deleted or renamed"),
        (replaced, "was replaced"),
        (restored, "was replaced"),
        (without_log, "ledger.db-wal, which holds the last moments"),
        (with_another_log, "ledger.db-wal, which holds the last moments"),
    ],
)
def test_a_file_that_goes_away_is_noticed(opened, path, happens, says):
    """Nothing is spent from a file that nobody else sees, and reading does not pretend either."""
    happens(path)
    for response in (opened.reserve(1), opened.event(1), opened.decide(1), opened.get("/v1/reservations")):
        assert failed(response, 500, "INTERNAL_ERROR")
        assert says in response.json()["message"]
    for call in (opened.authority.balances, lambda: opened.authority.backup(path.with_name("b.db"))):
        with pytest.raises(ConfigError, match=says):
            call()
    assert says in opened.authority.check()[0]


@posix
def test_a_file_that_is_put_back_is_used_again(opened, path):
    renamed(path)
    assert failed(opened.event(1), 500, "INTERNAL_ERROR")
    path.with_name("old.db").rename(path)
    assert opened.event(1).status_code == 201
    assert opened.authority.balance(SCOPE, "TOKENS").spent == 31


LEAVING = """
import sys
from cycles import tokens
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
authority = LocalAuthority(sys.argv[1])
authority.budget("tenant:acme", tokens(1))
print("ready", flush=True)
sys.stdin.readline()
try:
    authority.balances()
except ConfigError:
    print("noticed")
if sys.argv[2] == "closes":
    authority.close()
"""


@posix
@pytest.mark.parametrize("how", ["closes", "forgets"])
def test_who_leaves_a_deleted_ledger_leaves_the_new_one_alone(path, how):
    """SQLite deletes a log by its name, and by now that is the log of another ledger."""
    command = [sys.executable, "-W", "error", "-c", LEAVING, str(path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        deleted(path)
        with LocalAuthority(path) as authority:
            authority.budget(SCOPE, tokens(100))
            assert process.communicate("\n", timeout=PATIENCE) == ("noticed\n", None)
            assert process.returncode == 0
            assert path.with_name("ledger.db-wal").exists()
            assert authority.balance(SCOPE, "TOKENS").allocated == 100
