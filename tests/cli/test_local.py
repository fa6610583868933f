"""`cycles local`: a ledger file made, funded and given keys by commands alone."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from cycles import usd
from cycles.local import LocalAuthority
from tests.support.waiting import PATIENCE

POLICY = "ALLOW_WITH_OVERDRAFT"


@pytest.fixture
def local(bare, path):
    """Run `cycles local …` on a ledger file that is there."""

    def run(*arguments: str, code: int = 0) -> str:
        return bare("local", *arguments, base_url=f"local:{path}", code=code).output

    bare("local", "init", "--tenant", "acme", "--usd", "25", base_url=f"local:{path}")
    return run


# -- init --------------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_init_can_be_evaluated_by_a_shell(tmp_path):
    """eval, then a program that is not told anything else: the README's path with a file."""
    init = shlex.join([sys.executable, "-m", "cycles.cli", "local", "init", "--tenant", "acme", "--usd", "25"])
    script = f'eval "$({init})" && {shlex.quote(sys.executable)} -m cycles.cli balances --json'
    folder = tmp_path / "a folder with 'quotes'"
    folder.mkdir()
    done = subprocess.run(
        ["sh", "-c", script], cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["scope"], row["remaining"]) == ("tenant:acme", 2_500_000_000)
    assert (Path(os.environ["XDG_DATA_HOME"]) / "cycles" / "ledger.db").stat().st_size > 0, (
        "one for this user, wherever it runs"
    )
    assert list(folder.iterdir()) == []


def test_init_prints_settings_that_work(bare, path):
    arguments = ["--db", str(path), "--tenant", "acme", "--usd", "25", "--tokens", "1M", "--credits", "10k"]
    arguments += ["--risk-points", "5", "--budget", "tenant:acme/agent:planner=usd:5"]
    said = bare.json("local", "init", *arguments)
    assert said["base_url"] == f"local:{path}"
    assert said["tenant"] == "acme"
    figures = {(row["scope"], row["unit"]): row["allocated"] for row in said["budgets"]}
    assert figures == {
        ("tenant:acme", "USD_MICROCENTS"): 2_500_000_000,
        ("tenant:acme", "TOKENS"): 1_000_000,
        ("tenant:acme", "CREDITS"): 10_000,
        ("tenant:acme", "RISK_POINTS"): 5,
        ("tenant:acme/agent:planner", "USD_MICROCENTS"): 500_000_000,
    }
    with LocalAuthority(path) as authority:
        assert _status(authority, said["api_key"]) == 200
        assert [tenant.tenant_id for tenant in authority.tenants()] == ["acme"]
    lines = bare("local", "init", *arguments, "--plain").output.splitlines()
    assert [line.partition("=")[0] for line in lines] == ["CYCLES_BASE_URL", "CYCLES_API_KEY", "CYCLES_TENANT"]
    assert all(line.startswith("export ") for line in bare("local", "init", *arguments).output.splitlines())


def test_init_again_keeps_what_is_there(local, bare, path):
    local("budget", "fund", "tenant:acme", "--usd", "10")
    local("tenant", "set", "acme", "--max-extensions", "3")
    local("tenant", "suspend", "acme")
    shown = bare("local", "init", "--db", str(path), "--tenant", "acme", "--usd", "1", "--json")
    again = json.loads(shown.stdout)
    change = f"cycles local budget set tenant:acme --usd 1.00 --db {path}"
    has = "note: tenant:acme has $35.00 ($35.00 left) already, and keeps it"
    assert shown.stderr == f"{has}; to make it $1.00: {change}\n"
    assert again["budgets"][0]["allocated"] == 3_500_000_000
    assert local("init", "--tenant", "acme").count("\n") == 3, "no budget is needed once there is a ledger"
    (tenant,) = json.loads(local("tenant", "list", "--json"))
    assert (tenant["max_extensions"], tenant["status"]) == (3, "SUSPENDED")


def test_init_of_nothing_makes_nothing(bare, tmp_path):
    assert "give the tenant a budget" in bare("local", "init", "--db", str(tmp_path / "l.db"), code=2).stderr
    wrong = ["--tenant", "a/b", "--usd", "1"]
    assert (
        "'a/b': give 1 to 128 letters" in bare("local", "init", "--db", str(tmp_path / "l.db"), *wrong, code=2).stderr
    )
    missing = bare("local", "init", "--db", str(tmp_path / "no" / "l.db"), "--usd", "1", code=2).stderr
    assert "there is no folder" in missing
    assert list(tmp_path.glob("*.db")) == []


def test_the_file_is_named_by_option_or_environment(bare, path, tmp_path):
    default = Path(os.environ["XDG_DATA_HOME"]) / "cycles" / "ledger.db"
    assert f"{default}: there is no such file" in bare("local", "budget", "list", code=2).stderr
    in_memory = bare("local", "budget", "list", base_url="local:?usd=1", code=2).stderr
    assert "names a ledger in memory" in in_memory
    server = bare("local", "budget", "list", base_url="https://authority.example", code=2).stderr
    assert "CYCLES_BASE_URL names a server" in server
    assert "--db" in server
    assert "`cycles local init` makes one" in bare("local", "budget", "list", "--db", str(path), code=2).stderr
    assert not default.parent.exists()
    assert list(tmp_path.glob("*.db")) == [], "looking makes no file"
    bare("local", "init", "--tenant", "acme", "--usd", "1", base_url=f"local:{path}?usd=5")
    (row,) = bare.json("local", "budget", "list", "--db", str(path), base_url="http://127.0.0.1:9")
    assert row["allocated"] == 100_000_000


def test_a_ledger_of_this_folder_is_named_and_left_alone(bare, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert bare("local", "init", "--usd", "1").stderr == ""
    bare("local", "init", "--db", "cycles.db", "--usd", "5")
    before = (tmp_path / "cycles.db").read_bytes()
    said = bare("local", "budget", "list")
    assert f"note: {tmp_path / 'cycles.db'} is left alone; --db cycles.db names it" in said.stderr
    assert "$1.00" in said.stdout
    assert (tmp_path / "cycles.db").read_bytes() == before


def test_what_the_note_of_init_says_works(bare, tmp_path):
    bare("local", "init", "--usd", "1", "--tokens", "5", "--risk-points", "7")
    said = bare("local", "init", "--usd", "1234.5", "--tokens", "5", "--risk-points", "9")
    notes = said.stderr.splitlines()
    assert len(notes) == 2, "what is as it was wished needs no word"
    for note in notes:
        bare(*shlex.split(note.rpartition(": cycles ")[2]))
    after = {row["unit"]: row["allocated"] for row in bare.json("local", "budget", "list")}
    assert after == {"USD_MICROCENTS": 123_450_000_000, "TOKENS": 5, "RISK_POINTS": 9}


# -- budgets -----------------------------------------------------------------------------------------------------------
def test_budgets_from_creation_to_close(local):
    local("budget", "create", "tenant:acme/agent:a", "--usd", "1", "--overdraft-limit", "0.5")
    assert "has a budget in USD_MICROCENTS already" in local("budget", "create", "tenant:acme", "--usd", "1", code=4)
    local("budget", "create", "tenant:acme", "--tokens", "2.5k")
    (row,) = json.loads(local("budget", "set", "tenant:acme", "--usd", "30", "--json"))
    assert (row["allocated"], row["status"], row["caps"]) == (3_000_000_000, "ACTIVE", None)
    (row,) = json.loads(local("budget", "fund", "tenant:acme", "--usd", "0.25", "--json"))
    assert row["allocated"] == 3_025_000_000
    (row,) = json.loads(local("budget", "fund", "tenant:acme", "--usd", "5", "--operation", "debit", "--json"))
    assert row["allocated"] == 2_525_000_000
    assert "say which with --unit" in local("budget", "freeze", "tenant:acme", code=2)
    assert "FROZEN" in local("budget", "freeze", "tenant:acme", "--unit", "usd")
    assert "FROZEN already" in local("budget", "freeze", "tenant:acme", "--unit", "usd", code=4)
    assert "is frozen" in local("budget", "fund", "tenant:acme", "--usd", "1", code=4)
    assert "FROZEN" not in local("budget", "unfreeze", "tenant:acme", "--unit", "usd")
    assert "may owe $0.50" in local("budget", "freeze", "tenant:acme/agent:a")
    assert "CLOSED" in local("budget", "close", "tenant:acme/agent:a")
    assert "is closed" in local("budget", "unfreeze", "tenant:acme/agent:a", code=4)
    assert "no budget at tenant:acme/agent:b" in local("budget", "close", "tenant:acme/agent:b", code=4)
    assert "no budget at tenant:acme in CREDITS" in local("budget", "fund", "tenant:acme", "--credits", "1", code=4)
    rows = json.loads(local("budget", "list", "--json"))
    assert [(row["scope"], row["unit"], row["status"]) for row in rows] == [
        ("tenant:acme", "TOKENS", "ACTIVE"),
        ("tenant:acme", "USD_MICROCENTS", "ACTIVE"),
        ("tenant:acme/agent:a", "USD_MICROCENTS", "CLOSED"),
    ]
    assert local("budget", "list", "--tenant", "other") == "no budget\n"


def test_the_list_has_what_scopes_begin_with(local):
    local("budget", "create", "tenant:acme/workspace:*", "--usd", "1", "--period", "day", "--zone", "Asia/Kolkata")
    said = local("budget", "list").splitlines()[-1]
    assert "tenant:acme/workspace:*" in said
    assert "a default: each such scope begins with it, anew each day (Asia/Kolkata), next 2" in said


def test_caps_reach_the_decision(local, bare, path):
    local("budget", "set", "tenant:acme", "--usd", "25", "--caps", '{"max_tokens": 500}')
    said = bare.json("decide", "--usd", "1", base_url=f"local:{path}", tenant="acme")
    assert said["caps"] == {"max_tokens": 500}
    assert 'caps {"max_tokens": 500}' in local("budget", "list")
    local("budget", "set", "tenant:acme", "--usd", "25", "--caps", "{}")
    assert "caps" not in local("budget", "list")
    assert "max_tokens" in local("budget", "set", "tenant:acme", "--usd", "1", "--caps", '{"max_tokens": -1}', code=4)


def test_reset_begins_a_new_period(local, bare, path):
    local("budget", "set", "tenant:acme", "--usd", "1", "--overdraft-limit", "1")
    local("budget", "create", "tenant:acme", "--tokens", "10")
    spend = ["--overage-policy", POLICY]
    bare("record", "--usd", "1.5", *spend, base_url=f"local:{path}", tenant="acme", journal_enabled="false")
    bare("record", "--tokens", "15", base_url=f"local:{path}", tenant="acme", journal_enabled="false")
    before = {row["unit"]: row for row in json.loads(local("budget", "list", "--json"))}
    assert (before["USD_MICROCENTS"]["debt"], before["TOKENS"]["is_over_limit"]) == (50_000_000, True)
    assert "has no budget" in local("reset", "--tenant", "other", "--yes", code=4)
    assert "Aborted" in bare("local", "reset", base_url=f"local:{path}", stdin="n\n", code=1).stderr
    assert {row["unit"]: row for row in json.loads(local("budget", "list", "--json"))} == before
    for row in json.loads(local("reset", "--yes", "--json")):
        assert row["remaining"] == row["allocated"] == before[row["unit"]]["allocated"]
        assert (row["spent"], row["debt"], row["is_over_limit"]) == (0, 0, False)


# -- tenants and keys --------------------------------------------------------------------------------------------------
def test_tenants(local, path):
    assert "is there already" in local("tenant", "create", "acme", code=4)
    (made,) = json.loads(local("tenant", "create", "beta", "--max-ttl-ms", "600000", "--json"))
    assert (made["tenant_id"], made["max_ttl_ms"], made["default_ttl_ms"]) == ("beta", 600_000, 60_000)
    (made,) = json.loads(local("tenant", "set", "beta", "--overage-policy", "REJECT", "--json"))
    assert (made["overage_policy"], made["max_ttl_ms"]) == ("REJECT", 600_000), "the others stay"
    assert "SUSPENDED" in local("tenant", "suspend", "beta")
    (made,) = json.loads(local("tenant", "resume", "beta", "--json"))
    assert (made["status"], made["overage_policy"]) == ("ACTIVE", "REJECT")
    assert "max_ttl_ms" in local("tenant", "set", "beta", "--max-ttl-ms", "1", code=4)
    local("tenant", "close", "acme", code=1)
    assert [row["status"] for row in json.loads(local("tenant", "list", "--json"))] == ["ACTIVE", "ACTIVE"]
    assert "CLOSED" in local("tenant", "close", "acme", "--yes")
    assert "for good" in local("tenant", "resume", "acme", code=4)
    assert "CLOSED" in local("budget", "list")


def test_keys(local, bare, path, tmp_path):
    secret = local("key", "create", "acme", "--name", "nightly").strip()
    (tmp_path / "fixed").write_text("a-fixed-key\n")
    local("key", "create", "acme", "--api-key-file", str(tmp_path / "fixed"), "--name", "fixed")
    made = json.loads(
        local("key", "create", "acme", "--expires", "90d", "--permission", "budgets:write", "--name", "p", "--json")
    )
    assert made["permissions"] == ["budgets:write"]
    assert made["expires_at_ms"] - made["created_at_ms"] == 90 * 86_400_000
    keys = json.loads(local("key", "list", "--tenant", "acme", "--json"))
    assert [row["name"] for row in keys] == ["cycles local init", "nightly", "fixed", "p"]
    listed = local("key", "list")
    for hidden in (secret, "a-fixed-key", made["api_key"]):
        assert hidden not in listed + json.dumps(keys)
    ids = {row["name"]: row["key_id"] for row in keys}
    assert local("key", "revoke", ids["fixed"], ids["p"], "--reason", "leaked").count("REVOKED") == 2
    assert "no such key" in local("key", "revoke", "key_0", code=4)
    with LocalAuthority(path) as authority:
        assert _status(authority, secret) == 200
        assert _status(authority, "a-fixed-key") == _status(authority, made["api_key"]) == 401
        authority.key(tenant="acme")
    assert len(json.loads(local("key", "list", "--all", "--json"))) == 5
    assert len(json.loads(local("key", "list", "--json"))) == 4, "nameless keys are hidden"
    assert "not both" in local("key", "create", "acme", "--api-key", "x", "--api-key-file", "y", code=2)
    assert "printable ASCII" in local("key", "create", "acme", "--api-key", "é", code=2)
    assert "budgets:write" in local("key", "create", "acme", "--permission", "everything", code=4)
    assert "--expires" in local("key", "create", "acme", "--expires", "2030-01-01", code=2)
    assert "nameless" in local("key", "list", "--help")


def _status(authority: LocalAuthority, secret: str) -> int:
    with httpx.Client(transport=authority.transport()) as http:
        headers = {"X-Cycles-API-Key": secret}
        return http.get("http://x/v1/balances?tenant=acme", headers=headers).status_code


def test_a_ledger_in_use_can_be_changed(authority, bare, path):
    """A program has the file open while an operator funds it."""
    with authority.client(tenant="acme") as client:
        held = client.reserve(usd("25"), action=("k", "n"))
        bare("local", "budget", "fund", "tenant:acme", "--usd", "1", "--db", str(path))
        held.commit(usd("25"))
    assert authority.balance("tenant:acme", "USD_MICROCENTS").remaining == 100_000_000


# -- backup ------------------------------------------------------------------------------------------------------------
def test_backup(local, tmp_path):
    assert "copied" in local("backup", str(tmp_path / "copy.db"))
    with LocalAuthority(tmp_path / "copy.db") as authority:
        assert authority.balance("tenant:acme", "USD_MICROCENTS").allocated == usd("25").amount
    assert "is there already" in local("backup", str(tmp_path / "copy.db"), code=2)


def test_tenants_are_named_in_lower_case(local):
    for arguments in (
        ("budget", "create", "tenant:ACME", "--usd", "1"),
        ("tenant", "create", "ACME"),
        ("key", "create", "ACME"),
        ("init", "--tenant", "ACME", "--usd", "1"),
        ("init", "--budget", "tenant:ACME=usd:1"),
    ):
        assert "write acme" in local(*arguments, code=2)


# -- budgets that begin anew -------------------------------------------------------------------------------------------
def test_a_budget_that_begins_anew_is_made_shown_and_changed(local, path):
    made = local("budget", "create", "tenant:acme/agent:a", "--usd", "5", "--period", "day", "--zone", "Europe/Berlin")
    assert "anew each day (Europe/Berlin), next 20" in made
    assert "anew each day (Europe/Berlin)" in local("budget", "list")
    rows = {row["scope"]: row["period"] for row in json.loads(local("budget", "list", "--json"))}
    assert rows["tenant:acme"] is None
    assert (rows["tenant:acme/agent:a"]["kind"], rows["tenant:acme/agent:a"]["amount"]) == ("day", 500_000_000)
    assert "anew each day" in local("budget", "fund", "tenant:acme/agent:a", "--usd", "1")
    with LocalAuthority(path) as authority:
        (row,) = (row for row in authority.balances() if row.period is not None)
        assert (row.allocated, row.period.amount) == (600_000_000, 500_000_000)
    local("reset", "--yes")
    with LocalAuthority(path) as authority:
        assert authority.balance("tenant:acme/agent:a", "USD_MICROCENTS").allocated == 500_000_000
    assert "anew" not in local("budget", "set", "tenant:acme/agent:a", "--usd", "5", "--period", "none")
    assert "IANA" in local("budget", "set", "tenant:acme", "--usd", "5", "--period", "day", "--zone", "Mars", code=4)


def test_init_makes_one_and_says_what_it_leaves_alone(bare, path):
    arguments = ["--db", str(path), "--tenant", "acme", "--budget", "tenant:acme=usd:5.00/day"]
    assert "note:" not in bare("local", "init", *arguments).stderr
    again = bare("local", "init", *arguments[:-1], "tenant:acme=usd:5/week").stderr
    assert "begins anew each day (UTC)" in again
    assert "--period week --zone UTC" in again
    plain = bare("local", "init", *arguments[:-1], "tenant:acme=usd:5").stderr
    assert "--period none" in plain


def test_what_scopes_begin_with_is_made_listed_changed_and_taken_away(local, path):
    each = "tenant:acme/workspace:*"
    local("budget", "create", each, "--usd", "1", "--period", "day")
    assert "has a budget" in local("budget", "create", each, "--usd", "2", code=4)
    assert f"{each} " in local("budget", "list")
    local("init", "--budget", "tenant:acme/agent:*=tokens:5k/hour")
    local("budget", "set", each, "--usd", "2")
    rows = {row["scope"]: (row["allocated"], row["period"]) for row in json.loads(local("budget", "list", "--json"))}
    assert rows[each] == (200_000_000, None)
    assert rows["tenant:acme/agent:*"][1]["kind"] == "hour"
    local("budget", "close", each)
    assert each not in local("budget", "list")
    assert "write a path" in local("budget", "fund", "tenant:acme/agent:*", "--tokens", "1", code=4)
