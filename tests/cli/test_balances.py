"""`cycles balances`, over HTTP and on a file."""

from __future__ import annotations

import re

from cycles import usd


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
