"""How many tokens an answer says that it used, in one convention for all providers."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from cycles._metering import conventions
from cycles._metering.usage import Usage
from tests.metering.samples import asked, chat, generate, message, respond

PLAIN = {"prompt_tokens": 5, "completion_tokens": 0}


def answer(billable, **body):
    return billable.answer(json.dumps(body).encode())


def test_openais_input_includes_what_was_cached():
    usage = answer(
        chat(),
        model="gpt-4o-2024-08-06",
        service_tier="priority",
        usage={
            "prompt_tokens": 2_459,
            "completion_tokens": 30,
            "total_tokens": 2_489,
            "prompt_tokens_details": {"cached_tokens": 2_455, "audio_tokens": 2, "cache_write_tokens": 1},
            "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 4, "rejected_prediction_tokens": 3},
        },
    )
    assert usage == Usage(
        input_tokens=2_459,
        cache_read_tokens=2_455,
        cache_write_tokens=1,
        input_audio_tokens=2,
        output_tokens=30,
        output_reasoning_tokens=20,
        output_audio_tokens=4,
        model="gpt-4o-2024-08-06",
        terms=(("service_tier", "priority"),),
    )


def test_mistrals_input_includes_what_was_cached_and_its_tier_is_in_the_usage():
    told = {
        "prompt_tokens": 1_280,
        "completion_tokens": 30,
        "total_tokens": 1_310,
        "prompt_tokens_details": {"cached_tokens": 1_216},
        "prompt_audio_seconds": None,
        "service_tier": "priority",
    }
    assert answer(chat("mistral"), model="mistral-large-2512", usage=told) == Usage(
        input_tokens=1_280,
        cache_read_tokens=1_216,
        output_tokens=30,
        model="mistral-large-2512",
        terms=(("service_tier", "priority"),),
    )


def test_anthropics_input_leaves_out_what_was_cached():
    told = {
        "input_tokens": 6,
        "cache_creation_input_tokens": 159_217,
        "cache_read_input_tokens": 100,
        "cache_creation": {"ephemeral_5m_input_tokens": 159_000, "ephemeral_1h_input_tokens": 217},
        "output_tokens": 2_745,
        "output_tokens_details": {"thinking_tokens": 45},
        "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 9},
        "speed": "fast",
        "inference_geo": "us",
    }
    assert answer(message(), type="message", model="claude-opus-4-8", usage=told) == Usage(
        input_tokens=6 + 159_217 + 100,
        cache_read_tokens=100,
        cache_write_tokens=159_217,
        cache_write_1h_tokens=217,
        output_tokens=2_745,
        output_reasoning_tokens=45,
        web_searches=3,
        model="claude-opus-4-8",
        terms=(("inference_geo", "us"), ("speed", "fast")),
    )
    plain = {
        "input_tokens": 6,
        "output_tokens": 1,
        "speed": "standard",
        "inference_geo": "global",
        "service_tier": "priority",
    }
    told = (("inference_geo", "global"), ("speed", "standard"))
    assert answer(message(), usage=plain) == Usage(input_tokens=6, output_tokens=1, terms=told)


def test_what_anthropic_wrote_to_a_cache_is_never_less_than_its_parts():
    hour, minutes = {"ephemeral_1h_input_tokens": 70}, {"ephemeral_5m_input_tokens": 30}
    usage = answer(message(), usage={"input_tokens": 6, "output_tokens": 1, "cache_creation": {**hour, **minutes}})
    assert (usage.input_tokens, usage.cache_write_tokens, usage.cache_write_1h_tokens) == (106, 100, 70)


def test_a_cache_that_the_answer_says_no_more_of_lives_as_long_as_was_asked_for():
    """Others that serve Claude tell only how much was written: for an hour that costs twice the input."""
    told = {"input_tokens": 6, "output_tokens": 1, "cache_creation_input_tokens": 100}
    asked_for = {"type": "ephemeral", "ttl": "1h"}
    assert answer(message(cache_control=asked_for), usage=told).cache_write_1h_tokens == 100
    assert answer(message(cache_control={"type": "ephemeral"}), usage=told).cache_write_1h_tokens == 0
    whole = {**told, "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 100}}
    assert answer(message(cache_control=asked_for), usage=whole).cache_write_1h_tokens == 0


@pytest.mark.parametrize(
    ("provider", "told", "output"),
    [
        ("google", {"prompt_tokens": 11, "completion_tokens": 13, "total_tokens": 327}, 316),
        ("openai", {"prompt_tokens": 21, "completion_tokens": 0, "total_tokens": 81}, 60),
        ("openai", {"prompt_tokens": 21, "completion_tokens": 60, "total_tokens": 81}, 60),
        ("openai", {"prompt_tokens": 21, "completion_tokens": 60, "total_tokens": 70}, 60),
        ("openai", {"prompt_tokens": 21, "completion_tokens": 60, "total_tokens": "many"}, 60),
        ("x-ai", {"prompt_tokens": 9, "completion_tokens": 4, "reasoning_tokens": 7, "total_tokens": 20}, 11),
    ],
)
def test_what_a_total_counts_beside_its_parts_is_output(provider, told, output):
    """Gemini, as it speaks OpenAI's wire, leaves thoughts out of `completion_tokens`, and bills them."""
    assert answer(chat(provider), usage=told).output_tokens == output


def test_what_the_total_of_a_response_counts_beside_its_parts_is_output():
    told = {"input_tokens": 11, "output_tokens": 13, "total_tokens": 327}
    assert answer(respond(), usage=told).output_tokens == 316


@pytest.mark.parametrize(
    "told",
    [
        {"prompt_tokens_details": {"cache_creation_tokens": 70}},
        {"prompt_tokens_details": {"cache_creation_input_tokens": 70}},
        {"cache_creation_input_tokens": 70},
    ],
)
def test_what_others_write_to_a_cache_has_other_names(told):
    assert answer(chat(), usage={"prompt_tokens": 100, "completion_tokens": 1, **told}).cache_write_tokens == 70


@pytest.mark.parametrize(
    ("told", "tier"),
    [
        ({"trafficType": "ON_DEMAND"}, "standard"),
        ({"trafficType": "ON_DEMAND_FLEX"}, "flex"),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, "standard"),
        ({"trafficType": "TRAFFIC_TYPE_UNSPECIFIED"}, None),
        ({"serviceTier": "SERVICE_TIER_PRIORITY"}, "priority"),
        ({"serviceTier": "standard"}, "standard"),
        ({"serviceTier": "of tomorrow"}, "of tomorrow"),
        ({}, None),
    ],
)
def test_googles_tiers_have_several_names(told, tier):
    usage = answer(generate(), usageMetadata={"promptTokenCount": 5, **told})
    assert dict(usage.terms).get("service_tier") == tier


def test_anthropics_totals_leave_out_compactions():
    told = {
        "input_tokens": 23_000,
        "output_tokens": 1_000,
        "iterations": [
            {"type": "compaction", "input_tokens": 180_000, "output_tokens": 3_500, "cache_read_input_tokens": 7},
            {"type": "message", "input_tokens": 23_000, "output_tokens": 1_000},
        ],
    }
    usage = answer(message(), usage=told)
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (203_007, 4_500, 7)


def test_geminis_output_leaves_out_thoughts_and_its_input_what_tools_found():
    usage = answer(
        generate(),
        modelVersion="gemini-2.5-flash",
        candidates=[{"groundingMetadata": {"webSearchQueries": ["a", "b"]}}],
        usageMetadata={
            "promptTokenCount": 100,
            "cachedContentTokenCount": 40,
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 4}],
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 60},
                {"modality": "AUDIO", "tokenCount": 25},
                {"modality": "IMAGE", "tokenCount": 10},
                {"modality": "DOCUMENT", "tokenCount": 5},
            ],
            "toolUsePromptTokenCount": 11,
            "toolUsePromptTokensDetails": [{"modality": "VIDEO", "tokenCount": 11}],
            "candidatesTokenCount": 30,
            "candidatesTokensDetails": [
                {"modality": "IMAGE", "tokenCount": 20},
                {"modality": "TEXT", "tokenCount": 10},
            ],
            "thoughtsTokenCount": 9,
            "totalTokenCount": 150,
            "trafficType": "ON_DEMAND_PRIORITY",
        },
    )
    assert usage == Usage(
        input_tokens=111,
        cache_read_tokens=40,
        cache_audio_read_tokens=4,
        input_audio_tokens=25,
        input_image_tokens=15,
        input_video_tokens=11,
        input_tool_tokens=11,
        output_tokens=39,
        output_reasoning_tokens=9,
        output_image_tokens=20,
        web_searches=1,
        model="gemini-2.5-flash",
        terms=(("service_tier", "priority"),),
    )


def test_from_gemini_3_on_each_query_is_billed():
    candidates = [{"groundingMetadata": {"webSearchQueries": ["a", "b"]}}]
    told = {"modelVersion": "gemini-3.5-flash", "usageMetadata": {"promptTokenCount": 1}}
    assert answer(generate(), candidates=candidates, **told).web_searches == 2
    assert answer(generate(), candidates=[{}], **told).web_searches == 0
    candidates[0]["groundingMetadata"]["imageSearchQueries"] = ["c"]
    assert answer(generate(), candidates=candidates, **told).web_searches == 3


def test_sounds_that_an_answer_does_not_tell_are_as_many_as_were_sent():
    """Gemini has a price of its own for them, and does not count them apart on OpenAI's wire."""
    part = {"type": "input_audio", "input_audio": {"data": "A" * 4_000, "format": "mp3"}}
    billable = chat("google", messages=[{"role": "user", "content": [part]}])
    told = {"prompt_tokens": 1_000, "completion_tokens": 5}
    assert answer(billable, usage=told).input_audio_tokens == billable.bound().input_audio_tokens > 300
    assert answer(billable, usage=told | {"prompt_tokens": 40}).input_audio_tokens == 40
    assert answer(billable, usage=told | {"prompt_tokens_details": {"audio_tokens": 7}}).input_audio_tokens == 7
    assert answer(chat("google"), usage=told).input_audio_tokens == 0


def test_sounds_of_a_response_are_told_apart():
    told = {"input_tokens": 9, "output_tokens": 5}
    details = {"input_tokens_details": {"audio_tokens": 7}, "output_tokens_details": {"audio_tokens": 4}}
    usage = answer(respond(), usage=told | details)
    assert (usage.input_audio_tokens, usage.output_audio_tokens) == (7, 4)


def test_an_embedding_costs_the_total():
    billable = asked("openai", "/v1/embeddings", model="m", input="hi")
    assert answer(billable, usage={"prompt_tokens": 3, "total_tokens": 40}).input_tokens == 40
    assert answer(billable, usage={"prompt_tokens": 3, "total_tokens": "many"}).input_tokens == 3


def test_a_response_counts_its_searches():
    told = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
        "output_tokens": 7,
    }
    calls = [
        {"type": "web_search_call", "action": {"type": "search"}},
        {"type": "web_search_call", "action": {"type": "open_page"}},
        {"type": "web_search_call"},
        {"type": "file_search_call"},
        {"type": "message", "content": []},
    ]
    usage = answer(
        respond(), model="gpt-5", output=calls, usage={**told, "output_tokens_details": {"reasoning_tokens": 5}}
    )
    assert usage == Usage(
        input_tokens=10,
        cache_read_tokens=4,
        cache_write_tokens=3,
        output_tokens=7,
        output_reasoning_tokens=5,
        web_searches=2,
        storage_searches=1,
        model="gpt-5",
    )
    counted = answer(respond(), output=calls, usage=told, tool_usage={"web_search": {"num_requests": 9}})
    assert counted.web_searches == 9


def test_embeddings():
    embedding = asked("openai", "/v1/embeddings", model="text-embedding-3-small", input="a")
    assert answer(embedding, model="text-embedding-3-small", usage={"prompt_tokens": 8, "total_tokens": 8}) == Usage(
        input_tokens=8, model="text-embedding-3-small"
    )
    assert answer(embedding, usage={"total_tokens": 8}) == Usage(input_tokens=8)
    gemini = asked("google", "/v1beta/models/gemini-embedding-2:batchEmbedContents", requests=[])
    assert answer(gemini, embeddings=[], usageMetadata={"promptTokenCount": 5}) == Usage(input_tokens=5)
    assert answer(gemini, embeddings=[]) is None, "older versions of the API say nothing"


@pytest.mark.parametrize("billable", [chat(), respond(), message(), generate()], ids=lambda one: one.action[1])
@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b"{}", b'{"usage": null}', b'{"usage": {}}', b'{"usageMetadata": {}}', b"\xff"]
)
def test_an_answer_without_usage_says_none(billable, body):
    assert billable.answer(body) is None


def test_parts_that_are_no_count_are_none():
    told = {"prompt_tokens": 5.0, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": True}}
    assert answer(chat(), usage=told) == Usage(input_tokens=5)


NO_COUNTS = ("many", "9", -3, None, True, 1.5, [], {})


@pytest.mark.parametrize("garbled", NO_COUNTS, ids=repr)
@pytest.mark.parametrize(
    ("billable", "told"),
    [
        (chat(), {"prompt_tokens": 5, "completion_tokens": 3}),
        (respond(), {"input_tokens": 5, "output_tokens": 3}),
        (message(), {"input_tokens": 5, "output_tokens": 3}),
        (asked("openai", "/v1/embeddings", model="text-embedding-3-small", input="a"), {"prompt_tokens": 5}),
    ],
    ids=["chat", "responses", "messages", "embeddings"],
)
def test_a_usage_whose_totals_are_no_counts_says_none(billable, told, garbled):
    """What it has cost is not known then; nothing would be the one answer that is surely wrong."""
    assert answer(billable, usage=told) is not None
    for name in told:
        assert answer(billable, usage={**told, name: garbled}) is None, name


@pytest.mark.parametrize("garbled", [one for one in NO_COUNTS if one is not None], ids=repr)
def test_a_usage_of_geminis_whose_totals_are_no_counts_says_none(garbled):
    told = {"promptTokenCount": 5, "candidatesTokenCount": 3, "thoughtsTokenCount": 1, "toolUsePromptTokenCount": 2}
    assert answer(generate(), usageMetadata=told).total_tokens == 11
    for name in told:
        assert answer(generate(), usageMetadata={**told, name: garbled}) is None, name


def test_output_that_is_not_told_is_what_the_total_has_more():
    """An embedding has none; Gemini leaves out what is nothing, and its input never is."""
    assert answer(chat(), usage={"prompt_tokens": 5, "total_tokens": 5}).output_tokens == 0
    assert answer(chat(), usage={"prompt_tokens": 5, "total_tokens": 8}).output_tokens == 3
    assert answer(chat(), usage={"prompt_tokens": 5, "total_tokens": 3}) is None
    assert answer(chat(), usage={"prompt_tokens": 5}) is None
    thought = {"promptTokenCount": 5, "toolUsePromptTokenCount": 2, "thoughtsTokenCount": 4}
    assert answer(generate(), usageMetadata={**thought, "totalTokenCount": 11}).output_tokens == 4
    assert answer(generate(), usageMetadata={**thought, "totalTokenCount": 14}).output_tokens == 7
    assert answer(generate(), usageMetadata=thought).output_tokens == 4
    assert answer(generate(), usageMetadata={"totalTokenCount": 11}) is None


@pytest.mark.parametrize(
    ("provider", "told", "output"),
    [
        ("openai", {"completion_tokens_details": {"reasoning_tokens": 5}}, 7),
        ("x-ai", {"completion_tokens_details": {"reasoning_tokens": 5}}, 12),
        ("perplexity", {"reasoning_tokens": 5, "citation_tokens": 2}, 14),
        ("groq", {"reasoning_tokens": 5}, 7),
    ],
)
def test_some_count_reasoning_beside_the_output(provider, told, output):
    usage = answer(chat(provider), usage={"prompt_tokens": 1, "completion_tokens": 7, **told})
    assert (usage.output_tokens, usage.output_reasoning_tokens) == (output, 5)


@pytest.mark.parametrize(
    "told",
    [{"prompt_cache_hit_tokens": 3}, {"cached_tokens": 3}, {"cache_read_input_tokens": 3}],
    ids=["deepseek", "moonshot", "databricks"],
)
def test_other_names_for_what_was_cached(told):
    assert conventions.chat("any", {"usage": {**PLAIN, **told}}).cache_read_tokens == 3


def test_what_a_provider_says_that_it_costs():
    told = {"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.00012345678}
    assert answer(chat("openrouter"), usage=told).dollars == Decimal("0.00012345678")
    assert answer(chat("perplexity"), usage={**told, "cost": {"total_cost": 0.5}}).dollars == Decimal("0.5")
    assert answer(chat("openai"), usage=told).dollars is None
    for odd in (True, "0.1", -1, None):
        assert answer(chat("openrouter"), usage={**told, "cost": odd}).dollars is None
