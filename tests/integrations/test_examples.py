"""The examples as their users start them: programs of their own, on the local provider."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cycles import usd
from tests.docs.pages import ROOT
from tests.metering.provider import Turn
from tests.support.authorities import SCOPE, UNIT
from tests.support.waiting import PATIENCE

SAY = Turn(calls=())
SEARCH = Turn(calls=(("search", {"query": "rivers"}),))


@pytest.fixture
def example(world):
    """A function that runs an example to its end, and returns what it printed."""

    def ran(name: str, *arguments: str) -> list[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("CYCLES_", "OPENAI_"))}
        environ |= {
            "CYCLES_BASE_URL": world.server.url,
            "CYCLES_API_KEY": world.authority.key(tenant="acme"),
            "CYCLES_TENANT": "acme",
            "CYCLES_READ_TIMEOUT": str(PATIENCE),
            "CYCLES_SETTLE_WAIT": str(PATIENCE),
            "OPENAI_BASE_URL": f"{world.provider.url}/v1",
            "OPENAI_API_KEY": "sk-test",
            "OPENAI_AGENTS_DISABLE_TRACING": "1",
            "ANTHROPIC_BASE_URL": world.provider.url,
            "ANTHROPIC_API_KEY": "sk-test",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "generated"))),
        }
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / name), *arguments],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout.splitlines()

    return ran


def in_run(world, searches: int) -> None:
    """The ledger is the bill of a run inside a limit: model calls, and a cent for each search."""
    world.settled()
    assert world.ledger == world.provider.microcents + searches * usd("0.01").amount


def test_openai_agent(world, example):
    pytest.importorskip("openai")
    pytest.importorskip("genai_prices")
    world.provider.plan(SEARCH, SAY)
    said = example("openai_agent.py")
    assert said[0].startswith("w00 w01")
    assert said[1].startswith("3 calls for $0.01")
    in_run(world, 1)


def test_an_openai_agent_that_never_ends(world, example):
    pytest.importorskip("openai")
    pytest.importorskip("genai_prices")
    world.provider.usual = SEARCH
    said = example("openai_agent.py")
    assert said[0].startswith("stopped: limit agent.run/")
    searches = int(said[1].split()[0]) - len(world.provider.bills)
    assert 5 < searches < 10
    in_run(world, searches)


def test_anthropic_stream(world, example):
    pytest.importorskip("anthropic")
    pytest.importorskip("genai_prices")
    said = example("anthropic_stream.py")
    assert said[0].startswith("w00 w01")
    assert said[1].endswith("of $0.05 spent")
    in_run(world, 0)


def test_langgraph_agent(world, example):
    pytest.importorskip("langchain_openai")
    world.budget(usd("0.05"), f"{SCOPE}/workspace:zoe")
    world.provider.usual = SEARCH
    said = example("langgraph_agent.py", "zoe", "Why?")
    assert said[:3] == ["updates model", "updates tools", "updates model"]
    assert said[-1].startswith("stopped: asked for $")
    searches = said.count("updates tools")
    assert searches == 4
    world.exact(*[usd("0.01")] * searches)
    assert world.authority.balance(f"{SCOPE}/workspace:zoe", UNIT).spent == world.ledger


def test_openai_agents_team(world, example):
    pytest.importorskip("agents")
    world.provider.plan(Turn(calls=(("transfer_to_researcher", {}),)), SEARCH, SAY)
    said = example("openai_agents_team.py")
    assert said[0].startswith("researcher: w00 w01")
    in_run(world, 1)
    world.provider.plan(Turn(calls=(("transfer_to_researcher", {}),)))
    world.provider.usual = SEARCH
    said = example("openai_agents_team.py")
    assert said[0].startswith("stopped: limit agent.run/")
