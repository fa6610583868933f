"""Tools of LangChain's agents: what each costs, and that none is paid for twice, whoever runs it again."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain", reason="nox -s integrations has it")
pytest.importorskip("langchain_openai", reason="nox -s integrations has it")
pytest.importorskip("langchain_anthropic", reason="nox -s integrations has it")

from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware, ToolRetryMiddleware
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

import cycles
from cycles import usd
from cycles.integrations import ToolCallReplayed, retries
from tests.integrations.langchain_agents import (
    CALL,
    COST,
    QUESTION,
    SAY,
    Ran,
    agent_of,
    ainvoke,
    astream,
    chat,
    invoke,
    middleware,
)


@pytest.fixture
def ran():
    return Ran()


# -- replays -----------------------------------------------------------------------------------------------------------
def _crash(agent, ran, config):
    """Run until the second of two tools breaks: the process would die there, with the first one's work done."""
    ran.errors.append(ConnectionError("the process died here"))
    with pytest.raises(ConnectionError):
        agent.invoke(QUESTION, config)


def test_a_tool_that_failed_runs_again_when_its_thread_goes_on(world, ran):
    agent, config = agent_of(world, ran, checkpointer=InMemorySaver()), {"configurable": {"thread_id": "t"}}
    world.provider.plan(CALL, SAY)
    _crash(agent, ran, config)
    agent.invoke(None, config)
    assert ran.queries == ["x", "x"]
    world.exact(COST)


@pytest.mark.parametrize("on_denied", ["raise", "message"])
def test_a_tool_that_ran_does_not_run_again(world, ran, on_denied):
    """The thread goes on from before its tools: as after a crash between the tool and its checkpoint."""
    world.provider.plan(CALL, SAY, SAY)
    agent = agent_of(world, ran, checkpointer=InMemorySaver(), on_denied=on_denied)
    config = {"configurable": {"thread_id": "t"}}
    agent.invoke(QUESTION, config)
    (before,) = [state for state in agent.get_state_history(config) if state.next == ("tools",)]
    again = agent_of(world, ran, checkpointer=agent.checkpointer, on_denied=on_denied)  # another process
    if on_denied == "raise":
        with pytest.raises(ToolCallReplayed, match="COMMITTED"):
            again.invoke(None, before.config)
    else:
        told = again.invoke(None, before.config)["messages"][2]
        assert (told.status, told.artifact["code"]) == ("error", "TOOL_CALL_REPLAYED")
    assert ran.queries == ["x"]
    world.exact(COST)


def test_a_tool_that_waits_for_a_person_runs_when_they_have_answered(world):
    done = []

    @tool
    def search(query: str) -> str:
        """Look something up, if a person agrees."""
        done.append(interrupt("may I?"))
        return "found"

    made = [middleware(world)]
    agent = create_agent(chat(world), [search], middleware=made, checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    world.provider.plan(CALL, SAY)
    assert "__interrupt__" in agent.invoke(QUESTION, config)
    assert world.ledger == world.provider.microcents
    agent.invoke(Command(resume="yes"), config)
    assert done == ["yes"]
    world.exact(COST)


def test_without_a_thread_each_run_is_its_own(world, ran):
    for _ in range(2):
        world.provider.plan(CALL, SAY)
        invoke(agent_of(world, ran))
    assert ran.queries == ["x", "x"]
    world.exact(COST, COST)


# -- beside other middleware -------------------------------------------------------------------------------------------
def test_retries_of_langchain_leave_a_denial_alone(world, ran):
    world.provider.usual = CALL
    before = [ModelRetryMiddleware(retry_on=retries.langgraph()), ToolRetryMiddleware(retry_on=retries.langgraph())]
    with pytest.raises(cycles.BudgetExceeded):
        invoke(agent_of(world, ran, before=before, tools=usd("20")))
    world.server.seen.clear()
    world.budget(usd("0.0001"))
    with pytest.raises(cycles.BudgetExceeded):
        invoke(agent_of(world, ran, before=before))
    assert [seen.operation for seen in world.server.seen] == ["reservations"]


def test_a_retried_tool_is_charged_once(world, ran):
    world.provider.plan(CALL, SAY)
    ran.errors += [ConnectionError("a"), ConnectionError("b")]
    retrying = ToolRetryMiddleware(retry_on=retries.langgraph(), initial_delay=0.0, jitter=False)
    invoke(agent_of(world, ran, before=[retrying]))
    assert ran.queries == ["x"] * 3
    world.exact(COST)


# -- who spends, and what is asked -------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", [invoke, astream])
def test_the_agent_is_who_spends(world, ran, way):
    world.budget(usd("1"), "tenant:acme/agent:researcher")
    world.provider.plan(CALL, SAY)
    way(agent_of(world, ran, agent="researcher"))
    world.exact(COST)
    assert world.spent_at("agent:researcher") == world.ledger


def test_a_tool_may_have_terms_of_its_own(world, ran):
    world.provider.plan(CALL, SAY)
    terms = {"estimate": usd("0.05"), "actual": usd("0.03"), "action": ("tool.http", "web"), "toolset": "web"}
    invoke(agent_of(world, ran, tools={"search": terms}))
    (hold,) = world.holds("tool.http")
    assert hold.subject["toolset"] == "web"
    world.exact(usd("0.03"))


def test_a_tool_may_report_what_it_cost(world):
    @tool
    def search(query: str) -> str:
        """Look something up."""
        cycles.report(actual=usd("0.004"))
        return "found"

    world.provider.plan(CALL, SAY)
    ainvoke(create_agent(chat(world), [search], middleware=[middleware(world)]))
    world.exact(usd("0.004"))


def test_a_denial_inside_a_free_tool_ends_the_run(world):
    """As of an agent that is a tool of another one."""

    @tool
    def search(query: str) -> str:
        """Look something up."""
        with cycles.Guard(usd("20"), action=("llm.completion", "inner")):
            return "found"

    world.provider.usual = CALL
    for on_denied in ("raise", "message"):
        world.provider.plan(CALL, SAY)
        made = [middleware(world, tools=None, on_denied=on_denied)]
        agent = create_agent(chat(world), [search], middleware=made)
        if on_denied == "raise":
            with pytest.raises(cycles.BudgetExceeded):
                invoke(agent)
            world.provider.turns.clear()
        else:
            assert invoke(agent)["messages"][2].status == "error"
