"""`cycles record`, over HTTP and on a file."""

from __future__ import annotations

from .runner import KEY


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
    assert "Remedy: wait until reservations end, or have this budget raised" in refused


def test_record_that_gets_no_answer_is_in_the_journal(bare):
    down = {"base_url": "http://127.0.0.1:9", "api_key": KEY, "tenant": "acme", "retry_max_attempts": "1"}
    said = bare("record", "--usd", "1", **down, code=1).stderr
    assert "Remedy: do not record it again; `cycles journal drain` settles it" in said
    (entry,) = bare.json("journal", "list")
    assert entry["record"]["actual"] == {"unit": "USD_MICROCENTS", "amount": 100_000_000}
