"""Other ways to call the SDKs, other clients and other units: one transport is beneath them all."""

from __future__ import annotations

import asyncio
import json
import logging

import openai
import pytest

import cycles
from cycles import usd
from tests.metering.provider import Gate, Turn
from tests.metering.sdk.apis import HTTP, MOST, OLD, PROMPT
from tests.metering.sdk.world import prices
from tests.support.waiting import PATIENCE

pytestmark = [
    pytest.mark.cycles(budget=["usd:1000", "tokens:1000000"]),
    pytest.mark.filterwarnings("ignore:Inheritance class Aiohttp:DeprecationWarning"),  # google-genai's own
]
KINDS = Turn(reasoning=5, read=4)


def test_budget_in_tokens(world):
    """What was billed counts, whatever its kind; no prices are needed."""
    world.provider.usual = KINDS
    client = world.client(unit="TOKENS", prices=None)
    world.api.ask(client)
    list(world.api.deltas(world.api.open(client)))
    counts = [bill.counts for bill in world.provider.over()]
    assert world.authority.spent("tokens").amount == sum(each.input + each.output for each in counts)


@pytest.mark.cycles(caps={"max_tokens": 7})
def test_caps_lower_the_output_that_is_asked_for(world):
    client = world.client()
    world.api.ask(client)
    list(world.api.deltas(world.api.open(client)))
    assert [bill.asked_output for bill in world.provider.over()] == [7, 7]
    world.exact()


@pytest.mark.cycles(caps={"tool_denylist": ["search"]})
def test_a_denied_tool_is_not_on_offer(world):
    assert world.api.text(world.api.call(world.client())).startswith("w00 ")
    assert "search" not in json.dumps(world.provider.seen[0][1])
    world.exact()


@pytest.mark.cycles(budget=None)
def test_fit_asks_for_what_the_budget_pays(world):
    """The estimate is too much for the budget, an answer of fewer tokens is not."""
    world.authority.budget(world.authority.scope, usd("1000"))
    world.api.ask(world.client())
    whole = world.estimate()
    world.authority.budget(world.authority.scope, cycles.usd_microcents(world.ledger + whole - whole // 8))
    world.api.ask(world.client(fit=True, min_output=10))
    first, fitted = (bill.asked_output for bill in world.provider.over())
    assert first == MOST
    assert 10 <= fitted < MOST
    world.exact()


def test_every_attempt_that_timed_out_is_charged(world):
    gates = [Turn(gate=Gate()), Turn(gate=Gate())]
    world.provider.plan(*gates)
    if world.api.counts_retries:
        with pytest.raises(world.api.timed_out):
            world.api.ask(world.client(timeout=0.3, retries=1))
        assert len(world.provider.over()) == 2
        world.bounded("estimate")
        assert world.ledger == world.estimate()
        return
    world.api.ask(world.client(timeout=0.3, retries=1))  # it tries until it is answered
    world.settled()
    *lost, answered = world.provider.bills
    assert len(lost) >= len(gates)
    assert len(world.charged()) == len(world.provider.bills)
    assert world.charged()[1:] == [world.estimate() // len(world.provider.bills)] * len(lost)
    assert world.charged()[0] == answered.microcents


def test_copies_and_raw_responses(world):
    """What `with_options` makes is metered, too; who wants the raw response gets it, decoded or not."""
    if world.api.name in ("Gemini", "Mistral"):
        pytest.skip("its client has neither")
    world.provider.plan(KINDS, Turn(gzip=True, reasoning=5, read=4))
    client = world.client().with_options(max_retries=1)
    place = client.messages if world.api.name == "Anthropic messages" else client
    if world.api.name == "OpenAI chat":
        place = client.chat.completions
    elif world.api.name == "OpenAI responses":
        place = client.responses
    asked = {"model": world.api.model} | (
        {"input": PROMPT, "max_output_tokens": MOST}
        if world.api.name == "OpenAI responses"
        else {"messages": [{"role": "user", "content": PROMPT}], "max_tokens": MOST}
    )
    raw = place.with_raw_response.create(**asked)
    assert world.api.text(raw.parse()).startswith("w00 ")
    with place.with_streaming_response.create(**asked) as response:
        told = json.loads(response.read())
    assert "usage" in told
    world.exact()
    assert len(world.charged()) == 2


def test_a_copy_around_another_http_client(world):
    if world.api.name in ("Gemini", "Mistral"):
        pytest.skip("its client makes no copies")
    client = world.client()
    world.api.ask(client.with_options(http_client=world.bare(client)._client))
    world.exact()
    assert len(world.charged()) == 1


def test_sockets_that_pass_are_logged(world, caplog):
    if not world.api.name.startswith("OpenAI"):
        pytest.skip("the SDK opens none")
    client = world.client(unknown="pass")
    with caplog.at_level(logging.WARNING, "cycles.guard"):
        (client.beta.realtime if OLD else client.realtime).connect(model="gpt-metered")
    (record,) = caplog.records
    assert record.cycles_event == "sent without being counted"
    assert record.cycles_request.endswith("realtime.connect")


def test_stream_helpers(world):
    """The SDKs' own helpers around a stream are metered as the stream is."""
    if world.api.name in ("Gemini", "Mistral") or OLD:
        pytest.skip("not in this SDK")
    client = world.client()
    world.provider.plan(KINDS)
    if world.api.name == "Anthropic messages":
        helper = client.messages.stream(**world.api._asked())
    elif world.api.name == "OpenAI chat":
        helper = client.chat.completions.stream(**world.api._asked())
    else:
        helper = client.responses.stream(model=world.api.model, input=PROMPT, max_output_tokens=MOST)
    with helper as stream:
        for _ in stream:
            pass
    world.exact()


def test_the_original_is_not_metered(world):
    wrapped = world.client()
    world.api.ask(world.bare(wrapped))
    assert world.authority.requests == []
    world.api.ask(wrapped)
    assert len(world.charged()) == 1


# -- clients that are no SDK's, and one that has paths of its own ------------------------------------------------------
LIBRARIES = [module for module in HTTP if module.__name__ in ("httpx", "httpx2")]
BARE = {
    "openai": ("/v1/chat/completions", {"model": "gpt-metered", "messages": [{"role": "user", "content": PROMPT}]}),
    "anthropic": (
        "/v1/messages",
        {"model": "claude-metered", "messages": [{"role": "user", "content": PROMPT}], "max_tokens": 50},
    ),
    "google": (
        "/v1beta/models/gemini-metered:generateContent",
        {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]},
    ),
}


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.__name__)
@pytest.mark.parametrize("whose", BARE)
def test_a_bare_client(provider, cycles_authority, library, whose):
    path, body = BARE[whose]
    with library.Client(base_url=provider.url, timeout=PATIENCE) as client:
        wrapped = cycles.wrap(client, provider=whose, prices=prices(), max_output=30)
        assert type(wrapped) is type(client)
        assert wrapped.post(path, json=body).status_code == 200
        assert wrapped.get("/v1/models").status_code == 200
    assert cycles_authority.spent().amount == provider.microcents > 0
    assert len(provider.bills) == 1


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.__name__)
@pytest.mark.parametrize("whose", BARE)
def test_a_bare_asynchronous_client(provider, cycles_authority, library, whose):
    path, body = BARE[whose]

    async def work():
        async with library.AsyncClient(base_url=provider.url, timeout=PATIENCE) as client:
            wrapped = cycles.wrap(client, provider=whose, prices=prices(), max_output=30)
            answers = await asyncio.gather(*(wrapped.post(path, json=body) for _ in range(5)))
            return [answer.status_code for answer in answers]

    assert asyncio.run(work()) == [200] * 5
    assert cycles_authority.spent().amount == provider.microcents > 0


def test_azure(provider, cycles_authority):
    """A deployment's name is in the path, and its price is looked up by the model."""
    azure = openai.AzureOpenAI(api_key="test", api_version="2026-01-01", azure_endpoint=provider.url)
    with cycles.wrap(azure, prices=prices()) as client:
        assert isinstance(client, openai.AzureOpenAI)
        messages = [{"role": "user", "content": PROMPT}]
        client.chat.completions.create(model="gpt-metered", messages=messages)
        list(client.chat.completions.create(model="gpt-metered", messages=messages, stream=True))
    assert provider.seen[0][0].startswith("/openai/deployments/gpt-metered/")
    assert cycles_authority.spent().amount == provider.microcents > 0


@pytest.mark.parametrize("what", [object(), "client", 3], ids=lambda what: type(what).__name__)
def test_what_is_no_client_is_refused_by_name(what):
    with pytest.raises(cycles.InvalidRequest, match=type(what).__name__):
        cycles.wrap(what, prices=prices())
