"""Agents of LangChain: what a run spends is in the ledger, and a denial ends it."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("langchain", reason="nox -s integrations has it")
pytest.importorskip("langchain_openai", reason="nox -s integrations has it")
pytest.importorskip("langchain_anthropic", reason="nox -s integrations has it")

from langchain_core.messages import AIMessage, ToolMessage

import cycles
from cycles import usd
from cycles.integrations.langchain import CyclesMiddleware
from tests.integrations.langchain_agents import (
    CALL,
    COST,
    MODELS,
    QUESTION,
    SAY,
    Ran,
    agent_of,
    ainvoke,
    astream,
    astream_events,
    chat,
    closing,
    invoke,
    stream,
)
from tests.metering.provider import Turn

WAYS = pytest.mark.parametrize("way", [invoke, stream, ainvoke, astream, astream_events])


@pytest.fixture
def ran():
    return Ran()


@pytest.fixture(params=list(MODELS))
def model(request, world):
    return MODELS[request.param](world)


@WAYS
def test_a_run_that_ends_well(world, ran, model, way):
    world.provider.plan(CALL, CALL, SAY)
    way(agent_of(world, ran, model))
    assert ran.queries == ["x", "x"]
    world.exact(COST, COST)
    streamed = way is not invoke and way is not ainvoke
    assert all(bill.streamed == streamed for bill in world.provider.bills)


@WAYS
def test_a_run_that_is_denied_in_the_model(world, ran, way):
    world.budget(usd("0.0001"))
    with pytest.raises(cycles.BudgetExceeded):
        way(agent_of(world, ran))
    assert world.provider.seen == []
    world.exact()


@WAYS
def test_a_run_that_is_denied_in_a_tool_ends(world, ran, way):
    world.provider.usual = CALL
    with pytest.raises(cycles.BudgetExceeded):
        way(agent_of(world, ran, tools=usd("20")))
    assert ran.queries == []
    assert len(world.provider.seen) == 1
    world.exact()


@pytest.mark.parametrize("way", [invoke, astream])
def test_a_denied_tool_can_be_told_to_the_model(world, ran, model, way):
    world.provider.plan(CALL, SAY)
    way(agent_of(world, ran, model, tools={"search": usd("20")}, on_denied="message"))
    assert ran.queries == []
    assert "too little left" in str(world.provider.seen[-1][1])
    world.exact()


def test_what_the_model_is_told_is_an_error_with_its_reason(world, ran):
    world.provider.plan(CALL, SAY)
    told = invoke(agent_of(world, ran, tools={"search": usd("20")}, on_denied="message"))["messages"][2]
    assert isinstance(told, ToolMessage)
    assert (told.status, told.name) == ("error", "search")
    assert told.artifact["code"] == "BUDGET_EXCEEDED"
    assert told.artifact["retry_after"] is None
    assert "code: BUDGET_EXCEEDED" in told.content


def test_a_runaway_ends_at_the_budget(world, ran):
    world.provider.usual = CALL
    world.budget(usd("0.1"))
    with pytest.raises(cycles.BudgetExceeded):
        agent_of(world, ran).invoke(QUESTION, {"recursion_limit": 1000})
    world.exact(*[COST] * len(ran.queries))
    assert 3 < len(ran.queries) < 10
    assert world.ledger <= usd("0.1").amount


@pytest.mark.parametrize("way", [invoke, ainvoke])
def test_a_limit_around_a_run_covers_models_and_tools(world, ran, way):
    world.provider.usual = CALL
    limit = cycles.Limit(usd("0.1"), action=("agent.run", "test"))
    agent = agent_of(world, ran)
    if way is invoke:
        with pytest.raises(cycles.BudgetExceeded) as refused, limit:
            agent.invoke(QUESTION, {"recursion_limit": 1000})
    else:

        async def work():
            async with limit:
                await agent.ainvoke(QUESTION, {"recursion_limit": 1000})

        with pytest.raises(cycles.BudgetExceeded) as refused:
            asyncio.run(closing(work()))
    assert refused.value.limit is limit
    world.settled()
    assert world.ledger == world.provider.microcents + COST.amount * len(ran.queries)
    assert world.holds("tool.call") == world.holds("llm.completion") == []


@pytest.mark.parametrize("way", [invoke, ainvoke])
def test_twenty_tools_at_once(world, ran, model, way):
    calls = tuple(("search", {"query": str(index)}) for index in range(20))
    model = model.model_copy(update={"max_tokens": 2000})
    world.provider.plan(Turn(calls=calls), SAY)
    way(agent_of(world, ran, model))
    assert sorted(ran.queries, key=int) == [str(index) for index in range(20)]
    world.exact(*[COST] * 20)


@pytest.mark.parametrize("way", [invoke, ainvoke])
def test_of_twenty_tools_at_once_those_run_that_the_budget_pays(world, ran, way):
    calls = tuple(("search", {"query": str(index)}) for index in range(20))
    world.provider.plan(Turn(calls=calls), SAY)
    model = chat(world).model_copy(update={"max_tokens": 2000})
    world.budget(usd("0.1"), "tenant:acme/toolset:web")
    costs = {"search": {"estimate": COST, "toolset": "web"}}
    result = way(agent_of(world, ran, model, on_denied="message", tools=costs))
    told = [message for message in result["messages"] if isinstance(message, ToolMessage)]
    assert len(ran.queries) == 10
    assert sorted(message.status for message in told) == ["error"] * 10 + ["success"] * 10
    world.exact(*[COST] * 10)


def test_a_stream_that_is_left(world, ran):
    """What had been generated is charged, and nothing stays held."""
    stream = agent_of(world, ran).stream(QUESTION, stream_mode="messages")
    world.provider.plan(CALL, Turn(calls=(), output=100))
    for part, _ in stream:
        if isinstance(part, AIMessage) and part.content:
            break
    stream.close()
    world.bounded(COST)
    assert world.ledger <= world.provider.microcents + COST.amount + usd("0.02").amount


def test_an_asynchronous_stream_that_is_left(world, ran):
    async def work():
        stream = agent_of(world, ran).astream(QUESTION, stream_mode="messages")
        async for part, _ in stream:
            if isinstance(part, AIMessage) and part.content:
                break
        await stream.aclose()

    world.provider.plan(CALL, Turn(calls=(), output=100))
    asyncio.run(closing(work()))
    world.bounded(COST)


def test_arguments_are_checked():
    with pytest.raises(cycles.InvalidRequest, match="on_denied='stop'"):
        CyclesMiddleware(on_denied="stop")  # type: ignore[arg-type]
    with pytest.raises(cycles.InvalidRequest, match="models='off'"):
        CyclesMiddleware(models="off")  # type: ignore[arg-type]
    with pytest.raises(cycles.InvalidRequest, match=r"tools\['search'\]=1"):
        CyclesMiddleware(tools={"search": 1})  # type: ignore[dict-item]
    with pytest.raises(cycles.InvalidRequest, match="'price' is no field"):
        CyclesMiddleware(tools={"search": {"estimate": COST, "price": 1}})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(cycles.InvalidRequest, match="tools="):
        CyclesMiddleware(tools=["search"])  # type: ignore[arg-type]
