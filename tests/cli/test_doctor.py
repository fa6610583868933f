"""`cycles doctor`: each thing that can be wrong is found, named, and has a remedy; nothing is changed by looking."""

from __future__ import annotations

import re
import socket
from typing import Any

import pytest

import cycles
from cycles import usd
from cycles._journal.partitions import partition_of

from .doctor import only_wrong, state
from .runner import KEY


def test_all_is_well_over_http(served, authority):
    before = authority.balances(), authority.reservations(), authority.keys()
    said = served.json("doctor", "--agent", "planner")
    assert said["ok"] is True
    assert state(said) == dict.fromkeys(
        ["settings", "name", "connection", "http", "key", "tenant", "clock", "budget", "journal"], "ok"
    ) | {"engine": "note"}
    budgets = [check["found"] for check in said["checks"] if check["name"] == "budget"]
    assert budgets[-1] == "tenant:acme/agent:planner: $5.00 of $5.00 remain"
    assert len(budgets) == 3
    assert (authority.balances(), authority.reservations(), authority.keys()) == before


def test_settings_say_where_they_come_from(served):
    said = served.json("doctor", "--agent", "planner", "--tenant", "acme", read_timeout="4")
    rows = {row["name"]: (row["value"], row["source"]) for row in said["settings"]}
    assert rows["api_key"] == ("***", "CYCLES_API_KEY")
    assert rows["tenant"] == ("acme", "--tenant")
    assert rows["agent"] == ("planner", "--agent")
    assert rows["read_timeout"] == (4.0, "CYCLES_READ_TIMEOUT")
    assert rows["connect_timeout"] == (2.0, "default")
    out = served("doctor", "--agent", "planner").output
    assert "***" in out
    assert "connect_timeout" not in out
    assert "connect_timeout" in served("doctor", "--all").output
    assert out.count("ok  ") >= 9


def test_a_misspelt_variable_is_noted(served):
    said = served.json("doctor", apikey="x")
    (note,) = [check for check in said["checks"] if check["state"] == "note" and check["name"] != "engine"]
    assert (note["found"], note["remedy"]) == ("CYCLES_APIKEY means nothing here", "did you mean CYCLES_API_KEY?")


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"base_url": None}, "CYCLES_BASE_URL is not set"),
        ({"api_key": None}, "no API key"),
        ({"read_timeout": "soon"}, "CYCLES_READ_TIMEOUT='soon'"),
        ({"base_url": "http://user:pass-word@host"}, "without user name and password"),
        ({"api_key": "two words"}, "printable ASCII"),
    ],
)
def test_wrong_settings(bare, changed, says):
    good = {"base_url": "http://127.0.0.1:9", "api_key": KEY, "tenant": "acme"}
    said = bare.json("doctor", code=1, **{**good, **changed})
    assert says in only_wrong(said)["found"]
    shown = bare("doctor", code=1, **{**good, **changed}).output
    assert "pass-word" not in shown
    assert "two words" not in shown
    options = bare("doctor", "--tenant", "beta", "--agent", "a", code=1, **{**good, **changed}).output
    assert ["beta", "--tenant"] in [line.split()[1:] for line in options.splitlines()]
    assert state(said) == {"settings": "wrong"}


def test_a_wrong_key(served):
    said = served.json("doctor", api_key="no-key-at-all", code=1)
    assert only_wrong(said)["name"] == "key"
    assert "budget" not in state(said)
    assert "no-key-at-all" not in str(said)


def test_another_tenants_key(served, authority):
    check = only_wrong(served.json("doctor", tenant="other", code=1))
    assert check["name"] == "tenant"
    assert check["remedy"] == "set CYCLES_TENANT=acme, or use another key"


def test_no_tenant_is_noted_and_the_keys_is_told(served):
    said = served.json("doctor", tenant=None)
    assert state(said)["tenant"] == "note"
    assert {check["remedy"] for check in said["checks"] if check["name"] == "tenant"} == {"set CYCLES_TENANT=acme"}
    assert state(said)["budget"] == "ok"


# -- budgets -----------------------------------------------------------------------------------------------------------
def test_no_budget(served, authority):
    authority.key(tenant="empty")
    key = authority.key(tenant="empty")
    check = only_wrong(served.json("doctor", api_key=key, tenant="empty", code=1))
    assert check["found"] == "none for tenant:empty: a reserve there is denied"


def test_budgets_only_below_the_configured_subject(served, authority):
    """A budget for each customer, and none for the tenant: work that names a customer is granted."""
    key = authority.key(tenant="many")
    for customer in ("zoe", "ann"):
        authority.budget(f"tenant:many/workspace:{customer}", usd("1"))
    found = served.json("doctor", api_key=key, tenant="many")["checks"]
    (check,) = [each for each in found if each["name"] == "budget"]
    assert check["state"] == "note"
    assert check["found"] == (
        "none for tenant:many itself: work that names no level below it is denied; "
        "2 below it, such as tenant:many/workspace:ann"
    )


def test_budgets_that_give_nothing(served, authority):
    authority.budget("tenant:acme/agent:a", usd("0"))
    authority.budget("tenant:acme/agent:b", usd("1"))
    with authority.client(tenant="acme") as client:
        client.record(usd("2"), action=("k", "n"), agent="b")
    assert "every reserve is denied" in only_wrong(served.json("doctor", "--agent", "a", code=1))["found"]
    over = only_wrong(served.json("doctor", "--agent", "b", code=1))
    assert "went over its limit" in over["found"]
    assert over["remedy"] == "have its operator fund it", "`cycles local` can't: it is another machine's"


# -- local -------------------------------------------------------------------------------------------------------------
def test_local_in_memory(bare):
    said = bare.json("doctor", base_url="local:?usd=1")
    assert state(said) == {"settings": "ok", "ledger": "note", "budget": "ok"}
    check = only_wrong(bare.json("doctor", base_url="local:", code=1))
    assert check["remedy"] == "make one: such as local:?usd=1.00"
    assert "unit 'euro'" in only_wrong(bare.json("doctor", base_url="local:?euro=1", code=1))["found"]


def test_a_file_is_not_made_by_looking(bare, path, tmp_path):
    said = bare.json("doctor", base_url=f"local:{path}?usd=1")
    assert state(said) == {"settings": "ok", "ledger": "note", "budget": "ok", "journal": "ok"}
    assert only_wrong(bare.json("doctor", base_url=f"local:{path}", code=1))["name"] == "budget"
    assert only_wrong(bare.json("doctor", base_url=f"local:{path}/x?usd=1", code=1))["name"] == "ledger"
    assert list(tmp_path.iterdir()) == [], "no file, no journal"
    path.write_text("something else" * 100)
    assert only_wrong(bare.json("doctor", base_url=f"local:{path}", code=1))["name"] == "ledger"
    for name in ("x" * 300, "circle", "no/such/folder.db"):
        if name == "circle":
            (tmp_path / name).symlink_to(name)
        assert only_wrong(bare.json("doctor", base_url=f"local:{tmp_path / name}", code=1))["name"] == "ledger"


def test_a_ledger_file(bare, path, authority):
    keys = authority.keys()
    said = bare.json("doctor", base_url=f"local:{path}?credits=5", tenant="acme")
    found = [check["found"] for check in said["checks"] if check["name"] == "budget"]
    assert found == [
        "tenant:acme: 5 CREDITS, made when it is first used",
        "tenant:acme: 1,000,000 TOKENS of 1,000,000 TOKENS remain",
        "tenant:acme: $25.00 of $25.00 remain",
    ]
    assert authority.keys() == keys
    assert len(authority.balances()) == 3, "nor the budget"
    authority.freeze("tenant:acme", "TOKENS")
    check = only_wrong(bare.json("doctor", base_url=f"local:{path}", tenant="acme", code=1))
    assert "it is FROZEN" in check["found"]
    assert "cycles local budget unfreeze" in check["remedy"]
    check = only_wrong(bare.json("doctor", base_url=f"local:{path}", tenant="none", code=1))
    assert check["remedy"] == "make one: `cycles local budget create tenant:none --usd 25`"


# -- the journal -------------------------------------------------------------------------------------------------------
def journal(said: dict[str, Any]) -> list[tuple[str, str]]:
    return [(check["state"], check["found"]) for check in said["checks"] if check["name"] == "journal"]


@pytest.mark.slow
def test_what_the_journal_holds(served, tmp_path):
    url = served.environ["CYCLES_BASE_URL"]
    assert journal(served.json("doctor"))[-1] == ("ok", "empty: nothing is pending, rejected or in quarantine")
    assert not (tmp_path / "journal").exists(), "looking makes none"
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        down = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        served("record", "--usd", "1", base_url=down, retry_max_attempts="1", read_timeout="0.05", code=1)
        said = served.json("doctor", base_url=down, read_timeout="0.05", code=1)
    (note,) = [found for state, found in journal(said) if "pending" in found]
    assert re.fullmatch(r"1 pending since \d{4}-\d\d-\d\d \d\d:\d\dZ: spend that is not charged yet", note)
    (partition,) = [each.parent for each in (tmp_path / "journal").glob("*/partition.json")]
    ours = tmp_path / "journal" / partition_of(url, "acme", KEY)
    (ours / "rejected").mkdir(parents=True)
    (ours / "quarantine").mkdir()
    (record,) = partition.glob("v2-*.json")
    (ours / "rejected" / record.name).write_bytes(record.read_bytes())
    (ours / "quarantine" / record.name).write_bytes(b"{")
    said = served.json("doctor", code=1)
    states = [state for state, _ in journal(said)]
    assert states.count("wrong") == 2
    assert said["ok"] is False


def test_what_a_running_section_has_reported_is_not_waited_for(served):
    with cycles.Client(cycles.Config.from_env(served.environ)) as client:
        held = client.reserve(usd("0.10"), action=("tool.search", "web"))
        held.report(actual=usd("0.03"))
        _, note = journal(served.json("doctor"))
        assert note == ("note", "1 of running sections, or of ones that were killed")
        drained = served("journal", "drain", "--timeout", "0", code=1).output
        assert "1 of running sections, which settle them at their end" in drained
        held.release()


def test_a_journal_that_cannot_be_written(served, tmp_path):
    (tmp_path / "file").write_text("in the way")
    check = only_wrong(served.json("doctor", journal_dir=str(tmp_path / "file"), code=1))
    assert (check["name"], "CYCLES_JOURNAL_DIR" in check["remedy"]) == ("journal", True)


def test_a_journal_that_is_weaker_is_noted(served):
    assert journal(served.json("doctor", journal_fsync="false"))[0][0] == "note"
    ((state, found),) = journal(served.json("doctor", journal_enabled="false"))
    assert (state, found.startswith("turned off")) == ("note", True)
