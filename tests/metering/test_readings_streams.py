"""Streamed answers at any cut of their bytes: what the caller reads, and what they say about their cost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metering.samples import asked, chat, events, generate, message, pieces, respond
from tests.metering.streams import ANTHROPIC, CHAT, GEMINI, RESPONSES, TOLD, USAGE_CHUNK, chunk, read_in

ENDS = st.sampled_from(["\n", "\r\n", "\r"])


def with_noise(contents, end, *, bom=False):
    """Return events as picky servers write them: comments, ids, several lines of data."""
    written = "\ufeff" if bom else ""
    for number, content in enumerate(contents):
        text = content if isinstance(content, str) else json.dumps(content, indent=1, ensure_ascii=False)
        lines = "".join(f"data: {line}{end}" for line in text.split("\n"))
        written += f": keep-alive{end}{end}id: {number}{end}{lines}retry: 5{end}{end}"
    return written.encode()


WHOLE = [
    (chat(stream=True), [*CHAT, USAGE_CHUNK, "[DONE]"]),
    (message(stream=True), ANTHROPIC),
    (respond(stream=True), RESPONSES),
    (generate(method="streamGenerateContent"), GEMINI),
]


@pytest.mark.parametrize(("billable", "contents"), WHOLE, ids=lambda value: getattr(value, "provider", ""))
@given(cuts=st.lists(st.integers(0, 10_000), max_size=8), end=ENDS, bom=st.booleans(), noisy=st.booleans())
def test_any_cut_of_a_stream_reads_the_same(billable, contents, cuts, end, bom, noisy):
    data = with_noise(contents, end, bom=bom) if noisy else events(*contents, end=end)
    shown, usage, received = read_in(billable, [data])
    assert usage is not None
    assert received == usage
    assert read_in(billable, pieces(data, cuts)) == (shown, usage, received)
    assert usage == read_in(billable, [events(*contents)])[1], "however it is written"


@pytest.mark.parametrize(("billable", "contents"), WHOLE, ids=lambda value: getattr(value, "provider", ""))
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_byte_by_byte(billable, contents, end):
    data = with_noise(contents, end)
    whole = read_in(billable, [data])
    assert read_in(billable, [bytes([byte]) for byte in data]) == whole
    if billable.provider != "openai" or billable.parsed.get("input"):
        assert whole[0] == data, "nothing is taken out"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_cut_in_two_anywhere(end):
    """A line end of two bytes is cut, too, where it ends an event that is taken out; the first event has the mark."""
    data = "\ufeff".encode() + events(USAGE_CHUNK, CHAT[0], USAGE_CHUNK, end=end)
    whole = read_in(chat(stream=True), [data])
    assert whole[0] == events(CHAT[0], end=end)
    assert whole[1] is not None
    for cut in range(len(data)):
        assert read_in(chat(stream=True), [data[:cut], data[cut:]]) == whole, cut


def test_asking_on_the_way_changes_nothing():
    data = events(*ANTHROPIC, named=True)
    reading = message(stream=True).stream()
    seen = []
    for end in range(1, len(data) + 1):
        reading.feed(data[end - 1 : end])
        received = reading.received.output_tokens
        if data.endswith(b"\n\n", 0, end):  # of an event that is not over, its frame counts, too
            seen.append(received)
    reading.close()
    assert seen == sorted(seen[: seen.index(2_745)]) + [2_745] * (len(seen) - seen.index(2_745))
    assert reading.usage == read_in(message(stream=True), [data])[1]


def test_the_usage_chunk_is_hidden_from_who_did_not_ask_for_it():
    data, hidden = events(*CHAT, USAGE_CHUNK, "[DONE]"), events(USAGE_CHUNK)
    shown, usage, _ = read_in(chat(stream=True), [data])
    assert shown == data.replace(hidden, b"")
    assert usage is not None
    assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == (9, 4, 3)
    assert usage.model == "gpt-4o-2024-08-06"
    assert read_in(chat(stream=True, stream_options={"include_usage": False}), [data])[0] == shown


def test_the_usage_chunk_is_shown_to_who_asked_for_it():
    data = events(*CHAT, USAGE_CHUNK, "[DONE]")
    asks = chat(stream=True, stream_options={"include_usage": True})
    assert asks.body.count(b"include_usage") == 1
    assert read_in(asks, [data])[0] == data


def test_other_options_of_a_stream_stay():
    options = json.loads(chat(stream=True, stream_options={"include_obfuscation": False}).body)["stream_options"]
    assert options == {"include_obfuscation": False, "include_usage": True}
    assert "stream_options" not in json.loads(chat().body)
    assert "stream_options" not in json.loads(chat("mistral", stream=True).body), (
        "it tells unasked, and refuses the option"
    )


def test_chunks_without_choices_that_tell_no_usage_are_shown():
    """Azure's first chunk has the results of its filters."""
    first = {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    spaced = b'data: {"choices" : [ ], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}\n\n'
    data = events(first, *CHAT)
    assert read_in(chat(stream=True), [data + spaced])[0] == data


def test_what_is_not_hidden_is_passed_on_at_once():
    """A caller sees each event when it comes; half an event waits only where it may be one to hide."""
    reading = chat(stream=True).stream()
    for content in CHAT:
        assert reading.feed(events(content)) == events(content)
    half = events(USAGE_CHUNK)
    assert reading.feed(half[:20]) == b""
    assert reading.feed(half[20:]) == b""
    assert reading.feed(events("[DONE]")) == events("[DONE]")
    other = message(stream=True).stream()
    assert other.feed(b"event: mess") == b"event: mess"


def test_a_last_event_without_its_blank_line_counts():
    data = events(*CHAT, USAGE_CHUNK).rstrip(b"\n")
    shown, usage, _ = read_in(chat(stream=True), [data])
    assert usage is not None
    assert shown == events(*CHAT)
    assert read_in(chat(stream=True), [events(*CHAT).rstrip(b"\n")])[0] == events(*CHAT).rstrip(b"\n")


def test_anthropic_tells_its_usage_twice_and_the_last_counts():
    _, usage, _ = read_in(message(stream=True), [events(*ANTHROPIC, named=True)])
    assert usage is not None
    assert usage.input_tokens == 6 + 159_217
    assert usage.cache_write_tokens == 159_217
    assert usage.output_tokens == 2_745, "not 2,746"
    assert usage.model == "claude-opus-4-5-20251101"


def test_what_anthropic_tells_later_is_cumulative():
    """Tools of its own make a conversation longer while it answers; how long a cache lives is told at the start."""
    later = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {
            "input_tokens": 50,
            "cache_creation_input_tokens": 700,
            "cache_read_input_tokens": 300,
            "output_tokens": 9,
            "server_tool_use": {"web_search_requests": 2},
        },
    }
    start = json.loads(json.dumps(ANTHROPIC[0]))
    made = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 600}
    start["message"]["usage"] |= {"cache_creation_input_tokens": 600, "cache_creation": made}
    _, usage, _ = read_in(message(stream=True), [events(start, later)])
    assert usage is not None
    assert (usage.input_tokens, usage.cache_write_tokens, usage.cache_read_tokens) == (1_050, 700, 300)
    assert (usage.cache_write_1h_tokens, usage.web_searches, usage.output_tokens) == (700, 2, 9)


def test_zeros_that_are_told_later_take_nothing_back():
    """Servers that speak its wire may fill in what they do not know at the end."""
    zeros = {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 9}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": zeros}
    _, usage, _ = read_in(message(stream=True), [events(ANTHROPIC[0], end)])
    assert usage is not None
    assert (usage.input_tokens, usage.cache_write_tokens, usage.output_tokens) == (159_223, 159_217, 9)


def test_what_is_written_later_is_as_dear_as_the_dearest_part_before():
    """The second telling does not say for how long; the first did, for minutes and for an hour."""
    start = json.loads(json.dumps(ANTHROPIC[0]))
    made = {"ephemeral_5m_input_tokens": 159_000, "ephemeral_1h_input_tokens": 217}
    start["message"]["usage"]["cache_creation"] = made
    told = {"cache_creation_input_tokens": 159_317, "output_tokens": 9}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": told}
    _, usage, _ = read_in(message(stream=True), [events(start, end)])
    assert usage is not None
    assert (usage.cache_write_tokens, usage.cache_write_1h_tokens) == (159_317, 317)


def test_anthropics_first_telling_is_not_the_whole():
    """Servers that speak its wire may leave out the second: what was made is not known then."""
    silent = [*ANTHROPIC[:-2], {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}, ANTHROPIC[-1]]
    _, usage, received = read_in(message(stream=True), [events(*silent, named=True)])
    assert usage is None
    assert received.output_tokens > 1
    garbled = [*silent[:-2], {**ANTHROPIC[-2], "usage": {"output_tokens": "many"}}, ANTHROPIC[-1]]
    assert read_in(message(stream=True), [events(*garbled, named=True)])[1] is None


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_a_response_tells_its_usage_however_it_ends(kind):
    end = {**RESPONSES[-1], "type": kind}
    _, usage, _ = read_in(respond(stream=True), [events(*RESPONSES[:-1], end, named=True)])
    assert usage is not None
    assert (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens, usage.web_searches) == (9, 4, 3, 1)
    assert usage.terms == (("service_tier", "default"),)


def test_what_gemini_has_told_before_is_not_taken_back():
    first, last = json.loads(json.dumps(GEMINI))
    first["usageMetadata"]["thoughtsTokenCount"] = 40
    last["usageMetadata"] = {"promptTokenCount": 9}
    _, usage, _ = read_in(generate(method="streamGenerateContent"), [events(first, last)])
    assert usage is not None
    assert usage.output_tokens == 42


def test_gemini_tells_as_much_as_a_json_array():
    data = json.dumps(GEMINI, indent=1, ensure_ascii=False).encode()
    billable = generate(method="streamGenerateContent")
    for parts in ([data], [bytes([byte]) for byte in data]):
        shown, usage, _ = read_in(billable, parts)
        assert shown == data
        assert usage == read_in(billable, [events(*GEMINI)])[1]
    assert usage is not None
    assert (usage.output_tokens, usage.output_reasoning_tokens) == (6, 1)


def test_a_json_array_may_be_asked_at_any_byte():
    reading = generate(method="streamGenerateContent").stream()
    for byte in json.dumps(GEMINI, ensure_ascii=False).encode():
        reading.feed(bytes([byte]))
        received = reading.received
    assert reading.usage == received
    assert received.output_tokens == 6


def test_some_tell_their_usage_in_every_chunk():
    """vLLM (continuous usage), xAI, Perplexity: it is whole when the choice has ended, and the last one counts."""
    grows = [chunk("a", usage={"prompt_tokens": 9, "completion_tokens": count}) for count in (1, 2)]
    reading = chat("vllm", stream=True).stream()
    assert reading.feed(events(*grows)) == events(*grows)
    assert reading.usage is None
    assert reading.received.input_tokens == 9
    reading.feed(events(chunk(finish="stop", usage={"prompt_tokens": 9, "completion_tokens": 3})))
    assert reading.usage is not None
    assert reading.usage.output_tokens == 3
    late = chat("vllm", stream=True).stream()
    late.feed(events(*grows, "[DONE]"))
    assert late.usage is not None
    assert late.usage.output_tokens == 2


def _vllm(index, output, finish=None):
    """A chunk of a server that tells the usage so far, of all choices, in every chunk."""
    usage = {"prompt_tokens": 9, "completion_tokens": output}
    return {"choices": [{"index": index, "delta": {"content": "w"}, "finish_reason": finish}], "usage": usage}


def _google(index, output, finish=None):
    usage = {"promptTokenCount": 9, "candidatesTokenCount": output}
    return {"candidates": [{"index": index, **({"finishReason": finish} if finish else {})}], "usageMetadata": usage}


TWO = [
    (chat("vllm", stream=True, n=2), _vllm),
    (generate(method="streamGenerateContent", generationConfig={"candidateCount": 2}), _google),
]


@pytest.mark.parametrize(("billable", "chunk_of"), TWO, ids=["chat", "gemini"])
def test_usage_is_whole_when_each_candidate_has_ended(billable, chunk_of):
    """What is told when the first has ended is not the end of it."""
    reading = billable.stream()
    reading.feed(events(chunk_of(0, 3, "stop")))
    assert reading.usage is None
    reading.feed(events(chunk_of(1, 7)))
    assert reading.usage is None
    assert reading.received.output_tokens >= 7
    reading.feed(events(chunk_of(0, 7, "stop"), chunk_of(1, 8, "stop")))
    assert reading.usage is not None
    assert reading.usage.output_tokens == 8
    reading.feed(events(chunk_of(1, 9)))
    assert reading.usage.output_tokens == 9


@pytest.mark.parametrize(("billable", "chunk_of"), TWO, ids=["chat", "gemini"])
@pytest.mark.parametrize("finish", ["stop", None])
def test_a_candidate_may_never_say_that_it_has_ended(billable, chunk_of, finish):
    """A stream that was read to its end has told all, if at least one candidate has ended in it."""
    _, usage, received = read_in(billable, [events(chunk_of(0, 3, finish), chunk_of(1, 7))])
    assert received.output_tokens >= 7
    assert (usage is not None) == (finish is not None)


def test_groqs_older_place_for_the_usage():
    _, usage, _ = read_in(chat("groq", stream=True), [events(chunk(finish="stop", x_groq={"id": "x", "usage": TOLD}))])
    assert usage is not None
    assert usage.input_tokens == 9


# -- unusual answers --------------------------------------------------------------------------------------------------
def test_an_answer_that_is_no_stream_after_all():
    body = json.dumps({"model": "gpt-4o", "choices": [{"message": {}}], "usage": TOLD}).encode()
    for parts in ([body], [bytes([byte]) for byte in body], [b" ", body]):
        shown, usage, _ = read_in(chat(stream=True), parts)
        assert shown == b"".join(parts)
        assert usage is not None
        assert usage.output_tokens == 3


def test_an_answer_that_is_no_stream_may_be_left_before_its_end():
    """Its usage counts if it was all there, else each byte of it may be output."""
    body = json.dumps({"choices": [{"message": {"content": "word " * 50}}], "usage": TOLD}).encode()
    reading = chat(stream=True).stream()
    reading.feed(body[:100])
    assert reading.received.output_tokens == 100
    reading.feed(body[100:])
    assert (reading.received.input_tokens, reading.received.output_tokens) == (9, 3)


@pytest.mark.parametrize("data", [b"", b"\n\n\n", b"data: no json\n\n", b"data: [1]\n\n", b"data:\n\n", b"[[", b"{"])
def test_what_is_no_event_says_nothing(data):
    for billable in (chat(stream=True), message(stream=True), generate(method="streamGenerateContent")):
        shown, usage, received = read_in(billable, [data])
        assert (shown, usage) == (data, None)
        assert received.input_tokens == billable.input_bound


def test_a_long_stream_is_not_kept():
    """Events are read and let go of on the way; what they said is not forgotten."""
    reading = chat(stream=True, max_tokens=10_000_000).stream()
    for _ in range(2_000):
        reading.feed(events(chunk("x" * 1_000)))
    held = sum(len(part) for part in (*reading._new, *reading._unread))
    assert held < 500_000
    assert 2_000_000 <= reading.received.output_tokens <= 2_000_100


def test_closing_twice_gives_nothing_twice():
    reading = chat(stream=True).stream()
    assert reading.feed(b"data: half") == b""
    assert (reading.close(), reading.close()) == (b"data: half", b"")


def test_events_of_an_unusual_shape_are_passed_over():
    odd = [{"choices": ["odd", {"index": 0}]}, {"choices": "odd"}, {"usage": {"total_tokens": 1}}, {"type": 5}]
    for billable in (chat(stream=True), message(stream=True), respond(stream=True)):
        shown, usage, received = read_in(billable, [events(*odd)])
        assert (shown, usage) == (events(*odd), None)
        assert received.output_tokens <= 16
    _, usage, _ = read_in(
        generate(method="streamGenerateContent"), [events({"candidates": ["odd"]}, {"candidates": 3})]
    )
    assert usage is None


def test_embeddings_are_no_stream_and_are_read_all_the_same():
    billable = asked("openai", "/v1/embeddings", model="text-embedding-3-small", input="a")
    body = json.dumps({"data": [], "usage": {"prompt_tokens": 8}}).encode()
    shown, usage, _ = read_in(billable, [body])
    assert shown == body
    assert usage is not None
    assert usage.input_tokens == 8
    shown, usage, received = read_in(billable, [events({"a": 1}, "[DONE]")])
    assert usage is None
    assert received == billable.bound()
