"""Agents of LangChain, and graphs of LangGraph: what they spend is in the ledger, and a denial ends them."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("langchain", reason="nox -s integrations has it")
pytest.importorskip("langchain_openai", reason="nox -s integrations has it")
pytest.importorskip("langchain_anthropic", reason="nox -s integrations has it")

from langchain.agents import create_agent
from langchain.agents.middleware import ModelRetryMiddleware, ToolRetryMiddleware
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, RetryPolicy, interrupt

import cycles
from cycles import usd
from cycles.integrations import ToolCallReplayed, retries
from cycles.integrations.langchain import CyclesMiddleware, metered
from tests.metering.provider import Turn

COST = usd("0.01")
QUESTION = {"messages": [("user", "Wie heißt du?")]}
SEARCH = ("search", {"query": "x"})
CALL = Turn(calls=(SEARCH,))
SAY = Turn(calls=())


class Ran:
    """Tools that count what they did."""

    def __init__(self) -> None:
        self.queries: list[str] = []
        self.errors: list[BaseException] = []

        @tool
        def search(query: str) -> str:
            """Look something up."""
            self.queries.append(query)
            if self.errors:
                raise self.errors.pop()
            return f"found {query}"

        self.tool = search


@pytest.fixture
def ran():
    return Ran()


@pytest.fixture(params=["openai", "responses", "anthropic"])
def model(request, world):
    if request.param == "anthropic":
        url = world.provider.url
        return ChatAnthropic(model="claude-metered", base_url=url, api_key="sk-test", max_tokens=200, max_retries=0)
    return chat(world, use_responses_api=request.param == "responses")


def chat(world, **options):
    url = f"{world.provider.url}/v1"
    return ChatOpenAI(model="gpt-metered", base_url=url, api_key="sk-test", max_tokens=200, max_retries=0, **options)


def middleware(world, **options):
    return CyclesMiddleware(**{"tools": {"search": COST}, "wrap_options": {"prices": world.prices}, **options})


def agent_of(world, ran, model=None, *, before=(), checkpointer=None, **options):
    made = [*before, middleware(world, **options)]
    return create_agent(model or chat(world), [ran.tool], middleware=made, checkpointer=checkpointer)


def _invoke(agent, config=None):
    return agent.invoke(QUESTION, config)


def _stream(agent, config=None):
    return list(agent.stream(QUESTION, config, stream_mode="messages"))


def _ainvoke(agent, config=None):
    return asyncio.run(_closing(agent.ainvoke(QUESTION, config)))


def _astream(agent, config=None):
    async def work():
        return [part async for part in agent.astream(QUESTION, config, stream_mode="messages")]

    return asyncio.run(_closing(work()))


def _astream_events(agent, config=None):
    async def work():
        return [event async for event in agent.astream_events(QUESTION, config, version="v2")]

    return asyncio.run(_closing(work()))


async def _closing(work):
    """End the clients of this loop with it."""
    try:
        return await work
    finally:
        await cycles.aclose()


WAYS = pytest.mark.parametrize("way", [_invoke, _stream, _ainvoke, _astream, _astream_events])


# -- agents ------------------------------------------------------------------------------------------------------------
@WAYS
def test_a_run_that_ends_well(world, ran, model, way):
    world.provider.plan(CALL, CALL, SAY)
    way(agent_of(world, ran, model))
    assert ran.queries == ["x", "x"]
    world.exact(COST, COST)
    streamed = way is not _invoke and way is not _ainvoke
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


@pytest.mark.parametrize("way", [_invoke, _astream])
def test_a_denied_tool_can_be_told_to_the_model(world, ran, model, way):
    world.provider.plan(CALL, SAY)
    way(agent_of(world, ran, model, tools={"search": usd("20")}, on_denied="message"))
    assert ran.queries == []
    assert "too little left" in str(world.provider.seen[-1][1])
    world.exact()


def test_what_the_model_is_told_is_an_error_with_its_reason(world, ran):
    world.provider.plan(CALL, SAY)
    told = _invoke(agent_of(world, ran, tools={"search": usd("20")}, on_denied="message"))["messages"][2]
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


@pytest.mark.parametrize("way", [_invoke, _ainvoke])
def test_a_limit_around_a_run_covers_models_and_tools(world, ran, way):
    world.provider.usual = CALL
    limit = cycles.Limit(usd("0.1"), action=("agent.run", "test"))
    agent = agent_of(world, ran)
    if way is _invoke:
        with pytest.raises(cycles.BudgetExceeded) as refused, limit:
            agent.invoke(QUESTION, {"recursion_limit": 1000})
    else:

        async def work():
            async with limit:
                await agent.ainvoke(QUESTION, {"recursion_limit": 1000})

        with pytest.raises(cycles.BudgetExceeded) as refused:
            asyncio.run(_closing(work()))
    assert refused.value.limit is limit
    world.settled()
    assert world.ledger == world.provider.microcents + COST.amount * len(ran.queries)
    assert world.holds("tool.call") == world.holds("llm.completion") == []


@pytest.mark.parametrize("way", [_invoke, _ainvoke])
def test_twenty_tools_at_once(world, ran, model, way):
    calls = tuple(("search", {"query": str(index)}) for index in range(20))
    model = model.model_copy(update={"max_tokens": 2000})
    world.provider.plan(Turn(calls=calls), SAY)
    way(agent_of(world, ran, model))
    assert sorted(ran.queries, key=int) == [str(index) for index in range(20)]
    world.exact(*[COST] * 20)


@pytest.mark.parametrize("way", [_invoke, _ainvoke])
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
    asyncio.run(_closing(work()))
    world.bounded(COST)


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
        _invoke(agent_of(world, ran))
    assert ran.queries == ["x", "x"]
    world.exact(COST, COST)


# -- beside other middleware -------------------------------------------------------------------------------------------
def test_retries_of_langchain_leave_a_denial_alone(world, ran):
    world.provider.usual = CALL
    before = [ModelRetryMiddleware(retry_on=retries.langgraph()), ToolRetryMiddleware(retry_on=retries.langgraph())]
    with pytest.raises(cycles.BudgetExceeded):
        _invoke(agent_of(world, ran, before=before, tools=usd("20")))
    world.server.seen.clear()
    world.budget(usd("0.0001"))
    with pytest.raises(cycles.BudgetExceeded):
        _invoke(agent_of(world, ran, before=before))
    assert [seen.operation for seen in world.server.seen] == ["reservations"]


def test_a_retried_tool_is_charged_once(world, ran):
    world.provider.plan(CALL, SAY)
    ran.errors += [ConnectionError("a"), ConnectionError("b")]
    retrying = ToolRetryMiddleware(retry_on=retries.langgraph(), initial_delay=0.0, jitter=False)
    _invoke(agent_of(world, ran, before=[retrying]))
    assert ran.queries == ["x"] * 3
    world.exact(COST)


# -- who spends, and what is asked -------------------------------------------------------------------------------------
@pytest.mark.parametrize("way", [_invoke, _astream])
def test_the_agent_is_who_spends(world, ran, way):
    world.budget(usd("1"), "tenant:acme/agent:researcher")
    world.provider.plan(CALL, SAY)
    way(agent_of(world, ran, agent="researcher"))
    world.exact(COST)
    assert world.spent_at("agent:researcher") == world.ledger


def test_a_tool_may_have_terms_of_its_own(world, ran):
    world.provider.plan(CALL, SAY)
    terms = {"estimate": usd("0.05"), "actual": usd("0.03"), "action": ("tool.http", "web"), "toolset": "web"}
    _invoke(agent_of(world, ran, tools={"search": terms}))
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
    _ainvoke(create_agent(chat(world), [search], middleware=[middleware(world)]))
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
                _invoke(agent)
            world.provider.turns.clear()
        else:
            assert _invoke(agent)["messages"][2].status == "error"


# -- models that can't be metered, or are already ----------------------------------------------------------------------
@pytest.mark.parametrize("way", [_invoke, _ainvoke])
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
    _invoke(agent_of(world, ran, metered(chat(world), prices=world.prices)))
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

    asyncio.run(_closing(work()))
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
    run = graph.invoke if way == "sync" else lambda given: asyncio.run(_closing(graph.ainvoke(given)))
    run(QUESTION)
    world.settled()
    assert world.ledger == usd("0.03").amount
    world.budget(usd("0.04"))
    world.server.seen.clear()
    with pytest.raises(cycles.BudgetExceeded):
        run(QUESTION)
    assert len(calls) == 1
    assert [seen.operation for seen in world.server.seen] == ["reservations"]


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
