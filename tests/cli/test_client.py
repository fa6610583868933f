"""What commands that ask an authority share: settings, options, keys, and what they say when something is wrong."""

from __future__ import annotations

import json
import socket

import pytest

from cycles import usd
from cycles._journal.partitions import partition_of
from cycles.local import LocalAuthority

from .runner import KEY, own_process


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


@pytest.mark.slow
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
    assert served.json("journal", "drain") == {"settled": 1, "rejected": 0, "pending": 0, "parked": 0}
    assert authority.balance("tenant:acme", "USD_MICROCENTS").spent == 100_000_000


@pytest.mark.slow
def test_retries_are_not_logged_to_the_terminal(served):
    """In a process of its own, for pytest takes the log."""
    done = own_process(served, "balances", CYCLES_BASE_URL="http://127.0.0.1:9")
    assert done.returncode == 3
    assert [text.split(":")[0] for text in done.stderr.splitlines()] == ["Error", "Remedy"]


def test_a_foreign_file_is_refused(bare, tmp_path):
    (tmp_path / "notes.txt").write_text("no ledger\n" * 100)
    said = bare("balances", base_url=f"local:{tmp_path}/notes.txt", code=2).stderr
    assert "notes.txt" in said
    with pytest.raises(Exception, match="ledger"):
        LocalAuthority(tmp_path / "notes.txt")
