"""`cycles mcp`: an agent budgets itself over MCP, by the real client, which checks every answer against its schema."""

from __future__ import annotations

import asyncio
import os
import sys

import jsonschema
import pytest

pytest.importorskip("mcp")

from mcp import StdioServerParameters
from mcp.client import Client
from mcp.client.stdio import stdio_client

import cycles
from cycles import usd
from cycles.integrations._budget_answers import amount_of
from cycles.integrations._budget_server import TOOLS, budget_server
from cycles.integrations.mcp import denial_in
from tests.support.authorities import SCOPE, UNIT

WORK = {"action_kind": "llm.completion", "action_name": "gpt-4o"}


class Agent:
    """A client stricter than any: also what is in an error is checked against the schema."""

    def __init__(self, client, tools):
        self.client, self.tools = client, {tool.name: tool for tool in tools}

    async def call(self, name, **arguments):
        schema = self.tools[name].output_schema
        assert schema["type"] == "object"
        result = await self.client.call_tool(name, arguments)
        if result.structured_content is not None or not result.is_error:
            jsonschema.Draft202012Validator(schema).validate(result.structured_content)
        return result

    async def ask(self, name, **arguments):
        result = await self.call(name, **arguments)
        assert not result.is_error, result.content
        return result.structured_content

    async def refused(self, name, **arguments):
        result = await self.call(name, **arguments)
        assert result.is_error
        return result


def run(work, config):
    async def whole():
        async with Client(budget_server(config)) as client:
            await work(Agent(client, (await client.list_tools()).tools))

    asyncio.run(whole())


def held(world):
    return world.authority.balance(SCOPE, UNIT).reserved


def test_the_tools(world):
    async def work(agent):
        assert list(agent.tools) == list(TOOLS)
        assert list(TOOLS) == ["balance", "decide", "reserve", "commit", "release", "extend", "event", "list"]
        for tool in agent.tools.values():
            assert tool.description
            jsonschema.Draft202012Validator.check_schema(tool.output_schema)
            jsonschema.Draft202012Validator.check_schema(tool.input_schema)

    run(work, world.config)


def test_reserve_and_commit(world):
    async def work(agent):
        reserved = await agent.ask("reserve", amount="0.10", **WORK)
        assert reserved["reserved"] == {"unit": UNIT, "amount": 10_000_000, "text": "$0.10"}
        assert held(world) == 10_000_000
        settled = await agent.ask("commit", reservation_id=reserved["reservation_id"], amount="0.07")
        assert settled["state"] == "COMMITTED"
        assert settled["charged"]["text"] == "$0.07"
        again = await agent.ask("commit", reservation_id=reserved["reservation_id"], amount="0.07")
        assert again == settled
        other = await agent.refused("commit", reservation_id=reserved["reservation_id"], amount="0.08")
        assert "COMMITTED already" in other.content[0].text

    run(work, world.config)
    assert (world.ledger, held(world)) == (7_000_000, 0)


def test_release_and_extend(world):
    async def work(agent):
        reserved = await agent.ask("reserve", amount="0.10", ttl=30, **WORK)
        extended = await agent.ask("extend", reservation_id=reserved["reservation_id"], seconds=600)
        assert extended["expires_at"] > reserved["expires_at"]
        released = await agent.ask("release", reservation_id=reserved["reservation_id"], reason="not needed")
        assert released["state"] == "RELEASED"
        assert await agent.ask("release", reservation_id=reserved["reservation_id"]) == released
        await agent.refused("commit", reservation_id=reserved["reservation_id"], amount="0.01")

    run(work, world.config)
    assert (world.ledger, held(world)) == (0, 0)


def test_a_denial_is_an_error_that_says_why(world):
    world.budget(usd("0.05"))

    async def work(agent):
        denied = await agent.refused("reserve", amount="0.10", **WORK)
        assert denied.structured_content is None
        assert "BUDGET_EXCEEDED" in denied.content[0].text
        assert "$0.05 left" in denied.content[0].text
        assert type(denial_in(denied)) is cycles.BudgetExceeded
        said = await agent.ask("decide", amount="0.10", **WORK)
        assert (said["allowed"], said["reason_code"]) == (False, "BUDGET_EXCEEDED")
        assert (await agent.ask("decide", amount="0.05", **WORK))["allowed"]

    run(work, world.config)


def test_event_balance_and_list(world):
    world.budget(usd("3.00"), f"{SCOPE}/workspace:u-17")

    async def work(agent):
        event = {"amount": "0.02", "workspace": "u-17", "idempotency_key": "e1", **WORK}
        assert (await agent.ask("event", **event))["charged"]["text"] == "$0.02"
        await agent.ask("event", **event)  # the same key: the same event
        balances = (await agent.ask("balance", workspace="u-17"))["balances"]
        assert [(row["scope"], row["remaining"]["text"]) for row in balances] == [(f"{SCOPE}/workspace:u-17", "$2.98")]
        for number in range(3):
            reserved = await agent.ask("reserve", amount=f"0.0{number + 1}", **WORK)
        await agent.ask("commit", reservation_id=reserved["reservation_id"], amount="0.03")
        listed = await agent.ask("list", limit=2)
        assert (len(listed["reservations"]), listed["more"]) == (2, True)
        assert len((await agent.ask("list", status="ACTIVE"))["reservations"]) == 2
        assert (await agent.ask("list", status="COMMITTED"))["reservations"][0]["charged"]["text"] == "$0.03"

    run(work, world.config)
    assert (world.ledger, held(world)) == (5_000_000, 0)


def test_the_same_key_is_the_same_reservation(world):
    """Also of two that come at once; another payload under the key is refused."""

    async def work(agent):
        asked = {"amount": "0.10", "idempotency_key": "k1", **WORK}
        first, second = await asyncio.gather(agent.ask("reserve", **asked), agent.ask("reserve", **asked))
        assert first["reservation_id"] == second["reservation_id"]
        assert held(world) == 10_000_000
        refused = await agent.refused("reserve", **{**asked, "amount": "0.11"})
        assert "new key" in refused.content[0].text
        await agent.ask("commit", reservation_id=first["reservation_id"], amount="0.04")

    run(work, world.config)
    assert (world.ledger, held(world)) == (4_000_000, 0)


def test_twenty_reservations_at_once(world):
    world.budget(usd("0.07"))

    async def work(agent):
        results = await asyncio.gather(*(agent.call("reserve", amount="0.01", **WORK) for _ in range(20)))
        granted = [result.structured_content["reservation_id"] for result in results if not result.is_error]
        assert len(granted) == 7
        await asyncio.gather(*(agent.ask("commit", reservation_id=each, amount="0.01") for each in granted))

    run(work, world.config)
    assert (world.ledger, held(world)) == (7_000_000, 0)


def test_what_is_open_at_the_end_of_the_session_is_released(world):
    async def work(agent):
        await agent.ask("reserve", amount="0.10", **WORK)
        assert held(world) == 10_000_000

    run(work, world.config)
    assert (world.ledger, held(world)) == (0, 0)


def test_mistakes_are_answers(world):
    async def work(agent):
        for wrong in ("x", "-1", "NaN", "0.000000001", "1e30"):
            await agent.refused("reserve", amount=wrong, **WORK)
        await agent.refused("reserve", amount="1.5", unit="tokens", **WORK)
        await agent.refused("reserve", amount="1", unit="euro", **WORK)
        unknown = await agent.refused("commit", reservation_id="nobody's", amount="0.01")
        assert "not held by this session" in unknown.content[0].text

    run(work, world.config)
    assert held(world) == 0


def test_amounts_as_agents_write_them():
    assert amount_of("$1,000.50", "usd") == usd("1000.50")
    assert amount_of(" 1_500 ", "tokens") == cycles.tokens(1500)
    assert amount_of("1e3", "credits") == cycles.credits(1000)
    assert amount_of("7.0", "risk_points") == cycles.risk_points(7)


def test_the_command_over_stdio(world, tmp_path):
    """A process of its own: the real client starts it, and its end releases what is open."""
    environ = {
        "PATH": os.environ["PATH"],
        "CYCLES_BASE_URL": world.server.url,
        "CYCLES_API_KEY": world.config.api_key,
        "CYCLES_TENANT": "acme",
        "CYCLES_JOURNAL_DIR": str(tmp_path / "journal"),
    }
    started = StdioServerParameters(command=sys.executable, args=["-m", "cycles.cli", "mcp"], env=environ)

    async def whole():
        async with Client(stdio_client(started)) as client:
            agent = Agent(client, (await client.list_tools()).tools)
            await agent.ask("reserve", amount="0.10", **WORK)
            second = await agent.ask("reserve", amount="0.20", **WORK)
            await agent.ask("commit", reservation_id=second["reservation_id"], amount="0.15")
            assert held(world) == 10_000_000

    asyncio.run(whole())
    world.server.wait_for("release")
    assert (world.ledger, held(world)) == (15_000_000, 0)
