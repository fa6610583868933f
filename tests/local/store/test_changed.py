"""Ledger files that somebody else changed: tables, triggers and rows."""

from __future__ import annotations

import pytest

from cycles import tokens
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
from tests.support.authorities import SCOPE, Clock
from tests.support.wire import Wire, failed

from .files import change


@pytest.fixture
def closed(path):
    with LocalAuthority(path) as authority:
        authority.budget(SCOPE, tokens(100))
        authority.tenant("acme")
        authority.key(tenant="acme")
        wire = Wire(authority, Clock())
        assert wire.reserve(10).is_success
    return path


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("PRAGMA user_version = 0", "format is said to be 0"),
        ("PRAGMA user_version = -1", "format is said to be -1"),
        ("CREATE TRIGGER t AFTER UPDATE ON budgets BEGIN DELETE FROM holds; END", "it has a trigger, t"),
        ("CREATE VIEW v AS SELECT * FROM budgets", "it has a view, v"),
        ("CREATE UNIQUE INDEX u ON holds (unit)", "it has an index, u"),
        ("ALTER TABLE budgets ADD COLUMN more", "table budgets was changed"),
        ("DROP TABLE replays", "no table replays"),
    ],
)
def test_changed_tables_are_refused(closed, statement, says):
    change(closed, statement)
    before = closed.read_bytes()
    with pytest.raises(ConfigError, match=says) as caught:
        LocalAuthority(closed)
    assert "left untouched" in str(caught.value)
    assert closed.read_bytes() == before


def test_a_trigger_that_comes_later_is_found_by_the_check(opened, path):
    change(path, "CREATE TRIGGER t AFTER UPDATE ON holds BEGIN DELETE FROM holds; END")
    assert opened.authority.check() == ["it has a trigger, t, which no version of cycles makes"]


def test_an_index_of_an_operators_own_is_no_harm(closed):
    change(closed, "CREATE INDEX mine ON holds (unit)", "ANALYZE")
    with LocalAuthority(closed) as authority:
        assert authority.check() == []


@pytest.mark.parametrize(
    ("table", "edit", "says"),
    [
        ("budgets", "json_remove(data, '$.spent')", "the budget tenant:acme in TOKENS has no spent"),
        ("budgets", "json_set(data, '$.spent', '0')", "has '0' as its spent"),
        ("budgets", "json_set(data, '$.spent', 1.5)", "has 1.5 as its spent"),
        ("budgets", "json_remove(data, '$.allocated')", "has no allocated"),
        ("budgets", "json_set(data, '$.tenant', 'other')", "has two values of tenant: 'other' and 'acme'"),
        ("budgets", "'[]'", "is no JSON object"),
        ("budgets", "'{'", "is no JSON object"),
        ("holds", "json_remove(data, '$.estimate')", "has no estimate"),
        ("holds", "json_set(data, '$.estimate', 1)", "has two values of estimate: 1 and 10"),
        ("holds", "json_remove(data, '$.budgeted')", "has no budgeted"),
        ("tenants", "json_remove(data, '$.status')", "the tenant acme has no status"),
        ("keys", "json_set(data, '$.tenant', 'other')", "has two values of tenant"),
    ],
)
def test_a_changed_row_is_found_by_the_check(closed, table, edit, says):
    change(closed, f"UPDATE {table} SET data = {edit}")
    with LocalAuthority(closed, clock=Clock()) as authority:
        found = authority.check()
    assert any(says in problem for problem in found), found
    assert not any("__init__" in problem for problem in found)


def test_a_row_that_cant_be_read_is_an_error_in_words(closed):
    change(closed, "UPDATE budgets SET data = json_remove(data, '$.allocated')")
    with LocalAuthority(closed) as authority:
        with pytest.raises(ConfigError, match=r"a row of a budget can't be read .*'allocated'"):
            authority.balances()
        assert failed(Wire(authority, Clock()).reserve(1, key="another"), 500, "INTERNAL_ERROR")
