"""Agents of LangChain whose tools count what they did, and the ways to run them."""

from __future__ import annotations

import asyncio

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

import cycles
from cycles import usd
from cycles.integrations.langchain import CyclesMiddleware
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


def chat(world, **options):
    url = f"{world.provider.url}/v1"
    return ChatOpenAI(model="gpt-metered", base_url=url, api_key="sk-test", max_tokens=200, max_retries=0, **options)


def _anthropic(world):
    url = world.provider.url
    return ChatAnthropic(model="claude-metered", base_url=url, api_key="sk-test", max_tokens=200, max_retries=0)


MODELS = {
    "openai": chat,
    "responses": lambda world: chat(world, use_responses_api=True),
    "anthropic": _anthropic,
}


def middleware(world, **options):
    return CyclesMiddleware(**{"tools": {"search": COST}, "wrap_options": {"prices": world.prices}, **options})


def agent_of(world, ran, model=None, *, before=(), checkpointer=None, **options):
    made = [*before, middleware(world, **options)]
    return create_agent(model or chat(world), [ran.tool], middleware=made, checkpointer=checkpointer)


def invoke(agent, config=None):
    return agent.invoke(QUESTION, config)


def stream(agent, config=None):
    return list(agent.stream(QUESTION, config, stream_mode="messages"))


def ainvoke(agent, config=None):
    return asyncio.run(closing(agent.ainvoke(QUESTION, config)))


def astream(agent, config=None):
    async def work():
        return [part async for part in agent.astream(QUESTION, config, stream_mode="messages")]

    return asyncio.run(closing(work()))


def astream_events(agent, config=None):
    async def work():
        return [event async for event in agent.astream_events(QUESTION, config, version="v2")]

    return asyncio.run(closing(work()))


async def closing(work):
    """End the clients of this loop with it."""
    try:
        return await work
    finally:
        await cycles.aclose()
