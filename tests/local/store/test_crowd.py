"""Processes that share a ledger file, and that are killed: brief forms of `nox -s crowd` (crowd.py)."""

from __future__ import annotations

import sys

import pytest

from cycles.local import LocalAuthority

from .crowd import SCOPE, crowd, examine, kills

pytestmark = pytest.mark.slow


def test_eight_processes_spend_no_more_than_there_is(tmp_path):
    """The ledger is the sum of what was acknowledged, and it ran short: the limit was what held them."""
    found = crowd(tmp_path, processes=8, operations=100, allocated=800)
    assert min(found[what] for what in ("reserve", "commit", "release", "extend", "event", "decide")) > 0
    assert found["refused"] > 50


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_what_was_acknowledged_survives_kills_at_random_instants(tmp_path):
    assert kills(tmp_path, rounds=4, seed=7) > 100


def test_the_examination_sees_what_is_wrong(tmp_path):
    """A hold that is in no balance, a charge that is in no row, an answer that is not in the file."""
    crowd(tmp_path, processes=1, operations=20, allocated=1000)
    path = tmp_path / "ledger.db"
    examine(path, [])
    for line in (["reserve", "unknown", 1], ["commit", "unknown", 1], ["event", "unknown", 1]):
        with pytest.raises(AssertionError, match="unknown"):
            examine(path, [line])
    with LocalAuthority(path) as authority, authority.store.writing() as books:
        row = books.budget(SCOPE, "TOKENS")
        assert row is not None
        books.put_budget(type(row)(**{**vars(row), "remaining": row.remaining - 1, "spent": row.spent + 1}))
    with pytest.raises(AssertionError):
        examine(path, [])
