"""Tools of an MCP server that spend, called by the real client."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("mcp")

from mcp.client import Client
from mcp.server.mcpserver import Context, MCPServer

import cycles
from cycles import usd
from cycles.integrations.mcp import call_meta, denial_in, guarded

CENT = usd("0.01")


class Shop:
    """A server with tools that spend, and what they did.

    Attributes:
        done: What each call that ran was asked for.
        peak: How many calls ran at once.
    """

    def __init__(self) -> None:
        self.server = MCPServer("shop", log_level="CRITICAL")
        self.done: list[str] = []
        self.running = self.peak = 0
        self.all_here = asyncio.Event()
        done = self.done

        @self.server.tool()
        @guarded(CENT)
        async def search(query: str, count: int = 1) -> list[str]:
            """Look something up."""
            done.append(query)
            return [query] * count

        @self.server.tool()
        @guarded(CENT)
        def lookup(query: str, context: Context) -> str:
            """Look something up, in a thread."""
            assert context.mcp_server is self.server
            done.append(f"{query} in {'the' if threading.current_thread() is threading.main_thread() else 'a'} thread")
            return query

        @self.server.tool()
        @guarded()
        async def inner(query: str) -> str:
            with cycles.Guard(usd("1000"), action=("tool.search", "web")):
                done.append(query)
            return query

        @self.server.tool()
        @guarded(lambda query: usd(query) if query != "free" else None)
        async def priced(query: str) -> str:
            done.append(query)
            return query

        @self.server.tool()
        @guarded(CENT)
        async def together(number: int) -> int:
            self.running += 1
            self.peak = max(self.peak, self.running)
            if self.running == 20:
                self.all_here.set()
            await self.all_here.wait()
            done.append(str(number))
            return number

        @self.server.tool()
        @guarded(CENT)
        async def broken(query: str) -> str:
            done.append(query)
            if done == ["q"]:
                raise RuntimeError("the shop is on fire")
            return query


def run(work):
    """Run *work* with a shop and a client of it; the client has listed the tools, so it checks their schemas."""

    async def whole():
        shop = Shop()
        async with Client(shop.server) as client:
            await client.list_tools()
            await work(shop, client)

    asyncio.run(whole())


def text_of(result):
    return "".join(part.text for part in result.content)


def test_a_call_that_ends_well_is_charged(world):
    async def work(shop, client):
        result = await client.call_tool("search", {"query": "q", "count": 2})
        assert not result.is_error
        assert result.structured_content == {"result": ["q", "q"]}
        assert (await client.call_tool("lookup", {"query": "q"})).structured_content == {"result": "q"}
        assert shop.done == ["q", "q in a thread"]

    run(work)
    world.exact(CENT, CENT)


def test_the_schema_of_a_tool_is_its_own(world):
    async def work(shop, client):
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools["search"].input_schema["properties"]) == {"query", "count"}
        assert set(tools["lookup"].input_schema["properties"]) == {"query"}
        assert tools["search"].description == "Look something up."

    run(work)


def test_the_reason_of_a_denial_reaches_the_client(world):
    """The model reads why; a program raises the same denial; no account of the operator's is told."""
    world.budget(usd("0.005"))

    async def work(shop, client):
        result = await client.call_tool("search", {"query": "q"})
        assert result.is_error
        assert result.structured_content is None
        assert "budget has too little left" in text_of(result)
        assert "BUDGET_EXCEEDED" in text_of(result)
        assert "tenant:acme" not in text_of(result)
        denial = denial_in(result)
        assert type(denial) is cycles.BudgetExceeded
        assert denial.code == "BUDGET_EXCEEDED"
        assert shop.done == []

    run(work)
    world.exact()


def test_a_denial_inside_the_tool_reaches_the_client_too(world):
    async def work(shop, client):
        result = await client.call_tool("inner", {"query": "q"})
        assert result.is_error
        assert type(denial_in(result)) is cycles.BudgetExceeded
        assert shop.done == []

    run(work)


def test_other_results_are_no_denial(world):
    async def work(shop, client):
        failed = await client.call_tool("broken", {"query": "q"})
        assert failed.is_error
        assert denial_in(failed) is None
        assert denial_in(await client.call_tool("search", {"query": "q"})) is None

    run(work)
    world.exact(CENT)


def test_an_estimate_may_depend_on_the_arguments(world):
    world.budget(usd("0.10"))

    async def work(shop, client):
        assert not (await client.call_tool("priced", {"query": "0.04"})).is_error
        assert (await client.call_tool("priced", {"query": "0.07"})).is_error
        assert not (await client.call_tool("priced", {"query": "free"})).is_error
        assert shop.done == ["0.04", "free"]

    run(work)
    world.exact(usd("0.04"))


def test_twenty_calls_at_once(world):
    async def work(shop, client):
        results = await asyncio.gather(*(client.call_tool("together", {"number": number}) for number in range(20)))
        assert [result.structured_content["result"] for result in results] == list(range(20))
        assert shop.peak == 20

    run(work)
    world.exact(*[CENT] * 20)


def test_a_budget_for_seven_of_twenty_calls_runs_seven(world):
    world.budget(usd("0.07"))

    async def work(shop, client):
        results = await asyncio.gather(*(client.call_tool("search", {"query": str(n)}) for n in range(20)))
        assert sum(not result.is_error for result in results) == len(shop.done) == 7
        assert all(denial_in(result) is not None for result in results if result.is_error)

    run(work)
    world.exact(*[CENT] * 7)


def test_a_replayed_call_is_not_run_again(world):
    """The client names its run and its call. Another call of the run, and the same id in another run, do run."""

    async def work(shop, client):
        def call(run_id, call_id):
            return client.call_tool("search", {"query": f"{run_id} {call_id}"}, meta=call_meta(run_id, call_id))

        assert not (await call("r1", "c1")).is_error
        again = await call("r1", "c1")
        assert again.is_error
        assert "begun before" in text_of(again)
        assert denial_in(again) is None
        assert not (await call("r1", "c2")).is_error
        assert not (await call("r2", "c1")).is_error
        assert shop.done == ["r1 c1", "r1 c2", "r2 c1"]

    run(work)
    world.exact(CENT, CENT, CENT)


def test_a_call_that_failed_may_be_replayed(world):
    """A call that raised is not charged, and runs again."""

    async def work(shop, client):
        def call():
            return client.call_tool("broken", {"query": "q"}, meta=call_meta("r1", "c1"))

        assert (await call()).is_error
        assert not (await call()).is_error
        assert (await call()).is_error
        assert shop.done == ["q", "q"]

    run(work)
    world.exact(CENT)


def test_what_is_no_client_is_refused():
    with pytest.raises(cycles.InvalidRequest, match="give a cycles"):
        guarded(CENT, client="no client")
