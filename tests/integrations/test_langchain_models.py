"""Models of LangChain by themselves, and in graphs of LangGraph: metered, guarded, or both."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("langchain", reason="nox -s integrations has it")
pytest.importorskip("langchain_openai", reason="nox -s integrations has it")
pytest.importorskip("langchain_anthropic", reason="nox -s integrations has it")

from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_openai import OpenAIEmbeddings
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy

import cycles
from cycles import usd
from cycles.integrations import retries
from cycles.integrations.langchain import metered
from tests.integrations.langchain_agents import (
    CALL,
    COST,
    MODELS,
    QUESTION,
    SAY,
    Ran,
    agent_of,
    ainvoke,
    chat,
    closing,
    invoke,
    middleware,
)


@pytest.fixture
def ran():
    return Ran()


@pytest.fixture(params=list(MODELS))
def model(request, world):
    return MODELS[request.param](world)


# -- models that can't be metered, or are already ----------------------------------------------------------------------
@pytest.mark.parametrize("way", [invoke, ainvoke])
def test_a_model_that_cant_be_metered_takes_a_guard(world, ran, way):
    def fake():
        return GenericFakeChatModel(messages=iter([AIMessage("fine")]))

    with pytest.raises(cycles.InvalidRequest, match="GenericFakeChatModel has no client"):
        way(create_agent(fake(), middleware=[middleware(world)]))
    guard = cycles.Guard(
        lambda request: usd("0.05") if request.messages else usd("0"),
        action=("llm.completion", "fake"),
        actual=lambda response: usd("0.02") if response.result[0].content == "fine" else None,
    )
    way(create_agent(fake(), middleware=[middleware(world, models=guard)]))
    world.exact(usd("0.02"))
    world.budget(usd("0.03"))
    with pytest.raises(cycles.BudgetExceeded):
        way(create_agent(fake(), middleware=[middleware(world, models=guard)]))


def test_a_model_that_is_metered_already_is_charged_once(world, ran):
    world.provider.plan(CALL, SAY)
    invoke(agent_of(world, ran, metered(chat(world), prices=world.prices)))
    world.exact(COST)


def test_a_bare_model(world, model):
    made = metered(model, prices=world.prices)
    assert type(made) is type(model)
    made.invoke("Wie heißt du?")
    list(made.stream("Wie heißt du?"))

    async def work():
        await made.ainvoke("Wie heißt du?")
        async for _ in made.astream("Wie heißt du?"):
            pass

    asyncio.run(closing(work()))
    world.exact()
    assert len(world.provider.bills) == 4
    world.budget(usd("0.0001"))
    with pytest.raises(cycles.BudgetExceeded):
        made.with_retry(retry_if_exception_type=(ConnectionError,)).invoke("Wie heißt du?")
    assert len(world.provider.seen) == 4
    model.invoke("Wie heißt du?")  # the original is as it was
    assert world.ledger < world.provider.microcents


def test_a_bare_model_with_tools_and_structured_output(world, ran):
    made = metered(chat(world), prices=world.prices)
    assert made.bind_tools([ran.tool]).invoke("Wie heißt du?").tool_calls[0]["name"] == "search"
    schema = {"title": "person", "type": "object", "properties": {"name": {"type": "string"}}}
    assert made.with_structured_output(schema, method="json_schema").invoke("Wie heißt du?") == {"name": "déjà vu"}
    world.exact()


def test_embeddings(world):
    made = OpenAIEmbeddings(
        model="embed-metered", base_url=f"{world.provider.url}/v1", api_key="sk-test", check_embedding_ctx_length=False
    )
    metered(made, prices=world.prices).embed_documents(["one", "zwölf"])
    made.client._client.close()  # its connections are its own: those of chat models are shared
    world.exact()


# -- graphs of one's own -----------------------------------------------------------------------------------------------
def test_a_graph_with_a_tool_node(world, ran):
    budget = middleware(world)
    model = metered(chat(world), prices=world.prices).bind_tools([ran.tool])
    tools = ToolNode([ran.tool], wrap_tool_call=budget.wrap_tool_call, awrap_tool_call=budget.awrap_tool_call)
    made = StateGraph(MessagesState)
    made.add_node("model", lambda state: {"messages": [model.invoke(state["messages"])]})
    made.add_node("tools", tools)
    made.add_edge(START, "model")
    made.add_conditional_edges("model", lambda state: "tools" if state["messages"][-1].tool_calls else "__end__")
    made.add_edge("tools", "model")
    world.provider.plan(CALL, SAY)
    made.compile().invoke(QUESTION)
    world.exact(COST)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_node_with_a_guard_is_not_retried_when_denied(world, way):
    calls = []
    guard = cycles.Guard(usd("0.05"), action=("agent.step", "research"), actual=usd("0.03"))

    @guard
    def research(state):
        calls.append(threading.get_ident())
        return {"messages": [("ai", "done")]}

    @guard
    async def research_async(state):
        calls.append(threading.get_ident())
        return {"messages": [("ai", "done")]}

    made = StateGraph(MessagesState)
    policy = RetryPolicy(retry_on=retries.langgraph(), initial_interval=0.0)
    made.add_node("research", research if way == "sync" else research_async, retry_policy=policy)
    made.add_edge(START, "research")
    graph = made.compile()
    run = graph.invoke if way == "sync" else lambda given: asyncio.run(closing(graph.ainvoke(given)))
    run(QUESTION)
    world.settled()
    assert world.ledger == usd("0.03").amount
    world.budget(usd("0.04"))
    world.server.seen.clear()
    with pytest.raises(cycles.BudgetExceeded):
        run(QUESTION)
    assert len(calls) == 1
    assert [seen.operation for seen in world.server.seen] == ["reservations"]
