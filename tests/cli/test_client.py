"""`cycles balances`, `decide`, `record` and `reservations`, over HTTP and on a file."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys

import pytest

from cycles import usd
from cycles._journal.partitions import partition_of
from cycles.local import LocalAuthority
from tests.cli.conftest import KEY


# -- balances ----------------------------------------------------------------------------------------------------------
def test_balances(cli):
    lines = cli("balances").output.splitlines()
    assert lines[0].split() == ["SCOPE", "REMAINING", "ALLOCATED", "RESERVED", "SPENT", "NOTES"]
    assert re.split(r"  +", lines[1]) == [
        "tenant:acme",
        "1,000,000 TOKENS",
        "1,000,000 TOKENS",
        "0 TOKENS",
        "0 TOKENS",
    ]
    assert lines[3].split() == ["tenant:acme/agent:planner", "$5.00", "$5.00", "$0.00", "$0.00"]


def test_balances_for_programs(cli):
    rows = cli.json("balances", "--unit", "usd")
    assert rows[0] == {
        "scope": "tenant:acme",
        "unit": "USD_MICROCENTS",
        "allocated": 2_500_000_000,
        "remaining": 2_500_000_000,
        "reserved": 0,
        "spent": 0,
        "debt": 0,
        "overdraft_limit": 0,
        "is_over_limit": False,
    }
    assert [row["scope"] for row in rows] == ["tenant:acme", "tenant:acme/agent:planner"]
    assert [row["scope"] for row in cli.json("balances", "--agent", "planner")] == ["tenant:acme/agent:planner"]
    assert cli.json("balances", "--agent", "nobody") == []
    assert "no budget found" in cli("balances", "--agent", "nobody").output


def test_more_budgets_than_a_page(served, authority):
    for number in range(230):
        authority.budget(f"tenant:acme/agent:a{number}", usd("0.00000001"))
    assert len(served.json("balances", "--unit", "usd")) == 232


def test_balances_of_debt_and_overdraft(served, authority):
    authority.budget("tenant:acme/agent:planner", usd("1"), overdraft_limit=usd("2"))
    served("record", "--usd", "2.5", "--agent", "planner", "--overage-policy", "ALLOW_WITH_OVERDRAFT")
    lines = served("balances", "--agent", "planner").output.splitlines()
    assert "DEBT" in lines[0]
    assert re.split(r"  +", lines[1]) == [
        "tenant:acme/agent:planner",
        "-$1.50",
        "$1.00",
        "$0.00",
        "$1.00",
        "$1.50",
        "may owe $2.00",
    ]


# -- decide and record -------------------------------------------------------------------------------------------------
def test_decide(cli, authority):
    assert cli("decide", "--usd", "5", "--agent", "planner").output == "ALLOW $5.00 at tenant:acme/agent:planner\n"
    denied = cli("decide", "--usd", "5.00000001", "--agent", "planner", code=1).output
    assert denied.startswith("DENY (BUDGET_EXCEEDED) $5.00000001 at tenant:acme/agent:planner\nRemedy: ask for less")
    said = cli.json("decide", "--tokens", "2M", code=1)
    assert (said["allowed"], said["decision"], said["reason_code"]) == (False, "DENY", "BUDGET_EXCEEDED")
    assert said["estimate"] == {"unit": "TOKENS", "amount": 2_000_000}
    assert said["affected_scopes"] == ["tenant:acme"]
    assert all(row.reserved == row.spent == 0 for row in authority.balances())


def test_decide_shows_caps(served, authority):
    authority.budget("tenant:acme/agent:planner", usd("5"), caps={"max_tokens": 500})
    out = served("decide", "--usd", "1", "--agent", "planner").output
    assert out.splitlines() == ["ALLOW_WITH_CAPS $1.00 at tenant:acme/agent:planner", 'caps: {"max_tokens": 500}']


def test_decide_without_a_budget(cli):
    said = cli("decide", "--usd", "1", tenant="nobody", code=1 if "local:" in cli.environ["CYCLES_BASE_URL"] else 4)
    assert "Remedy:" in said.output


def test_decide_in_the_wrong_unit(cli):
    said = cli("decide", "--risk-points", "1", code=4).stderr
    assert "is kept in USD_MICROCENTS and TOKENS, not in RISK_POINTS" in said
    assert "Remedy: give the amount in the unit of the budget" in said


def test_record(cli, authority):
    arguments = ["--usd", "0.032", "--agent", "planner", "--action", "tool.search", "web", "--idempotency-key", "k"]
    out = cli("record", *arguments, "--metadata", '{"job": 7}', "--tokens-input", "12").output
    assert out == "charged $0.032\ntenant:acme: $24.968 left\ntenant:acme/agent:planner: $4.968 left\n"
    said = cli.json("record", *arguments, "--metadata", '{"job": 7}', "--tokens-input", "12")
    assert said["charged"] == {"unit": "USD_MICROCENTS", "amount": 3_200_000}
    assert authority.balance("tenant:acme", "USD_MICROCENTS").spent == 3_200_000, "one key, one charge"
    differently = cli("record", *arguments, "--metadata", '{"job": 8}', code=4).stderr
    assert "Remedy: the key was used for something else" in differently


def test_record_says_when_less_was_charged(served):
    assert served("record", "--usd", "6", "--agent", "planner").output.startswith("charged $5.00 of $6.00: no more")
    assert "REJECT" in served("record", "--help").output
    refused = served("record", "--usd", "6", "--agent", "planner", "--overage-policy", "REJECT", code=1).stderr
    assert "Remedy: ask for less" in refused


def test_record_that_gets_no_answer_is_in_the_journal(bare):
    down = {"base_url": "http://127.0.0.1:9", "api_key": KEY, "tenant": "acme", "retry_max_attempts": "1"}
    said = bare("record", "--usd", "1", **down, code=1).stderr
    assert "Remedy: do not record it again; `cycles journal drain` settles it" in said
    (entry,) = bare.json("journal", "list")
    assert entry["record"]["actual"] == {"unit": "USD_MICROCENTS", "amount": 100_000_000}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["decide"], "give one amount"),
        (["decide", "--usd", "1", "--tokens", "1"], "give one amount"),
        (["decide", "--usd", "0.1e"], "not a decimal number"),
        (["decide", "--usd", "-1"], "can't be negative"),
        (["decide", "--usd", "0.000000001"], "more than 8 decimals"),
        (["decide", "--tokens", "1.5"], "no fractions"),
        (["decide", "--tokens", "10m"], "write it like 1000000"),
        (["decide", "--usd", "1", "--action", "x"], "--action"),
        (["decide", "--usd", "1", "--agent", ""], "agent"),
        (["record", "--usd", "1", "--metadata", "[]"], "not an object"),
        (["record", "--usd", "1", "--metadata", "{"], "not JSON"),
        (["record", "--usd", "1", "--dimension", "x"], "write it like"),
        (["record", "--usd", "1", "--overage-policy", "maybe"], "REJECT"),
        (["reservations", "list", "--status", "active"], "ACTIVE"),
        (["reservations", "list", "--created-from", "2026-01-31"], "without an offset"),
        (["reservations", "list", "--created-from", "1h", "--created-to", "2h"], "give the earlier time first"),
        (["reservations", "list", "--limit", "-1"], "--limit"),
        (["reservations", "show", " "], "reservation_id"),
        (["reservations", "release", "x" * 129], "128"),
        (["reservations", "release"], "RESERVATION"),
        (["nonsense"], "No such command"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(bare, arguments, says):
    result = bare(*arguments, code=2, base_url="http://127.0.0.1:9", api_key=KEY, tenant="acme")
    assert says in result.stderr
    assert result.stdout == ""


# -- reservations ------------------------------------------------------------------------------------------------------
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


# -- what goes wrong ---------------------------------------------------------------------------------------------------
ASKING = (
    ["balances"],
    ["decide", "--usd", "1"],
    ["record", "--usd", "1"],
    ["reservations", "list"],
    ["reservations", "show", "some-id"],
    ["reservations", "release", "some-id"],
)


def test_without_an_authority(bare):
    for arguments in ASKING:
        assert "CYCLES_BASE_URL is not set" in bare(*arguments, code=2).stderr
        assert "set CYCLES_API_KEY" in bare(*arguments, base_url="http://127.0.0.1:9", code=2).stderr
        assert "BASE_URL='ftp://x': give" in bare(*arguments, base_url="ftp://x", code=2).stderr


def test_nobody_answers(bare):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    settings = {"api_key": KEY, "tenant": "acme", "retry_initial_delay": "0.01"}
    for arguments in ASKING:
        if arguments[0] != "record":
            said = bare(*arguments, "--base-url", url, code=3, **settings).stderr
            assert said.startswith("Error: no answer from the authority")
            assert said.endswith("Remedy: `cycles doctor` finds out where it fails\n")
            assert "attempt failed" not in said


def test_a_wrong_key(served):
    for arguments in ASKING:
        if arguments[0] != "record":
            said = served(*arguments, api_key="not-a-key", code=4).stderr
            assert "status 401" in said
            assert "Remedy: set CYCLES_API_KEY" in said
            assert "not-a-key" not in said


def test_another_tenant(served):
    for arguments in ASKING[:2]:
        said = served(*arguments, tenant="other", code=4).stderr
        assert "status 403" in said
        assert "Remedy: the key is another tenant's" in said


def test_a_reservation_of_another_tenant(served, authority, held):
    authority.budget("tenant:other", usd("1"))
    foreign = held(tenant="other")
    assert "status 403" in served("reservations", "show", foreign, code=4).stderr
    assert "status 403" in served("reservations", "release", foreign, code=4).stderr
    assert authority.balance("tenant:other", "USD_MICROCENTS").reserved == 5_000_000


def test_options_win_and_the_key_comes_from_a_file(served, bare, tmp_path):
    options = ["--base-url", served.environ["CYCLES_BASE_URL"], "--tenant", "acme"]
    file = tmp_path / "key"
    file.write_text(f"{KEY}\nand more\n")
    assert len(bare.json("balances", *options, "--api-key-file", str(file), base_url="http://127.0.0.1:9")) == 3
    assert len(json.loads(bare("balances", *options, "--api-key-file", "-", "--json", stdin=f"{KEY}\n").stdout)) == 3
    file.write_bytes(b"")
    assert "first line is empty" in bare("balances", *options, "--api-key-file", str(file), code=2).stderr
    file.write_bytes(b"\xff\xfe")
    assert "no text" in bare("balances", *options, "--api-key-file", str(file), code=2).stderr
    assert "No such file" in bare("balances", *options, "--api-key-file", str(tmp_path / "none"), code=2).stderr
    file.write_text("two words\n")
    said = bare("balances", *options, "--api-key-file", str(file), code=2).stderr
    assert "printable ASCII" in said
    assert "two words" not in said


def test_the_key_is_asked_for_on_a_terminal(served, monkeypatch):
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False)
    result = served("balances", "--json", api_key=None, stdin=f"{KEY}\n")
    assert "API key: " in result.output
    assert len(json.loads(result.stdout[result.stdout.index("[") :])) == 3


def test_a_ledger_in_memory_is_said_to_be_new(bare):
    result = bare("balances", base_url="local:?usd=1&tokens=10k")
    assert "a new ledger in this command's own memory" in result.stderr
    assert "tenant:default  10,000 TOKENS" in result.stdout
    assert "$1.00" in result.stdout


def test_questions_leave_the_journal_alone(served, authority, tmp_path):
    """What is pending for this very authority is settled by drain, not by looking."""
    served("record", "--usd", "1", base_url="http://127.0.0.1:9", retry_max_attempts="1", code=1)
    (pending,) = (tmp_path / "journal").glob("*/v2-*.json")
    ours = tmp_path / "journal" / partition_of(served.environ["CYCLES_BASE_URL"], "acme", KEY)
    ours.mkdir()
    pending.rename(ours / pending.name)
    for question in ("balances", "doctor"):
        # In a process of its own: the exit of a client with a journal settles what it can.
        done = own_process(served, question, CYCLES_RETRY_FLUSH_TIMEOUT="5")
        assert done.returncode == 0, done.stderr
        assert authority.balance("tenant:acme", "USD_MICROCENTS").spent == 0
    down = served("journal", "drain", "--timeout", "0", api_key="no-key", code=1)
    assert down.stdout.endswith("0 settled, 0 rejected, 1 pending\n")
    assert served.json("journal", "drain") == {"settled": 1, "rejected": 0, "pending": 0}
    assert authority.balance("tenant:acme", "USD_MICROCENTS").spent == 100_000_000


def test_retries_are_not_logged_to_the_terminal(served):
    """In a process of its own, for pytest takes the log."""
    done = own_process(served, "balances", CYCLES_BASE_URL="http://127.0.0.1:9")
    assert done.returncode == 3
    assert [text.split(":")[0] for text in done.stderr.splitlines()] == ["Error", "Remedy"]


def own_process(cli, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-W", "error", "-m", "cycles.cli", *arguments]
    environ = {**os.environ, **cli.environ, **changed}
    return subprocess.run(line, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_a_foreign_file_is_refused(bare, tmp_path):
    (tmp_path / "notes.txt").write_text("no ledger\n" * 100)
    said = bare("balances", base_url=f"local:{tmp_path}/notes.txt", code=2).stderr
    assert "notes.txt" in said
    with pytest.raises(Exception, match="ledger"):
        LocalAuthority(tmp_path / "notes.txt")
