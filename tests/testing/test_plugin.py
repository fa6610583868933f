"""The pytest plugin, run by pytest's own fixture for plugins: what users' tests see, and what is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import cycles
import cycles.testing.plugin
from cycles.client import DEFAULTS
from cycles.local import LocalAuthority
from cycles.local.registry import forget_shared

pytest_plugins = ["pytester"]

HEAD = """
import pytest
import cycles
from cycles import tokens, usd
from cycles.local import LocalAuthority
ACTION = ("llm.completion", "gpt-4o")
"""


FILTERS = "error\n  ignore:Module already imported so cannot be rewritten. _cycles_pytest"
"""Until 9.1 pytest warns of the second; here all runs share a process."""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a module of tests in this process, warnings as errors, nobody's environment changed afterwards.

    Without the plugins of others, which each run would load anew: a tenth of a second instead of two.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("CYCLES_BASE_URL", "https://money.invalid")
    monkeypatch.setenv("CYCLES_API_KEY", "cyc_live_real")
    monkeypatch.setenv("CYCLES_AGENT", "of-the-shell")

    def ran(code: str, *arguments: str, ini: str = "") -> pytest.RunResult:
        pytester.makeini(f"[pytest]\nfilterwarnings = {FILTERS}\naddopts = --strict-markers\n{ini}")
        pytester.makepyfile(HEAD + code)
        before, threads = dict(os.environ), set(threading.enumerate())
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "_cycles_pytest", *arguments)
        changed = {name for name in before | dict(os.environ) if before.get(name) != os.environ.get(name)}
        assert changed <= {"PYTEST_CURRENT_TEST", "PYTEST_VERSION", "COLUMNS"}
        assert set(threading.enumerate()) <= threads, "a thread was left behind"
        return result

    return ran


# -- what users can write ----------------------------------------------------------------------------------------------
def test_an_agent_stops_at_its_budget(run):
    run("""
@cycles.Guard(estimate=usd("0.30"), action=ACTION)
def think():
    return "…"

def test_it_stops_at_a_dollar(cycles_authority):
    thoughts = 0
    with pytest.raises(cycles.BudgetExceeded):
        while True:
            think()
            thoughts += 1
    assert thoughts == 3
    assert cycles_authority.spent() == usd("0.90")
    assert cycles_authority.reserved() == usd("0")
    assert len(cycles_authority.reservations()) == 3
""").assert_outcomes(passed=1)


def test_each_test_has_an_authority_of_its_own(run):
    run("""
@pytest.mark.parametrize("number", range(3))
def test_nothing_is_spent_yet(number, cycles_authority):
    assert cycles_authority.spent() == usd("0")
    assert cycles_authority.requests == []
    with cycles.Guard(usd("0.60"), action=ACTION):
        pass
    assert cycles_authority.spent() == usd("0.60")
""").assert_outcomes(passed=3)


def test_coroutines_spend_there_too(run):
    run("""
import asyncio

@cycles.Guard(estimate=tokens(400_000), action=ACTION)
async def think():
    return "…"

def test_it(cycles_authority, cycles_async_client):
    async def agent():
        with pytest.raises(cycles.BudgetExceeded):
            while True:
                await think()
        rows = [row async for row in cycles_async_client.balances()]
        assert [row.spent.amount for row in rows if row.spent.unit == "TOKENS"] == [800_000]
    asyncio.run(agent())
    assert cycles_authority.spent("tokens") == tokens(800_000)
""").assert_outcomes(passed=1)


def test_asynchronous_tests_of_either_library(run):
    run(
        """
@cycles.Guard(estimate=usd("0.30"), action=ACTION)
async def think():
    return "…"

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_it(anyio_backend, cycles_authority):
    cycles_authority.faults.lose_response(operation="commit")
    with pytest.raises(cycles.BudgetExceeded):
        while True:
            await think()
    assert cycles_authority.spent() == usd("0.90")
""",
        "-p",
        "anyio.pytest_plugin",
    ).assert_outcomes(passed=2)


def test_clients_that_code_makes_for_itself_reach_it(run):
    run("""
def test_from_env(cycles_authority):
    with cycles.Client() as client:
        client.record(usd("0.25"), action=ACTION)
    with cycles.Client(cycles.Config.from_env()) as client:
        client.record(usd("0.25"), action=ACTION)
    assert LocalAuthority.from_url("local:?usd=9") is cycles_authority
    assert cycles_authority.spent() == usd("0.50")
    assert {seen.body["subject"].get("agent") for seen in cycles_authority.requests} == {None}, "not of the shell"

def test_configured_by_the_code_under_test(cycles_authority, monkeypatch):
    monkeypatch.setenv("CYCLES_AGENT", "of-the-test")
    with cycles.Guard(usd("0.25"), action=ACTION):
        pass
    assert cycles_authority.requests[0].body["subject"] == {"tenant": "default", "agent": "of-the-test"}

def test_the_client_of_guards(cycles_authority, cycles_client):
    cycles_client.record(usd("0.25"), action=ACTION)
    assert cycles_authority.spent() == usd("0.25")
    assert cycles_client.config.journal_dir is None
""").assert_outcomes(passed=3)


def test_a_lost_commit_response_is_no_second_charge(run):
    run("""
def test_it(cycles_authority):
    lost = cycles_authority.faults.lose_response(operation="commit")
    with cycles.Guard(usd("0.30"), action=ACTION):
        pass
    first, second = [seen for seen in cycles_authority.requests if seen.operation == "commit"]
    assert (first.fault, second.fault, lost.happened) == ("lost response", None, 1)
    assert first.idempotency_key == second.idempotency_key
    assert cycles_authority.spent() == usd("0.30")
""").assert_outcomes(passed=1)


def test_a_lease_expires(run):
    run("""
def test_it(cycles_authority):
    with cycles.Guard(usd("0.30"), action=ACTION, ttl=30) as reservation:
        cycles_authority.advance(36)
        assert [event.type for event in cycles_authority.events] == ["reservation.expired"]
        reservation.report(actual=usd("0.20"))
    assert reservation.settlement.via == "event"
    assert cycles_authority.spent() == usd("0.20")
""").assert_outcomes(passed=1)


# -- another start -----------------------------------------------------------------------------------------------------
def test_marks_and_settings(run):
    run(
        """
pytestmark = pytest.mark.cycles(tenant="acme", caps={"max_tokens": 7})

@pytest.mark.cycles(budget="usd:0.10", overdraft_limit="usd:0.05", agent="planner", heartbeat="cancel")
def test_closest_wins(cycles_authority, cycles_client):
    row = cycles_authority.balance("tenant:acme", "USD_MICROCENTS")
    assert (row.allocated, row.overdraft_limit) == (usd("0.10").amount, usd("0.05").amount)
    assert row.caps == {"max_tokens": 7}
    assert cycles_client.config.agent == "planner"
    assert cycles_client.config.heartbeat == "cancel"
    assert [row.unit for row in cycles_authority.balances()] == ["USD_MICROCENTS"]

class TestOfAClass:
    pytestmark = pytest.mark.cycles(budget=[usd("3"), tokens(5)])

    def test_budgets(self, cycles_authority):
        assert [row.allocated for row in cycles_authority.balances()] == [5, usd("3").amount]

    @pytest.mark.cycles(budget=None, tenant="other")
    def test_none(self, cycles_authority):
        assert cycles_authority.balances() == []
        with pytest.raises(cycles.BudgetNotFound), cycles.Guard(usd("0.01"), action=ACTION):
            pass

def test_of_the_file(cycles_authority, cycles_client):
    assert [row.allocated for row in cycles_authority.balances()] == [77]
    reservation = cycles_client.reserve(tokens(7), action=ACTION)
    assert reservation.caps.max_tokens == 7
    reservation.commit(tokens(7))
""",
        ini="cycles_budget = tokens:77\ncycles_tenant = of-the-file",
    ).assert_outcomes(passed=4)


def test_a_mark_alone_gives_the_authority(run):
    run("""
import unittest

def spend():
    assert cycles.Config.from_env().base_url == "local:"
    with cycles.Guard(usd("0.10"), action=ACTION):
        pass

@pytest.mark.cycles
def test_a_function():
    spend()

@pytest.mark.cycles
class TestOfAClass:
    def test_a_method(self):
        spend()

@pytest.mark.cycles(tenant="unit")
class Older(unittest.TestCase):
    def test_a_method(self):
        spend()

def test_without():
    assert cycles.Config.from_env().base_url == "https://money.invalid"
""").assert_outcomes(passed=4)


def test_a_mark_of_the_module_gives_it_to_every_test(run):
    run("""
pytestmark = pytest.mark.cycles(tenant="acme")

def test_a_function():
    assert cycles.Config.from_env().tenant == "acme"

class TestOfAClass:
    def test_a_method(self):
        assert cycles.Config.from_env().base_url == "local:"
""").assert_outcomes(passed=2)


def test_a_mark_that_can_give_none_is_refused(run):
    """Else the test would spend at what the shell's environment names."""
    result = run("""
@pytest.mark.parametrize("number", [pytest.param(1, marks=pytest.mark.cycles)])
def test_it(number):
    raise AssertionError("must not run")
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*name cycles_authority in its arguments*"])


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        ('"usd:1.00"', "*cycles('usd:1.00'): name it, as in budget='usd:1.00'*"),
        ('budgets="usd:1.00"', "*cycles(budgets=…): there are budget, tenant, overdraft_limit, caps, workspace*"),
        ('base_url="https://x"', "*cycles(base_url=…)*"),
        ('budget="euro:1"', "*unit 'euro': choose one of usd*"),
        ('budget="1.00"', "*budget='1.00': write \"usd:1.00\"*"),
        ("budget=1.0", '*budget=1.0: write "usd:1.00"*'),
        ('budget="usd:1", overdraft_limit="tokens:5"', "*no budget in TOKENS that may be overdrawn*"),
        ('heartbeat="loud"', "*CYCLES_HEARTBEAT='loud'*"),
        ('tenant="a b"', "*a b*"),
        ("caps={'max_token': 1}", "*max_token*"),
    ],
)
def test_what_cant_be_arranged(run, mark, says):
    result = run(f"""
@pytest.mark.cycles({mark})
def test_it(cycles_authority):
    raise AssertionError("must not run")
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([says])


# -- left behind -------------------------------------------------------------------------------------------------------
def test_the_default_is_afterwards_what_it_was(run):
    shared, config = LocalAuthority.from_url("local:"), cycles.Config("local:", tenant="of-the-program")
    cycles.configure(config)
    try:
        run("""
@pytest.mark.cycles
def test_it():
    with cycles.Guard(usd("0.10"), action=ACTION):
        pass
    cycles.configure(cycles.Config("local:", tenant="of-the-test"))
""").assert_outcomes(passed=1)
        assert DEFAULTS._config is config
        assert LocalAuthority.from_url("local:") is shared
        assert not shared.store.is_closed
    finally:
        cycles.configure(None)
        forget_shared()


def test_a_failing_test_leaves_nothing_either(run):
    run("""
seen = []

def test_it_fails(cycles_authority):
    seen.append(cycles_authority)
    with cycles.Guard(usd("0.10"), action=ACTION):
        assert False

def test_it_is_closed():
    assert seen[0].store.is_closed
    assert cycles.Config.from_env().base_url == "https://money.invalid"
""").assert_outcomes(passed=1, failed=1)


def test_no_journal_is_made(run):
    run("""
def test_it(cycles_authority):
    cycles_authority.faults.fail(times=None, operation="commit")
    with cycles.Guard(usd("0.10"), action=ACTION):
        pass
""").assert_outcomes(passed=1)
    assert not Path(os.environ["XDG_STATE_HOME"]).exists()


def test_what_the_test_changes_of_the_environment_is_undone_in_order(run):
    """A monkeypatch that was there before the fixture is undone after it, and would restore what that had set."""
    run("""
@pytest.fixture(autouse=True)
def first(monkeypatch):
    pass

def test_it(cycles_authority, monkeypatch):
    monkeypatch.setenv("CYCLES_TENANT", "of-the-test")
""").assert_outcomes(passed=1)
    assert "CYCLES_TENANT" not in os.environ


@pytest.mark.slow
def test_several_workers(pytester):
    pytester.makepyfile(
        HEAD
        + """
@pytest.mark.parametrize("number", range(12))
def test_it(number, cycles_authority):
    for _ in range(3):
        with cycles.Guard(usd("0.30"), action=ACTION):
            pass
    assert cycles_authority.spent() == usd("0.90")
"""
    )
    pytester.runpytest_subprocess("-n", "2", "-W", "error").assert_outcomes(passed=12)


# -- what it costs whoever does not use it -----------------------------------------------------------------------------
@pytest.mark.slow
def test_pytest_alone_is_imported_by_the_door():
    code = (
        "import sys, pytest\nbefore = set(sys.modules)\nimport _cycles_pytest\nprint(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['_cycles_pytest']"


@pytest.mark.slow
def test_a_run_without_it_imports_nothing_of_cycles(pytester):
    pytester.makepyfile("""
import sys
def test_it(pytestconfig):
    assert pytestconfig.getini("cycles_tenant") == "default", "the plugin is there"
    assert not [name for name in sys.modules if name.partition(".")[0] in ("cycles", "cycles_api", "httpx")]
""")
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=1)


def test_the_marker_is_documented_by_pytest_itself(run):
    run("", "--markers").stdout.fnmatch_lines(["@pytest.mark.cycles(budget=*"])
