"""Streams that end before they tell their usage: the input, and an upper bound of what came."""

from __future__ import annotations

import pytest

from tests.metering.samples import asked, chat, events, generate, message, respond
from tests.metering.streams import ANTHROPIC, CHAT, GEMINI, RESPONSES, chunk, read_in


def test_before_anything_came_the_input_is_billed():
    received = chat(stream=True).stream().received
    assert received.input_tokens == chat(stream=True).input_bound
    assert received.output_tokens == 0


@pytest.mark.parametrize(
    ("billable", "contents", "least"),
    [
        (chat(stream=True), CHAT[:2], len("Grüße 漢字 🙂".encode())),
        (message(stream=True), ANTHROPIC[:4], len("Grüße 漢字".encode())),
        (respond(stream=True), RESPONSES[:2], len("Grüße 漢字".encode())),
        (asked("openai", "/v1/completions", model="davinci-002", prompt="a", max_tokens=99, stream=True),
         [{"choices": [{"index": 0, "text": "Grüße"}]}], len("Grüße".encode())),
    ],
    ids=["chat", "messages", "responses", "completions"],
)  # fmt: skip
def test_what_came_is_bounded_by_its_bytes(billable, contents, least):
    _, usage, received = read_in(billable, [events(*contents)])
    assert usage is None
    assert least <= received.output_tokens <= least + 64
    assert received.output_tokens <= billable.output_bound


def test_what_came_is_never_more_than_what_was_asked_for():
    _, _, received = read_in(chat(stream=True, max_tokens=5), [events(chunk("many words " * 50))])
    assert received.output_tokens == 5


@pytest.mark.parametrize("kind", ["event", "element"])
def test_what_came_of_an_event_that_is_not_over_counts(kind):
    text = "many words " * 50
    billable = chat(stream=True) if kind == "event" else generate(method="streamGenerateContent")
    begun = {"event": b'data: {"choices":[{"index":0,"delta":{"content":"', "element": b'[{"candidates":[{"text":"'}
    reading = billable.stream()
    reading.feed(begun[kind])
    reading.feed(text.encode())
    assert len(text) <= reading.received.output_tokens <= len(text) + 64


def test_every_choice_and_every_call_of_a_tool_counts():
    call = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": '{"a": 1}'}}
    data = events(*({"choices": [{"index": n, "delta": {"tool_calls": [call]}}]} for n in range(3)))
    _, _, received = read_in(chat(stream=True, n=3), [data])
    assert received.output_tokens >= 3 * (len("f") + len('{"a": 1}') + 16)


@pytest.mark.parametrize(
    ("more", "least"),
    [({"reasoning": {"effort": "high"}}, 700), ({"thinking": {"type": "adaptive"}}, 700), ({}, 0)],
)
def test_claude_reasons_unseen_where_others_serve_it(more, least):
    """They show a summary of what it thought, or nothing."""
    billable = asked(
        "openrouter", "/v1/chat/completions", model="anthropic/claude-opus-5", messages=[], max_tokens=700, **more
    )
    _, _, received = read_in(billable, [events(chunk("a"))])
    assert least <= received.output_tokens <= max(least, 64)


def test_the_input_that_was_told_is_taken_for_the_bound_of_it():
    _, _, received = read_in(message(stream=True), [events(*ANTHROPIC[:4])])
    assert received.input_tokens == 159_223
    assert received.cache_write_tokens == 159_217


def test_reasoning_that_leaves_no_trace_counts_as_all_that_was_asked_for():
    for billable in (
        chat(stream=True, model="gpt-5.1"),
        chat(stream=True, model="o3"),
        chat("openrouter", stream=True, model="openai/gpt-5"),
        chat("groq", stream=True, model="qwen", reasoning_format="hidden"),
        respond(stream=True, model="gpt-5.1"),
        generate("gemini-2.5-flash", method="streamGenerateContent"),
    ):
        assert billable.stream().received.output_tokens == billable.output_bound, billable
    quick = {"thinkingConfig": {"thinkingBudget": 0}}
    for billable in (
        chat(stream=True, model="gpt-5.1", reasoning_effort="none"),
        chat(stream=True, model="gpt-5-chat-latest"),
        respond(stream=True, model="gpt-5.1", reasoning={"effort": "none"}),
        generate("gemini-2.5-flash", method="streamGenerateContent", generationConfig=quick),
    ):  # fmt: skip
        assert billable.stream().received.output_tokens == 0, billable


def test_reasoning_of_claude_counts_in_full_until_its_signature_came():
    """Its thinking is shown in short, or not at all; the signature holds all of it."""
    reading = message(stream=True, thinking={"type": "adaptive"}).stream()
    start = {"type": "content_block_start", "content_block": {"type": "thinking", "thinking": ""}}
    reading.feed(events(ANTHROPIC[0]))
    assert reading.received.output_tokens < 64
    reading.feed(events(start))
    assert reading.received.output_tokens == 500
    signature = {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "x" * 200}}
    reading.feed(events(signature))
    assert 200 <= reading.received.output_tokens < 300


def test_a_thought_of_gemini_counts_as_soon_as_it_is_told():
    reading = generate("gemini-2.5-flash", method="streamGenerateContent").stream()
    reading.feed(events(GEMINI[0]))
    assert reading.usage is None
    assert 2 <= reading.received.output_tokens < 64


def test_a_prompt_that_gemini_blocks_is_over():
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9}}
    _, usage, _ = read_in(generate(method="streamGenerateContent"), [events(blocked)])
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (9, 0)
