"""`cycles reservations`, over HTTP and on a file."""

from __future__ import annotations

import json
import re


def test_reservations_are_listed_shown_and_released(cli, held, authority):
    first, second = held("planner"), held("writer", "0.5")
    lines = cli("reservations", "list").output.splitlines()
    assert lines[0].split() == ["RESERVATION", "STATUS", "RESERVED", "CHARGED", "SCOPE", "ACTION", "CREATED", "EXPIRES"]
    assert {line.split()[0] for line in lines[1:]} == {first, second}
    (row,) = cli.json("reservations", "list", "--agent", "planner", "--include", "metadata")
    assert (row["reservation_id"], row["status"], row["metadata"]) == (first, "ACTIVE", {"job": 7})
    shown = dict(re.split(r"  +", line, maxsplit=1) for line in cli("reservations", "show", first).output.splitlines())
    assert shown["reservation"] == first
    assert shown["reserved"] == "$0.05"
    assert shown["action"] == "llm.completion gpt-4o"
    assert json.loads(shown["metadata"]) == {"job": 7}
    assert cli.json("reservations", "show", first)["reserved"] == {"unit": "USD_MICROCENTS", "amount": 5_000_000}
    out = cli("reservations", "release", first, "--reason", "gone").output
    assert out == f"{first}: $0.05 given back\n"
    assert cli.json("reservations", "list", "--status", "RELEASED")[0]["reservation_id"] == first
    assert authority.balance("tenant:acme", "USD_MICROCENTS").reserved == 50_000_000
    assert "status 409" in cli("reservations", "release", first, code=4).stderr


def test_what_was_released_before_a_failure_is_told(served, held):
    first = held()
    result = served("reservations", "release", first, "unknown", "--json", code=4)
    assert json.loads(result.stdout) == [
        {"reservation_id": first, "released": {"unit": "USD_MICROCENTS", "amount": 5_000_000}}
    ]
    error = json.loads(result.stderr)["error"]
    assert (error["type"], error["status"], error["exit_code"]) == ("NotFound", 404, 4)
    assert error["request_id"]


def test_windows_filters_and_limits(served, held):
    ids = [held(f"a{number}") for number in range(3)]
    assert len(served.json("reservations", "list", "--created-from", "5m")) == 3
    assert served.json("reservations", "list", "--created-to", "5m") == []
    assert len(served.json("reservations", "list", "--expires-to", "2m", "--expires-from", "30s")) == 3
    assert served.json("reservations", "list", "--expires-from", "1h30m") == []
    assert served.json("reservations", "list", "--finalized-from", "1w2d") == []
    assert len(served.json("reservations", "list", "--created-from", "2020-01-01T00:00:00Z")) == 3
    (found,) = served.json("reservations", "list", "--idempotency-key", "a1-0.05")
    assert found["reservation_id"] == ids[1]
    cut = served("reservations", "list", "--limit", "2", "--sort-by", "created_at_ms", "--sort-dir", "asc", "--json")
    assert [row["reservation_id"] for row in json.loads(cut.stdout)] == ids[:2]
    assert "there are more than these 2" in cut.stderr
    assert served("reservations", "list", "--limit", "3").stderr == ""
    assert len(served("reservations", "list", "--limit", "0").output.splitlines()) == 4
    assert served("reservations", "list", "--agent", "nobody").output == "no reservation found\n"
