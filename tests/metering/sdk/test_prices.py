"""`cost_of` with the classes of the SDKs themselves, where they are installed (`nox -s metering`)."""

from __future__ import annotations

import pytest

import cycles
from cycles import Prices, usd

MILLION = 1_000_000
PRICES = Prices({"my-model": {"input": 2, "cached_input": 1, "cache_write": 3, "output": 4}})


def test_openai():
    chat = pytest.importorskip("openai.types.chat")
    responses = pytest.importorskip("openai.types.responses")
    types = pytest.importorskip("openai.types")
    usage = {
        "prompt_tokens": MILLION,
        "completion_tokens": MILLION,
        "total_tokens": 2 * MILLION,
        "prompt_tokens_details": {"cached_tokens": MILLION // 2},
    }
    answer = chat.ChatCompletion.construct(
        id="c", model="my-model", choices=[], created=1, object="chat.completion", usage=usage
    )
    assert PRICES.cost_of(answer) == usd("5.5")
    assert PRICES.cost("openai", "my-model", types.CompletionUsage.construct(**usage)) == usd("5.5")
    told = {
        "input_tokens": MILLION,
        "input_tokens_details": {"cached_tokens": MILLION, "cache_write_tokens": 0},
        "output_tokens": MILLION,
        "output_tokens_details": {"reasoning_tokens": 5},
        "total_tokens": 2 * MILLION,
    }
    response = responses.Response.construct(id="r", model="my-model", output=[], object="response", usage=told)
    assert PRICES.cost_of(response) == usd(5)
    assert PRICES.cost("openai", "my-model", responses.ResponseUsage.construct(**told)) == usd(5)
    numbers = [types.Embedding.construct(embedding=[0.5] * 10, index=0, object="embedding")]
    embedded = types.CreateEmbeddingResponse.construct(
        data=numbers, model="my-model", object="list", usage={"prompt_tokens": MILLION, "total_tokens": MILLION}
    )
    assert PRICES.cost_of(embedded) == usd(2)


def test_answers_that_openais_sdk_reads_for_others():
    pytest.importorskip("genai_prices")
    chat = pytest.importorskip("openai.types.chat")
    usage = {
        "prompt_tokens": MILLION,
        "completion_tokens": 0,
        "total_tokens": MILLION,
        "prompt_cache_hit_tokens": MILLION,
    }
    answer = chat.ChatCompletion.construct(id="c", model="deepseek-chat", choices=[], usage=usage)
    assert Prices().cost_of(answer) == Prices().cost("deepseek", "deepseek-chat", usage)


def test_anthropic():
    types = pytest.importorskip("anthropic.types")
    usage = types.Usage.construct(
        input_tokens=6, cache_creation_input_tokens=MILLION, cache_read_input_tokens=MILLION, output_tokens=MILLION
    )
    answer = types.Message.construct(
        id="m", type="message", model="my-model", role="assistant", content=[], usage=usage
    )
    assert PRICES.cost_of(answer) == PRICES.cost("anthropic", "my-model", usage) == usd("8.000012")
    delta = types.MessageDeltaUsage.construct(input_tokens=6, output_tokens=MILLION)
    assert PRICES.cost("anthropic", "my-model", delta) == usd("4.000012")


def test_google():
    types = pytest.importorskip("google.genai.types")
    usage = types.GenerateContentResponseUsageMetadata(
        prompt_token_count=MILLION,
        cached_content_token_count=MILLION // 2,
        prompt_tokens_details=[types.ModalityTokenCount(modality="AUDIO", token_count=5)],
        candidates_token_count=MILLION - 5,
        thoughts_token_count=5,
    )
    answer = types.GenerateContentResponse(model_version="my-model", usage_metadata=usage, candidates=[])
    assert PRICES.cost_of(answer) == PRICES.cost("google", "my-model", usage) == usd("5.5")


def test_a_stream_is_no_answer():
    openai = pytest.importorskip("openai")
    stream = object.__new__(openai.Stream)
    with pytest.raises(cycles.InvalidRequest, match=r"Stream.*collect it first"):
        PRICES.cost_of(stream)
