"""`cycles local event list`: what was charged in a ledger file without a reservation."""

from __future__ import annotations

import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from tests.support.authorities import Clock
from tests.support.wire import Wire


@pytest.fixture
def charged(path):
    """Three events, a minute apart; the second one is an agent's, and was charged in part."""
    clock = Clock()
    with LocalAuthority(path, clock=clock) as authority:
        authority.budget("tenant:acme", tokens(100))
        wire = Wire(authority, clock)
        wire.event(40, key="first", metadata={"job": 7})
        clock.now += 60_000
        policy = {"overage_policy": "ALLOW_IF_AVAILABLE"}
        wire.event(90, key="second", subject={"tenant": "acme", "agent": "planner"}, **policy)
        clock.now += 60_000
        wire.event(0, key="third")
    return clock


def test_it_lists_events_as_json_newest_first(bare, path, charged):
    rows = bare.json("local", "event", "list", "--db", str(path))
    assert [row["idempotency_key"] for row in rows] == ["third", "second", "first"]
    assert rows[1] == {
        "event_id": rows[1]["event_id"],
        "tenant": "acme",
        "scope_path": "tenant:acme/agent:planner",
        "affected_scopes": ["tenant:acme", "tenant:acme/agent:planner"],
        "subject": {"tenant": "acme", "agent": "planner"},
        "action": {"kind": "k", "name": "n"},
        "actual": {"unit": "TOKENS", "amount": 90},
        "charged": {"unit": "TOKENS", "amount": 60},
        "overage_policy": "ALLOW_IF_AVAILABLE",
        "idempotency_key": "second",
        "created_at_ms": charged.now - 60_000,
    }
    assert rows[2]["metadata"] == {"job": 7}


def test_it_shows_a_table(bare, path, charged):
    heading, row = bare("local", "event", "list", "--db", str(path), "--agent", "planner").stdout.splitlines()
    assert heading.split() == ["EVENT", "ACTUAL", "CHARGED", "SCOPE", "ACTION", "CREATED"]
    assert row.split()[1:7] == ["90", "tokens", "60", "tokens", "tenant:acme/agent:planner", "k"]


def test_it_filters(bare, path, charged):
    def found(*filters: str) -> list[str]:
        return [row["idempotency_key"] for row in bare.json("local", "event", "list", "--db", str(path), *filters)]

    assert found("--idempotency-key", "first") == ["first"]
    assert found("--tenant", "other") == []
    assert found("--created-to", "2000-01-01T00:00:00Z") == []
    assert found("--created-from", "2000-01-01T00:00:00Z", "--agent", "PLANNER") == ["second"]
    assert "no event found" in bare("local", "event", "list", "--db", str(path), "--tenant", "other").stdout


def test_it_says_when_there_are_more(bare, path, charged):
    cut = bare("local", "event", "list", "--db", str(path), "--limit", "2")
    assert len(cut.stdout.splitlines()) == 3
    assert "there are more than these 2; --limit 0 shows all" in cut.stderr
    assert bare("local", "event", "list", "--db", str(path), "--limit", "3").stderr == ""
    assert len(bare("local", "event", "list", "--db", str(path), "--limit", "0").stdout.splitlines()) == 4


def test_a_time_that_can_not_be_read_is_refused(bare, path, charged):
    said = bare("local", "event", "list", "--db", str(path), "--created-from", "yesterday", code=2).stderr
    assert "--created from='yesterday': not a time that can be read" in said


def test_it_shows_what_cycles_record_has_charged(bare, path):
    bare("local", "init", "--db", str(path), "--tokens", "100", "--tenant", "acme")
    url = f"local:{path}"
    bare("record", "--tokens", "7", "--action", "tool.search", "web", base_url=url, tenant="acme")
    (row,) = bare.json("local", "event", "list", base_url=url)
    assert (row["charged"], row["action"]) == ({"unit": "TOKENS", "amount": 7}, {"kind": "tool.search", "name": "web"})
