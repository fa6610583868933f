"""Pydantic AI's agents on the local provider: model requests and tools, by the SDKs of OpenAI and Anthropic."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("pydantic_ai")

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic_ai import Agent, FunctionToolset
from pydantic_ai.messages import ModelRequest, ToolReturnPart
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

import cycles
from cycles import usd
from cycles.integrations import ToolCallReplayed
from cycles.integrations.pydantic_ai import Budget, GuardedModel, GuardedToolset
from tests.metering.provider import Gate, Turn
from tests.support.authorities import SCOPE

CENT = usd("0.01")
SEARCH = Turn(calls=(("search", {"query": "q"}),))
SAYS = Turn(calls=())


def chat(world):
    client = made(AsyncOpenAI(base_url=f"{world.provider.url}/v1", api_key="sk-none", max_retries=0))
    return OpenAIChatModel("gpt-metered", provider=OpenAIProvider(openai_client=client))


def responses(world):
    client = made(AsyncOpenAI(base_url=f"{world.provider.url}/v1", api_key="sk-none", max_retries=0))
    return OpenAIResponsesModel("gpt-metered", provider=OpenAIProvider(openai_client=client))


def claude(world):
    client = made(AsyncAnthropic(base_url=world.provider.url, api_key="sk-none", max_retries=0))
    return AnthropicModel("claude-metered", provider=AnthropicProvider(anthropic_client=client))


MODELS = [chat, responses, claude]
OPEN = []


def made(client):
    OPEN.append(client)
    return client


def run(work):
    """Run *work*, and close the clients that were made for it in its loop."""

    async def whole():
        try:
            return await work
        finally:
            while OPEN:
                await OPEN.pop().close()

    return asyncio.run(whole())


class Tools:
    """A tool that spends, and how often it ran."""

    def __init__(self):
        self.done = []
        self.running = self.peak = 0
        self.all_here = asyncio.Event()

    async def search(self, query: str) -> str:
        """Look something up."""
        self.done.append(query)
        return f"found {query}"

    async def together(self, number: int) -> int:
        """Wait for all others."""
        self.running += 1
        self.peak = max(self.peak, self.running)
        if self.running == 20:
            self.all_here.set()
        await self.all_here.wait()
        self.done.append(number)
        return number


def agent_of(world, model, tools=None, price=CENT, **options):
    tools = tools or Tools()
    budget = Budget(tools=price, prices=world.prices, **options)
    return Agent(model(world), tools=[tools.search, tools.together], capabilities=[budget]), tools


@pytest.mark.parametrize("model", MODELS)
def test_a_run_that_ends_well(world, model):
    world.provider.plan(SEARCH, SAYS)
    agent, tools = agent_of(world, model)
    assert run(agent.run("hello")).output.startswith("w00")
    assert tools.done == ["q"]
    world.exact(CENT)


@pytest.mark.parametrize("model", MODELS)
def test_a_streamed_run_that_ends_well(world, model):
    world.provider.plan(SEARCH, SAYS)
    agent, tools = agent_of(world, model)

    async def work():
        async with agent.run_stream("hello") as run:
            return [text async for text in run.stream_text(delta=True, debounce_by=None)]

    assert "".join(run(work())).startswith("w00")
    assert tools.done == ["q"]
    world.exact(CENT)


@pytest.mark.parametrize("model", MODELS)
def test_a_streamed_run_that_is_left_early(world, model):
    gate = Gate()
    world.provider.plan(Turn(calls=(), gate=gate))
    agent, _ = agent_of(world, model)
    gate.open(3)

    async def work():
        async with agent.run_stream("hello") as run:
            async for _ in run.stream_text(delta=True, debounce_by=None):
                break

    run(work())
    world.bounded()
    assert world.ledger > 0


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_denied_in_the_model(world, model, streamed):
    """The denial ends the run as itself, and nothing reaches the provider."""
    world.budget(usd("0.001"))
    agent, tools = agent_of(world, model)

    async def work():
        if not streamed:
            return await agent.run("hello")
        async with agent.run_stream("hello") as run:
            return await run.get_output()

    with pytest.raises(cycles.BudgetExceeded):
        run(work())
    assert world.provider.bills == []
    assert tools.done == []
    world.exact()


def test_denied_in_a_tool_ends_the_run(world):
    world.provider.plan(SEARCH, SAYS)
    agent, tools = agent_of(world, chat, price=usd("70"))
    with pytest.raises(cycles.BudgetExceeded):
        run(agent.run("hello"))
    assert tools.done == []
    assert len(world.provider.bills) == 1
    world.exact()


def test_denied_in_a_tool_as_a_message(world):
    """The model is told that the call failed, and when it may succeed; the run goes on."""
    world.provider.plan(SEARCH, SAYS)
    agent, tools = agent_of(world, chat, price=usd("70"), on_denied="message")
    result = run(agent.run("hello"))
    assert tools.done == []
    (told,) = _returned(result)
    assert told.outcome == "failed"
    assert "BUDGET_EXCEEDED" in told.content
    assert "status: error" in told.content
    assert SCOPE not in told.content
    world.exact()


def _returned(result):
    parts = [part for message in result.all_messages() if isinstance(message, ModelRequest) for part in message.parts]
    return [part for part in parts if isinstance(part, ToolReturnPart)]


def test_a_runaway_ends_at_its_limit(world):
    """The model calls its tool for ever; the run's limit is what ends it."""
    world.provider.usual = SEARCH
    agent, tools = agent_of(world, chat)

    async def work():
        async with cycles.Limit(usd("0.15"), action=("agent.run", "runaway")):
            await agent.run("hello")

    with pytest.raises(cycles.BudgetExceeded):
        run(work())
    assert 0 < len(tools.done) < 15
    world.settled()
    assert world.ledger == world.provider.microcents + len(tools.done) * CENT.amount <= usd("0.15").amount


def test_twenty_tools_at_once(world):
    world.provider.plan(Turn(calls=tuple(("together", {"number": number}) for number in range(20))), SAYS)
    agent, tools = agent_of(world, chat)
    run(agent.run("hello"))
    assert sorted(tools.done) == list(range(20))
    assert tools.peak == 20
    world.exact(*[CENT] * 20)


def test_a_replayed_tool_call_is_not_run_again(world):
    """A run that goes on from a history which ends in a tool call runs the call, if it has not begun before."""
    world.provider.plan(SEARCH, SAYS, SAYS)
    agent, tools = agent_of(world, chat)
    result = run(agent.run("hello"))
    history = result.all_messages()[:2]  # as a checkpoint from before the tool ran has it
    with pytest.raises(ToolCallReplayed):
        run(agent_of(world, chat, tools)[0].run(message_history=history))
    assert tools.done == ["q"]
    world.exact(CENT)


def test_a_replayed_tool_call_as_a_message(world):
    world.provider.plan(SEARCH, SAYS, SAYS)
    agent, tools = agent_of(world, chat)
    history = run(agent.run("hello")).all_messages()[:2]
    again, _ = agent_of(world, chat, tools, on_denied="message")
    (told,) = _returned(run(again.run(message_history=history)))
    assert "begun before" in told.content
    assert tools.done == ["q"]
    world.exact(CENT)


def test_the_model_of_a_run_is_guarded_too(world):
    """`run(model=…)` and a fallback can't walk around the budget; what fell back is charged where it was answered."""
    agent, _ = agent_of(world, chat)
    world.provider.plan(Turn(status=503), SAYS)
    run(agent.run("hello", model=FallbackModel(claude(world), chat(world))))
    world.exact()
    assert [bill.model for bill in world.provider.bills] == ["claude-metered", "gpt-metered"]
    world.budget(usd("0.001"))
    with pytest.raises(cycles.BudgetExceeded):
        run(agent.run("hello", model=FallbackModel(claude(world), chat(world))))
    assert len(world.provider.bills) == 2


def test_one_loop_after_another(world):
    """A provider makes a new HTTP client for each event loop: that one is metered as well."""
    provider = OpenAIProvider(base_url=f"{world.provider.url}/v1", api_key="sk-none")
    model = OpenAIChatModel("gpt-metered", provider=provider)
    agent = Agent(GuardedModel(model, prices=world.prices))

    async def work():
        async with agent:
            await agent.run("hello")

    for _ in range(3):
        run(work())
    world.exact()
    assert len(world.provider.bills) == 3


def test_a_guarded_model_and_toolset_alone(world):
    world.provider.plan(SEARCH, SAYS)
    tools = Tools()
    toolset = GuardedToolset(FunctionToolset([tools.search]), CENT)
    agent = Agent(GuardedModel(chat(world), prices=world.prices), toolsets=[toolset])
    run(agent.run("hello"))
    assert tools.done == ["q"]
    world.exact(CENT)


def test_who_spends(world):
    world.budget(usd("1"), f"{SCOPE}/workspace:u-17")
    world.provider.plan(SEARCH, SAYS)
    agent, _ = agent_of(world, chat)

    async def work():
        with cycles.subject(workspace="u-17"):
            await agent.run("hello")

    run(work())
    world.exact(CENT)
    assert world.spent_at("workspace:u-17") == world.ledger


def test_an_unguarded_tool(world):
    world.provider.plan(SEARCH, SAYS)
    agent, tools = agent_of(world, chat, price=lambda name, given: None)
    run(agent.run("hello"))
    assert tools.done == ["q"]
    world.exact()


def test_what_cannot_be_metered_is_refused(world):
    guarded = GuardedModel(chat(world), prices=world.prices)
    with pytest.raises(cycles.InvalidRequest, match="guarded already"):
        GuardedModel(guarded)
    agent = Agent(GuardedModel(responses(world), prices=world.prices), model_settings={"openai_transport": "websocket"})
    with pytest.raises(cycles.Unmeterable, match="websocket"):
        run(agent.run("hello"))
    assert world.provider.bills == []


def test_a_test_model_costs_nothing(world):
    agent = Agent(TestModel(call_tools=[]), capabilities=[Budget()])
    run(agent.run("hello"))
    world.exact()
