"""What a request may use at most, and that the bound is real: it is in the body that is sent."""

from __future__ import annotations

import base64
import json

import pytest

import cycles
from cycles._metering.media import REQUEST_OVERHEAD, image_tokens
from cycles._metering.pixels import size_of
from cycles._metering.request import read
from cycles._metering.usage import Usage
from tests.metering.samples import asked, chat, generate, message, respond, sent

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x0f\xc0\0\0\x0b\xd0" + bytes(30_000)).decode()
PIXELS = base64.b64encode(bytes(30_000)).decode()


@pytest.mark.parametrize(
    ("billable", "name"),
    [
        (chat(), "max_completion_tokens"),
        (chat(model="o3"), "max_completion_tokens"),
        (chat(model="gpt-5.1"), "max_completion_tokens"),
        (chat(model="ft:gpt-4o:us:x"), "max_completion_tokens"),
        (chat("azure", model="my deployment"), "max_completion_tokens"),
        (chat(model="llama-3.3-70b"), "max_tokens"),
        (chat(model="gpt-oss-20b"), "max_tokens"),
        (chat("groq"), "max_tokens"),
        (chat("mistral"), "max_tokens"),
        (chat("openrouter", model="openai/gpt-5"), "max_tokens"),
        (respond(), "max_output_tokens"),
        (asked("anthropic", "/v1/messages", model="claude-opus-4-5", messages=[]), "max_tokens"),
    ],
)
def test_where_the_caller_asks_for_no_bound_one_is_sent(billable, name):
    body = sent(billable)
    assert body[name] == billable.output_bound == 1_000
    others = {"max_tokens", "max_completion_tokens", "max_output_tokens"} - {name}
    assert not others & set(body)


def test_null_is_no_bound():
    billable = chat(max_completion_tokens=None, max_tokens=None)
    assert sent(billable)["max_completion_tokens"] == 1_000
    assert sent(respond(max_output_tokens=None))["max_output_tokens"] == 1_000
    assert sent(generate(generationConfig={"maxOutputTokens": None}))["generationConfig"] == {"maxOutputTokens": 1_000}
    assert sent(generate(generationConfig=None))["generationConfig"] == {"maxOutputTokens": 1_000}


def test_geminis_bound_is_put_beside_what_else_its_configuration_says():
    assert sent(generate())["generationConfig"] == {"maxOutputTokens": 1_000}
    assert sent(generate(generationConfig={"topK": 3}))["generationConfig"] == {"topK": 3, "maxOutputTokens": 1_000}
    snake = sent(generate(generation_config={"top_k": 3, "candidate_count": 2}))
    assert snake["generation_config"] == {"top_k": 3, "candidate_count": 2, "maxOutputTokens": 1_000}
    assert "generationConfig" not in snake


def test_a_bound_that_the_caller_gives_stays_and_the_body_with_it():
    for body in (
        b'{"model":"gpt-4o", "max_tokens" : 77,"messages":[]}',
        b'{ "messages":[],"model":"o3","max_completion_tokens":77}',
    ):
        billable = read("openai", "POST", "/v1/chat/completions", {}, body, max_output=5)
        assert billable is not None
        assert (billable.body, billable.output_bound) == (body, 77)
    assert generate(generationConfig={"max_output_tokens": 9}).output_bound == 9
    assert message().output_bound == 500


def test_what_is_added_leaves_the_rest_of_the_bytes_as_they_were():
    """Numbers, escapes, doubled names: nothing that a second writing would change."""
    body = (
        b' {"model":"gpt-4o","temperature":1.0E-1,"seed":12345678901234567890,'
        b'"messages":[{"role":"user","content":"\\u00e9 \xc3\xa9"}],"x":1,"x":2}'
    )
    billable = read("openai", "POST", "/v1/chat/completions", {}, body, max_output=5)
    assert billable is not None
    assert billable.body == body.replace(b"{", b'{"max_completion_tokens":5,', 1)


def test_half_a_surrogate_pair_can_be_sent():
    body = json.dumps(
        {"model": "gpt-4o", "max_tokens": None, "max_completion_tokens": None, "messages": "\ud800"}
    ).encode()
    billable = read("openai", "POST", "/v1/chat/completions", {}, body, max_output=5)
    assert billable is not None
    assert sent(billable)["messages"] == "\ud800"


@pytest.mark.parametrize(
    ("billable", "bound"),
    [
        (chat(max_tokens=100, n=3), 300),
        (chat(max_tokens=100, max_completion_tokens=50), 100),
        (chat(max_tokens=100, prediction={"type": "content", "content": "x" * 40}), 140),
        (asked("openai", "/v1/completions", model="gpt-3.5-turbo-instruct", prompt="a", max_tokens=7, best_of=4), 28),
        (asked("openai", "/v1/completions", model="gpt-3.5-turbo-instruct", prompt=["a", "b"], max_tokens=7, n=2), 28),
        (asked("openai", "/v1/completions", model="gpt-3.5-turbo-instruct", prompt=[1, 2, 3], max_tokens=7), 7),
        (asked("openai", "/v1/completions", model="gpt-3.5-turbo-instruct", prompt=[[1], [2, 3]], max_tokens=7), 14),
        (generate(generationConfig={"maxOutputTokens": 100, "candidateCount": 3}), 300),
        (respond(max_output_tokens=64), 64),
        (message(max_tokens=0), 0),
        (asked("openai", "/v1/embeddings", model="text-embedding-3-small", input=["a", "b"]), 0),
    ],
)
def test_the_bound_of_the_output_is_over_all_candidates(billable, bound):
    assert billable.output_bound == billable.bound().output_tokens == bound


def test_openais_completions_are_asked_for_their_own_default():
    assert sent(asked("openai", "/v1/completions", model="davinci-002", prompt="a"))["max_tokens"] == 16
    assert sent(asked("vllm", "/v1/completions", model="llama", prompt="a"))["max_tokens"] == 1_000


@pytest.mark.parametrize(
    "billable",
    [
        chat(
            messages=[{"role": "user", "content": "é漢字🙂" * 50}],
            tools=[{"type": "function", "function": {"name": "f" * 99}}],
        ),
        respond(instructions="漢" * 99, tools=[{"type": "function", "name": "f", "parameters": {"a": "b" * 99}}]),
        message(system="漢" * 99, tools=[{"name": "f" * 99, "input_schema": {}}]),
        generate(
            systemInstruction={"parts": [{"text": "漢" * 99}]}, tools=[{"functionDeclarations": [{"name": "f" * 99}]}]
        ),
        asked("openai", "/v1/embeddings", model="text-embedding-3-small", input="漢" * 99),
        asked("google", "/v1beta/models/gemini-embedding-001:embedContent", content={"parts": [{"text": "漢" * 99}]}),
    ],
    ids=lambda billable: billable.action[1],
)
def test_every_byte_of_text_tools_and_schemas_counts_as_a_token(billable):
    width = len(json.dumps(billable.parsed, ensure_ascii=False, separators=(",", ":")).encode())
    assert width + REQUEST_OVERHEAD <= billable.input_bound
    assert billable.bound().input_tokens == billable.input_bound


def test_escapes_are_not_counted_as_letters():
    said = {"model": "gpt-4o", "max_tokens": 5, "messages": [{"role": "user", "content": "漢" * 10_000}]}
    bodies = (json.dumps(said).encode(), json.dumps(said, ensure_ascii=False).encode())
    bounds = [read("openai", "POST", "/v1/chat/completions", {}, body, max_output=5).input_bound for body in bodies]
    assert abs(bounds[0] - bounds[1]) < 50
    assert bounds[0] < 31_000


def test_an_image_counts_as_its_providers_maximum_not_as_its_letters():
    url = f"data:image/png;base64,{PIXELS}"
    part = {"type": "image_url", "image_url": {"url": url}}
    bound = chat(messages=[{"role": "user", "content": [part, part]}]).bound()
    assert bound.input_image_tokens == 2 * 1_445
    assert bound.input_tokens < 2 * 1_445 + 1_000
    item = {"role": "user", "content": [{"type": "input_image", "image_url": url}]}
    assert respond(input=[item]).input_bound < 3_000
    output = {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "image_url": url}]}
    assert respond(input=[output]).bound().input_image_tokens == 1_445
    source = {"type": "base64", "media_type": "image/png", "data": PIXELS}
    nested = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": source}]}
    assert message(messages=[{"role": "user", "content": [nested]}]).bound().input_image_tokens == 4_784
    for inline in (
        {"inlineData": {"mimeType": "image/png", "data": PIXELS}},
        {"inline_data": {"mime_type": "image/png", "data": PIXELS}},
    ):
        bound = generate(contents=[{"parts": [inline]}]).bound()
        assert bound.input_image_tokens == 7_740
        assert bound.input_tokens < 8_300


def test_an_image_by_its_url_counts_too():
    part = {"type": "image_url", "image_url": "https://example.com/a.png"}
    assert chat(messages=[{"role": "user", "content": [part]}]).bound().input_image_tokens == 1_445


@pytest.mark.parametrize(
    ("provider", "model", "detail", "tokens"),
    [
        ("openai", "gpt-4o", None, 1_445),
        ("openai", "gpt-4o", "low", 2_833),
        ("openai", "gpt-4o-mini", "low", 48_169),
        ("azure", "gpt-4o-mini-2024-07-18", "high", 48_169),
        ("openai", "gpt-4.1-mini", "high", 24_600),
        ("openai", "gpt-5.4", "original", 24_600),
        ("openai", "o3", "high", 1_445),
        ("openai", "o4-mini", "high", 24_600),
        ("openai", "gpt-6-sol", "high", 6_150),
        ("openai", "gpt-6-sol", "auto", None),
        ("anthropic", "claude-opus-5", None, 4_784),
        ("vllm", "qwen-vl", None, 16_384),
    ],
)
def test_image_tokens(provider, model, detail, tokens):
    assert image_tokens(provider, model, detail) == tokens


def test_images_that_are_seen_pixel_by_pixel():
    """OpenAI's models from 6 on have no maximum: the bound of an image follows from its pixels, or is not known."""
    url = "data:image/png;base64," + PNG
    part = {"type": "image_url", "image_url": {"url": url}}
    seen = chat(model="gpt-6-sol", messages=[{"role": "user", "content": [part]}])
    assert seen.bound().input_image_tokens == 29_447, "126 x 95 patches at 2.46"
    assert seen.unbounded == ()
    by_url = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    assert chat(model="gpt-6-sol", messages=[{"role": "user", "content": [by_url]}]).unbounded == ("an image",)
    assert chat(model="gpt-5.4", messages=[{"role": "user", "content": [part]}]).bound().input_image_tokens == 24_600


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x0f\xc0\0\0\x0b\xd0", (4_032, 3_024)),
        (b"GIF89a\x40\x01\xf0\0", (320, 240)),
        (b"\xff\xd8\xff\xe1\0\x10" + bytes(14) + b"\xff\xff\xc2\0\x11\x08\x0b\xd0\x0f\xc0\x03", (4_032, 3_024)),
        (b"\xff\xd8\xff\xc4\0\x04\0\0\xff\xc0\0\x11\x08\0\x10\0\x20\x03", (32, 16)),
        (b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\xbf\x0f\0\xcf\x0b\0", (4_032, 3_024)),
        (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x1f\xc0\x03\0", (32, 16)),
        (b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x20\0\x10\0", (32, 16)),
        (b"RIFF\0\0\0\0WEBPWHAT", None),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"\xff\xd8\xff\xd9" + bytes(20), None),
        (b"\xff\xd8\xff\xe1\xff\xff" + bytes(20), None),
        (b"BM" + bytes(20), None),
        (b"", None),
    ],
)
def test_the_size_of_an_image_stands_in_its_first_bytes(head, size):
    assert size_of(base64.b64encode(head + bytes(-len(head) % 3)).decode()) == size


def test_what_is_no_base64_has_no_size():
    assert size_of("data:image/png;base64") is None
    assert size_of("é€") is None


def test_audio_counts_by_its_bytes():
    sound = base64.b64encode(bytes(100_000)).decode()
    part = {"type": "input_audio", "input_audio": {"data": sound, "format": "mp3"}}
    bound = chat(
        model="gpt-audio", modalities=["text", "audio"], messages=[{"role": "user", "content": [part]}]
    ).bound()
    assert 10_000 <= bound.input_audio_tokens < 10_010
    assert bound.output_audio_tokens == bound.output_tokens
    blob = {"inlineData": {"mimeType": "audio/mp3", "data": sound}}
    assert 10_000 <= generate(contents=[{"parts": [blob]}]).bound().input_audio_tokens < 10_010


@pytest.mark.parametrize(
    ("billable", "what"),
    [
        (chat(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "f_1"}}]}]), "file"),
        (respond(previous_response_id="resp_1"), "previous_response_id"),
        (respond(conversation="conv_1"), "conversation"),
        (respond(input=[{"role": "user", "content": [{"type": "input_file", "file_data": PIXELS}]}]), "a file"),
        (respond(tools=[{"type": "web_search_preview"}]), "web_search"),
        (respond(tools=[{"type": "mcp", "server_label": "s"}]), "mcp"),
        (
            message(
                messages=[
                    {"role": "user", "content": [{"type": "document", "source": {"type": "base64", "data": PIXELS}}]}
                ]
            ),
            "a document",
        ),
        (message(mcp_servers=[{"url": "https://x"}]), "mcp_servers"),
        (message(tools=[{"type": "web_fetch_20260309", "name": "web_fetch"}]), "web_fetch_20260309"),
        (generate(cachedContent="cachedContents/c"), "cachedContent"),
        (generate(contents=[{"parts": [{"fileData": {"fileUri": "gs://x", "mimeType": "video/mp4"}}]}]), "video file"),
        (generate(tools=[{"urlContext": {}}]), "urlContext"),
    ],
)
def test_what_a_request_does_not_show_is_named_and_bounded_by_the_context_window(billable, what):
    assert billable.unbounded == (what,)
    assert billable.input_bound < 3_000, "no base64 counts as text"
    bounded = billable.bounded(128_000)
    assert bounded.input_bound == bounded.bound().input_tokens == 128_000
    assert bounded.limited(16).bound().input_tokens == 128_000, "it stays so"
    assert billable.bounded(None) is billable
    assert bounded.body == billable.body


def test_a_request_that_shows_its_input_needs_no_context_window():
    assert chat().bounded(128_000) == chat()
    text = {"type": "document", "source": {"type": "text", "data": "words"}}
    assert message(messages=[{"role": "user", "content": [text]}]).unbounded == ()


def test_a_bound_is_of_the_dearest_kind_that_may_be_billed():
    """Models of OpenAI's may write each prompt to a cache, at a higher price; Anthropic's only when told to."""
    assert chat().bound().cache_write_tokens == chat().input_bound
    assert message().bound().cache_write_tokens == 0
    cached = message(system=[{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}])
    assert cached.bound().cache_write_tokens == cached.input_bound
    assert cached.bound().cache_write_1h_tokens == 0
    for asks in (message, chat):
        hour = asks(cache_control={"type": "ephemeral", "ttl": "1h"})
        assert hour.bound().cache_write_1h_tokens == hour.input_bound
    assert chat().bound().cache_write_1h_tokens == 0
    assert respond(tools=[{"type": "web_search"}], max_tool_calls=3).bound().web_searches == 3
    assert respond(tools=[{"type": "file_search"}]).bound().storage_searches == 10
    assert (
        message(tools=[{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}]).bound().web_searches == 2
    )
    assert generate(tools=[{"google_search": {}}]).bound().web_searches == 10
    assert generate("gemini-3-pro-image-preview").bound().output_image_tokens == 1_000
    assert generate(generationConfig={"responseModalities": ["AUDIO"]}).bound().output_audio_tokens == 1_000


def test_a_bound_is_priced_in_the_dearer_tier():
    assert chat(service_tier="priority").bound().terms == (("service_tier", "priority"),)
    assert respond(service_tier="ultrafast").bound().terms == (("service_tier", "ultrafast"),)
    for tier in ("PRIORITY", "SERVICE_TIER_PRIORITY"):
        assert generate(serviceTier=tier).bound().terms == (("service_tier", "priority"),)
    assert generate(serviceTier="SERVICE_TIER_UNSPECIFIED").bound().terms == ()
    assert message(speed="fast", inference_geo="us").bound().terms == (("inference_geo", "us"), ("speed", "fast"))
    for tier in ("flex", "auto", "default", None):
        assert chat(service_tier=tier).bound().terms == ()


def test_tools_of_anthropics_own_count_for_more_than_their_names():
    plain = message(tools=[{"name": "f", "input_schema": {}}])
    assert plain.input_bound >= message().input_bound + 1_000
    bash = message(tools=[{"type": "bash_20250124", "name": "bash"}])
    assert bash.input_bound >= message().input_bound + 2_000


@pytest.mark.parametrize(
    "make",
    [
        lambda: respond(tools=[{"type": "code_interpreter", "container": {"type": "auto"}}]),
        lambda: respond(tools=[{"type": "image_generation"}]),
        lambda: respond(tools=[{"type": "shell", "environment": {"type": "container_auto"}}]),
        lambda: respond(background=True),
        lambda: message(tools=[{"type": "code_execution_20250825", "name": "code_execution"}]),
        lambda: message(tools=[{"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"}]),
        lambda: message(fallbacks=[{"model": "claude-haiku-4-5"}]),
        lambda: generate(tools=[{"googleMaps": {}}]),
        lambda: generate(tools=[{"a_tool_of_tomorrow": {}}]),
    ],
)
def test_tools_that_are_billed_apart_are_refused(make):
    with pytest.raises(cycles.Unmeterable):
        make()


def test_a_shell_of_the_callers_own_is_no_such_tool():
    assert respond(tools=[{"type": "shell", "environment": {"type": "local"}}, {"type": "local_shell"}]).unbounded == ()


def test_a_billable_shows_no_prompt():
    assert "secret" not in repr(chat(messages=[{"role": "user", "content": "secret"}]))


def test_a_usage_shows_what_it_counts():
    assert repr(Usage(input_tokens=3, model="m")) == "Usage(input_tokens=3, model='m')"
    assert Usage(input_tokens=3, output_tokens=4, cache_read_tokens=2).total_tokens == 7


SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA" * 100, "format": "wav"}}
IMAGE = {"type": "image", "source": {"type": "base64", "data": PIXELS}}


INLINE = {"inlineData": {"mimeType": "image/png", "data": PIXELS}}
NESTED = {"type": "document", "source": {"type": "content", "content": [IMAGE]}}


def user(*parts):
    return [{"role": "user", "content": list(parts)}]


@pytest.mark.parametrize(
    ("billable", "unbounded"),
    [
        (respond(input=[{"type": "item_reference", "id": "i"}]), ("item_reference",)),
        (respond(input=[{"role": "user", "content": [SOUND]}, "odd", {"content": ["odd"]}]), ()),
        (message(messages=user("odd", {"type": "container_upload", "file_id": "f"})), ("container_upload",)),
        (message(messages=user(NESTED)), ()),
        (chat(messages=user("odd", {"type": "video_url", "video_url": {"url": "https://x"}})), ("video_url",)),
        (chat("mistral", messages=user({"type": "document_url", "document_url": "https://x"})), ("document_url",)),
        (chat(messages=[{"role": "assistant", "audio": {"id": "a"}}]), ("audio of an earlier answer",)),
        (chat(messages=user({"type": "input_audio", "input_audio": {}})), ("audio by reference",)),
        (chat("openrouter", plugins=[{"id": "web"}]), ("plugins",)),
        (generate(contents=[{"parts": [{"functionResponse": {"parts": [INLINE]}}]}]), ()),
        (generate(contents={"parts": [{"text": "alone"}]}), ()),
    ],
)  # fmt: skip
def test_what_else_a_request_may_hold(billable, unbounded):
    assert billable.unbounded == unbounded
    assert billable.input_bound < 9_000, "no base64 counts as text"


def test_a_query_of_embeddings_may_hold_images():
    inline = {"inlineData": {"mimeType": "image/png", "data": PIXELS}}
    billable = asked(
        "google", "/v1beta/models/e:batchEmbedContents", requests=[{"content": {"parts": [inline]}}, "odd"]
    )
    assert billable.bound().input_image_tokens == 7_740
