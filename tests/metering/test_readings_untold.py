"""What is billed and can't be understood: it is refused, or charged at a bound, and never counts as nothing."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext

import pytest

import cycles
from cycles._metering.request import read
from tests.metering.samples import asked, chat, events, generate, message, respond

NO_COUNTS = ("12", -3, True, 1.5, [], {})
CHAT = {"prompt_tokens": 9, "completion_tokens": 4}
OTHERS = {"input_tokens": 9, "output_tokens": 4}
GEMINI = {"promptTokenCount": 9, "candidatesTokenCount": 4}


def answer(billable, **said):
    return billable.answer(json.dumps(said).encode())


def streamed(billable, *contents, whole=False):
    """Return a reading of a stream of which these contents have come."""
    reading = billable.stream()
    reading.feed(events(*contents))
    if whole:
        reading.close()
    return reading


# -- parts of a usage --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("garbled", NO_COUNTS, ids=repr)
@pytest.mark.parametrize(
    ("billable", "usage"),
    [
        (chat(), lambda count: {"usage": {**CHAT, "prompt_tokens_details": {"audio_tokens": count}}}),
        (chat(), lambda count: {"usage": {**CHAT, "prompt_tokens_details": {"cache_write_tokens": count}}}),
        (chat(), lambda count: {"usage": {**CHAT, "completion_tokens_details": {"audio_tokens": count}}}),
        (chat("x-ai"), lambda count: {"usage": {**CHAT, "completion_tokens_details": {"reasoning_tokens": count}}}),
        (chat("perplexity"), lambda count: {"usage": {**CHAT, "citation_tokens": count}}),
        (chat("perplexity"), lambda count: {"usage": {**CHAT, "num_search_queries": count}}),
        (respond(), lambda count: {"usage": {**OTHERS, "input_tokens_details": {"cache_write_tokens": count}}}),
        (respond(), lambda count: {"usage": OTHERS, "tool_usage": {"web_search": {"num_requests": count}}}),
        (message(), lambda count: {"usage": {**OTHERS, "cache_creation_input_tokens": count}}),
        (message(), lambda count: {"usage": {**OTHERS, "cache_read_input_tokens": count}}),
        (message(), lambda count: {"usage": {**OTHERS, "cache_creation": {"ephemeral_1h_input_tokens": count}}}),
        (message(), lambda count: {"usage": {**OTHERS, "server_tool_use": {"web_search_requests": count}}}),
        (
            generate(),
            lambda count: {
                "usageMetadata": {**GEMINI, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": count}]}
            },
        ),
    ],
    ids=lambda value: getattr(value, "provider", None),
)
def test_a_part_that_makes_a_usage_dearer_has_to_be_a_count(billable, usage, garbled):
    assert answer(billable, **usage(3)) is not None
    assert answer(billable, **usage(None)) is not None, "what is not told is nothing"
    if garbled or garbled is True:  # an empty list or mapping of reasoning is as if it was not told
        assert answer(billable, **usage(garbled)) is None


def test_a_part_that_makes_a_usage_cheaper_counts_as_the_wider_kind():
    told = answer(chat(), usage={**CHAT, "prompt_tokens_details": {"cached_tokens": "8"}})
    assert (told.input_tokens, told.cache_read_tokens) == (9, 0)


@pytest.mark.parametrize("kind", ["fallback_message", "advisor_message", "a_kind_of_tomorrow", None])
def test_what_another_model_has_answered_is_not_priced_as_this_ones(kind):
    own = {"type": "message", **OTHERS}
    assert answer(message(), usage={**OTHERS, "iterations": [own]}).total_tokens == 13
    assert answer(message(), usage={**OTHERS, "iterations": [own, {"type": kind, **OTHERS}]}) is None


def test_what_a_router_passes_on_to_ones_own_account_is_a_cost_too():
    told = {**CHAT, "cost": 0.05, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.95}}
    with localcontext(prec=1):
        assert answer(chat("openrouter"), usage=told).dollars == Decimal(1)
        details = {"upstream_inference_cost": 0.96}
        assert answer(chat("openrouter"), usage={**told, "cost_details": details}).dollars == Decimal("1.01")
    assert answer(chat("openrouter"), usage={**told, "cost_details": {}}).dollars is None
    assert answer(chat("openrouter"), usage={**told, "is_byok": False}).dollars == Decimal("0.05")


# -- requests ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("provider", ["openai", "azure", "groq", "x-ai", "zai", "moonshotai", "mistral", "google"])
@pytest.mark.parametrize("kind", ["browser_search", "code_interpreter", "web_search", "live_search"])
def test_a_providers_own_tools_in_a_chat_are_refused(provider, kind):
    function = {"type": "function", "function": {"name": "f"}}
    with pytest.raises(cycles.Unmeterable, match=kind):
        chat(provider, tools=[function, {"type": kind}])
    assert chat(provider, tools=[function, {"type": "custom", "custom": {"name": "g"}}])


def test_who_says_what_a_request_has_cost_may_search():
    assert chat("openrouter", tools=[{"type": "openrouter:web_search"}])
    assert chat("perplexity", web_search_options={})


@pytest.mark.parametrize("model", ["gpt-4o-search-preview", "gpt-4o-mini-search-preview-2026", "gpt-5-search-api"])
def test_a_model_that_always_searches_is_refused(model):
    for provider in ("openai", "azure"):
        with pytest.raises(cycles.Unmeterable, match="searches for each answer"):
            chat(provider, model=model)
    assert chat("a-server-of-ours", model=model)


def test_a_file_in_a_vector_store_is_not_free():
    assert read("openai", "POST", "/v1/containers/c_1/files", {}, b"", max_output=1) is None
    with pytest.raises(cycles.Unmeterable, match="by the day"):
        read("openai", "POST", "/v1/vector_stores/vs_1/files", {}, b"{}", max_output=1)


def test_documents_of_azures_own_are_input_that_the_request_does_not_show():
    assert chat("azure", data_sources=[{"type": "azure_search"}]).unbounded == ("data_sources",)


# -- streams that are left ---------------------------------------------------------------------------------------------
def started(**usage):
    told = {"input_tokens": 30, "output_tokens": 1, **usage}
    return {"type": "message_start", "message": {"model": "claude-opus-4-5", "usage": told}}


def block(kind, **more):
    return {"type": "content_block_start", "index": 0, "content_block": {"type": kind, **more}}


def test_what_claudes_own_tools_find_counts_before_it_is_told():
    tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 4}]
    billable = message(tools=tools, cache_control={"type": "ephemeral", "ttl": "1h"}).bounded(200_000)
    before = streamed(billable, started(), block("text")).received
    assert (before.input_tokens, before.web_searches) == (30, 0)
    came = streamed(billable, started(), block("server_tool_use", name="web_search", input={})).received
    assert (came.input_tokens, came.web_searches) == (200_000, 4)
    assert came.cache_write_tokens == came.cache_write_1h_tokens == 200_000 - 30
    plain = message(mcp_servers=[{"url": "https://x"}]).bounded(200_000)
    came = streamed(plain, started(), block("mcp_tool_use", name="f", input={})).received
    assert (came.input_tokens, came.cache_write_tokens, came.web_searches) == (200_000, 0, 0)
    ends = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}}
    told = streamed(billable, started(), block("server_tool_use"), ends, {"type": "message_stop"}).usage
    assert told.total_tokens == 39, "the provider's own figure is the last word"


def test_an_input_of_a_tool_that_comes_whole_counts():
    given = {"matrix": [[1_000] * 40]}
    least = streamed(message(), started(), block("tool_use", input={})).received.output_tokens
    assert streamed(message(), started(), block("tool_use", input=given)).received.output_tokens >= least + 200


@pytest.mark.parametrize(
    "billable",
    [chat(stream=True), message(stream=True)],
    ids=["chat", "messages"],
)
def test_an_input_that_is_told_as_nothing_counts_as_its_bound(billable):
    zero = {"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 0}}
    first = zero if billable.provider == "openai" else started(input_tokens=0)
    assert streamed(billable, first).received.input_tokens == billable.input_bound


@pytest.mark.parametrize("kind", ["computer_call", "apply_patch_call", "a_call_of_tomorrow"])
def test_items_that_come_whole_count(kind):
    item = {"type": kind, "action": {"path": [{"x": 1_234, "y": 5_678}] * 10}}
    begun = {"type": "response.output_item.added", "output_index": 0, "item": {"type": kind}}
    least = streamed(respond(), begun).received.output_tokens
    done = {"type": "response.output_item.done", "output_index": 0, "item": item}
    assert streamed(respond(), begun, done).received.output_tokens >= least + 200


def test_items_that_come_in_deltas_count_once():
    delta = {"type": "response.output_text.delta", "delta": "words"}
    done = {"type": "response.output_item.done", "item": {"type": "message", "content": [{"text": "words"}]}}
    assert streamed(respond(), delta, done).received.output_tokens == 5


def test_the_arguments_of_a_call_of_gemini_count_numbers_and_names_too():
    call = {"functionCall": {"name": "plot", "args": {"points": [123_456] * 50}}}
    chunk = {"candidates": [{"content": {"parts": [call]}}]}
    assert streamed(generate(), chunk).received.output_tokens >= 300


# -- a usage that is not the last word ---------------------------------------------------------------------------------
def spoken(text):
    return {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]}


def counted(output):
    return {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": output}}


def test_a_usage_before_the_end_is_not_the_last_word():
    begun = streamed(chat(stream=True), counted(0), spoken("a text of some length"))
    assert begun.usage is None
    assert (begun.received.input_tokens, begun.received.output_tokens) == (9, 16 + 9 + 21)
    ended = [spoken("words"), {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    assert streamed(chat(stream=True), counted(0), *ended, "[DONE]", whole=True).usage is None
    assert streamed(chat(stream=True), counted(0), *ended, whole=True).usage is None
    assert streamed(chat(stream=True), counted(0), *ended, counted(5), "[DONE]").usage.output_tokens == 5


def test_what_holds_no_output_may_come_after_the_usage():
    after = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}, {"choices": ["odd"]}, "odd"]
    after += [{"choices": [{"index": 0, "finish_reason": "stop"}]}, {"choices": None}]
    assert streamed(chat(stream=True), spoken("words"), counted(5), *after).usage.output_tokens == 5
    legacy = asked("openai", "/v1/completions", model="gpt-3.5-turbo-instruct", prompt="hi", stream=True)
    late = {"choices": [{"index": 0, "text": "more"}]}
    assert streamed(legacy, counted(5), late).usage is None
