"""A limit's numbers live in one process: what a kill, a fork and a spawned child do to it."""

from __future__ import annotations

import os

import pytest

from tests.limit.conftest import ACTION, CENT


@pytest.mark.slow
def test_a_killed_run_is_charged_what_it_had_spent(server, start, kept):
    """What its sections committed, and what an open one had reported; once."""
    worker = start("limited", "0.01", "0.02", "0.04")
    assert worker.line() == "spent"
    (record,) = kept()
    assert (record["provisional"], record["actual"]["amount"]) == (True, 7 * CENT + CENT // 10)
    assert [seen.operation for seen in server.seen] == ["reservations"]
    worker.kill()
    assert start("recover").result()["settled"] == 1
    (commit,) = server.of("commit")
    assert commit.body["actual"]["amount"] == 7 * CENT + CENT // 10
    kind, name = ACTION
    spent = {"kind": kind, "name": name, "count": 4, "amount": 7 * CENT + CENT // 10}
    assert commit.body["metadata"] == {"actual_source": "reported", "limit": {"sections": 4, "actions": [spent]}}
    assert kept() == []


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_goes_to_the_authority_by_itself_and_says_so_once(server, start):
    result = start("limited_fork").result()
    assert result["child"] == 17
    assert len([line for line in result["log"] if "limit of another process, not drawn on" in line]) == 1
    assert result["spent"] == CENT
    assert sorted(server.charges.values()) == [("", CENT)] * 3


@pytest.mark.slow
def test_a_spawned_child_goes_to_the_authority_by_itself_and_says_so(server, start):
    worker = start("limited_spawn")
    assert worker.result() == {"told": [], "by_itself": True, "spent": 0}
    assert "limit of another process, not drawn on" in worker.log
    assert server.of("release")
