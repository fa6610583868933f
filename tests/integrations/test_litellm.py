"""LiteLLM's calls on the local provider: through OpenAI's SDK, and through LiteLLM's own HTTP client."""

from __future__ import annotations

import asyncio
import gc
import os

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network for one when it is imported
pytest.importorskip("litellm")

import cycles
from cycles import usd
from cycles.integrations.litellm import Models
from tests.metering.provider import Gate, Turn

pytestmark = pytest.mark.filterwarnings("ignore")  # LiteLLM's own, of pydantic and of clients that it leaves open
MESSAGES = [{"role": "user", "content": "Wie heißt du?"}]
MODELS = ["openai/gpt-metered", "anthropic/claude-metered"]


@pytest.fixture(params=MODELS)
def asked(request, world):
    base = f"{world.provider.url}/v1" if request.param.startswith("openai") else world.provider.url
    return {"model": request.param, "messages": MESSAGES, "api_base": base, "api_key": "sk-none", "max_tokens": 100}


@pytest.fixture
def models(world):
    made = Models(prices=world.prices)
    yield made
    made.close()
    gc.collect()  # here, where the warnings about what LiteLLM leaves open are ignored


def run(models, work):
    async def whole():
        try:
            return await work
        finally:
            await models.aclose()

    return asyncio.run(whole())


def text(answer):
    return answer.choices[0].message.content


def test_a_call_that_ends_well(world, models, asked):
    assert text(models.completion(**asked)).startswith("w00")
    assert text(run(models, models.acompletion(**asked))).startswith("w00")
    world.exact()
    assert len(world.provider.bills) == 2


def test_a_stream_that_ends_well(world, models, asked):
    parts = [part.choices[0].delta.content or "" for part in models.completion(**asked, stream=True)]
    assert "".join(parts).startswith("w00 w01")

    async def work():
        return [part async for part in await models.acompletion(**asked, stream=True)]

    assert run(models, work())
    world.exact()


def test_a_stream_that_is_left_early(world, models, asked):
    gate = Gate()
    world.provider.plan(Turn(gate=gate))
    gate.open(3)

    async def work():
        stream = await models.acompletion(**asked, stream=True)
        async for _ in stream:
            break
        await stream.aclose()
        gate.open(1000)

    run(models, work())
    world.bounded()
    assert world.ledger > 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_denial_comes_out_as_itself(world, models, asked, stream):
    world.budget(usd("0.0001"))
    with pytest.raises(cycles.BudgetExceeded):
        models.completion(**asked, stream=stream)
    with pytest.raises(cycles.BudgetExceeded):
        run(models, models.acompletion(**asked, stream=stream))
    assert world.provider.bills == []
    world.exact()


def test_other_errors_are_litellms_own(world, models, asked):
    world.provider.usual = Turn(status=400)
    with pytest.raises(Exception, match="as the test has planned") as raised:
        models.completion(**asked)
    assert type(raised.value).__module__.startswith("litellm")
    world.exact()


def test_twenty_calls_at_once(world, models, asked):
    async def work():
        return await asyncio.gather(*(models.acompletion(**asked) for _ in range(20)))

    assert len(run(models, work())) == 20
    world.exact()
    assert len(world.provider.bills) == 20


def test_what_cannot_be_metered_is_refused(models):
    with pytest.raises(cycles.InvalidRequest, match="bedrock"):
        models.completion("bedrock/anthropic.claude-3", MESSAGES)
    with pytest.raises(cycles.InvalidRequest, match="fallbacks"):
        models.completion("openai/gpt-metered", MESSAGES, fallbacks=["openai/gpt-4o"])
