"""Files that are no ledgers of this version are left as they are (docs/authority.md, The ledger file)."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from cycles import tokens
from cycles.errors import ConfigError
from cycles.local import LocalAuthority


def foreign(path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_bytes(b"dear diary, " * 100), "no ledger of cycles"),
        (lambda path: path.write_bytes(b"x"), "something else"),
        (lambda path: foreign(path, "CREATE TABLE t (x)"), "something else"),
        (lambda path: foreign(path, "PRAGMA application_id = 1", "CREATE TABLE budgets (x)"), "something else"),
    ],
)
def test_a_foreign_file_is_left_alone(tmp_path, make, says):
    path = tmp_path / "ledger.db"
    make(path)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=says):
        LocalAuthority(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.db"]


def test_a_truncated_ledger_is_an_error_and_not_emptied(tmp_path):
    path = tmp_path / "ledger.db"
    with LocalAuthority(path) as authority:
        for number in range(200):
            authority.budget(f"tenant:t{number}", tokens(1))
    path.write_bytes(path.read_bytes()[:8192])
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"ledger\.db"), LocalAuthority(path) as authority:
        authority.balances()
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_ledger(tmp_path):
    (tmp_path / "ledger.db").touch()
    with LocalAuthority(tmp_path / "ledger.db") as authority:
        assert authority.balances() == []
