"""`cycles decide`, over HTTP and on a file."""

from __future__ import annotations

from cycles import usd


def test_decide(cli, authority):
    assert cli("decide", "--usd", "5", "--agent", "planner").output == "ALLOW $5.00 at tenant:acme/agent:planner\n"
    denied = cli("decide", "--usd", "5.00000001", "--agent", "planner", code=1).output
    advice = (
        "ask for less, wait for releases, or fund the budget (`cycles local budget fund`)"
        if "local:" in cli.environ["CYCLES_BASE_URL"]
        else "ask for at most $5.00, wait until reservations end, or have this budget raised"
    )
    assert denied.splitlines() == [
        "DENY (BUDGET_EXCEEDED) $5.00000001 at tenant:acme/agent:planner",
        "refused by tenant:acme/agent:planner",
        "left there: $5.00",
        f"Remedy: {advice}",
    ]
    said = cli.json("decide", "--tokens", "2M", code=1)
    assert (said["allowed"], said["decision"], said["reason_code"]) == (False, "DENY", "BUDGET_EXCEEDED")
    assert said["estimate"] == {"unit": "TOKENS", "amount": 2_000_000}
    assert said["affected_scopes"] == ["tenant:acme"]
    assert said["detail"]["scope"] == "tenant:acme"
    assert said["detail"]["suggested_fix"].startswith("ask for at most 1,000,000 ")
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
