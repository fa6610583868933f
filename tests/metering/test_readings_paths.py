"""Which requests bill, which are free, and which are refused because nobody knows what they bill."""

from __future__ import annotations

import json

import httpx
import pytest

import cycles
from cycles._metering import failures
from cycles._metering.request import provider_of, read, region_of
from tests.metering.samples import asked, chat

BODY = json.dumps({"model": "m", "messages": [], "prompt": "", "input": "", "contents": [], "max_tokens": 5}).encode()

BILLS = [
    ("openai", "/v1/chat/completions", "llm.completion", "m"),
    ("openai", "/v1/completions", "llm.completion", "m"),
    ("openai", "/v1/responses", "llm.completion", "m"),
    ("openai", "/v1/embeddings", "llm.embedding", "m"),
    ("openai", "/a/proxy/of/ours/chat/completions", "llm.completion", "m"),
    ("azure", "/openai/deployments/mine/chat/completions?api-version=2026-01-01", "llm.completion", "m"),
    ("azure", "/openai/v1/responses", "llm.completion", "m"),
    ("groq", "/openai/v1/chat/completions", "llm.completion", "m"),
    ("together", "/v1/chat/completions", "llm.completion", "m"),
    ("openrouter", "/api/v1/chat/completions", "llm.completion", "m"),
    ("deepseek", "/chat/completions", "llm.completion", "m"),
    ("deepseek", "/anthropic/v1/messages", "llm.completion", "m"),
    ("fireworks", "/inference/v1/chat/completions", "llm.completion", "m"),
    ("mistral", "/v1/chat/completions", "llm.completion", "m"),
    ("mistral", "/v1/fim/completions", "llm.completion", "m"),
    ("mistral", "/v1/responses", "llm.completion", "m"),
    ("mistral", "/v1/embeddings", "llm.embedding", "m"),
    ("google", "/v1beta/openai/chat/completions", "llm.completion", "m"),
    ("anthropic", "/v1/messages", "llm.completion", "m"),
    ("anthropic", "/v1/messages?beta=true", "llm.completion", "m"),
    ("google", "/v1beta/models/gemini-x:generateContent", "llm.completion", "gemini-x"),
    ("google", "/v1beta/models/gemini-x:streamGenerateContent?alt=sse", "llm.completion", "gemini-x"),
    (
        "google",
        "/v1/projects/p/locations/l/publishers/google/models/gemini-x:generateContent",
        "llm.completion",
        "gemini-x",
    ),
    (
        "google",
        "/v1/projects/p/locations/l/publishers/anthropic/models/claude-x:rawPredict",
        "llm.completion",
        "claude-x",
    ),
    ("google", "/v1beta/models/embed-x:embedContent", "llm.embedding", "embed-x"),
    ("google", "/v1beta/models/embed-x:batchEmbedContents", "llm.embedding", "embed-x"),
]


@pytest.mark.parametrize(("provider", "path", "kind", "model"), BILLS)
def test_what_bills(provider, path, kind, model):
    billable = read(provider, "POST", path, {}, BODY, max_output=100)
    assert billable is not None
    assert (billable.provider, billable.model) == (provider, model)
    assert billable.action == (kind, f"{provider}:{model}")


@pytest.mark.parametrize(
    ("provider", "method", "path"),
    [
        ("openai", "GET", "/v1/models"),
        ("openai", "GET", "/v1/batches/b_1"),
        ("openai", "DELETE", "/v1/files/f_1"),
        ("openai", "POST", "/v1/files"),
        ("openai", "POST", "/v1/uploads/u_1/parts"),
        ("openai", "POST", "/v1/moderations"),
        ("openai", "POST", "/v1/responses/input_tokens"),
        ("openai", "POST", "/v1/responses/resp_1/cancel"),
        ("openai", "POST", "/v1/conversations"),
        ("openai", "POST", "/v1/conversations/c_1/items"),
        ("openai", "POST", "/v1/batches/b_1/cancel"),
        ("anthropic", "POST", "/v1/messages/count_tokens?beta=true"),
        ("anthropic", "GET", "/v1/messages/batches/b_1/results"),
        ("google", "POST", "/v1beta/models/gemini-x:countTokens"),
        ("google", "POST", "/upload/v1beta/files"),
        ("google", "GET", "/v1beta/models/gemini-x"),
        ("vllm", "POST", "/tokenize"),
        ("mistral", "POST", "/v1/agents"),
        ("mistral", "PATCH", "/v1/agents/ag_1"),
        ("mistral", "PUT", "/v1/agents/ag_1/aliases"),
        ("mistral", "PATCH", "/v1/agents/ag_1/version"),
        ("mistral", "POST", "/v1/batch/jobs/j_1/cancel"),
        ("mistral", "POST", "/v1/fine_tuning/models/m_1/archive"),
        ("mistral", "POST", "/v1/responses/input_tokens"),
        ("mistral", "GET", "/v1/conversations/c_1/history"),
        ("mistral", "POST", "/v1/files"),
    ],
)
def test_what_is_free(provider, method, path):
    assert read(provider, method, path, {}, b"whatever it is", max_output=100) is None


@pytest.mark.parametrize(
    ("provider", "path", "why"),
    [
        ("openai", "/v1/batches", "batch"),
        ("anthropic", "/v1/messages/batches", "batch"),
        ("google", "/v1beta/models/gemini-x:batchGenerateContent", "batch"),
        ("openai", "/v1/images/generations", "images"),
        ("openai", "/v1/audio/transcriptions", "by the minute"),
        ("openai", "/v1/audio/speech", "by the minute"),
        ("openai", "/v1/videos", "by the second"),
        ("google", "/v1beta/models/veo-x:predictLongRunning", "by the second"),
        ("google", "/v1beta/models/imagen-x:predict", "images"),
        ("openai", "/v1/realtime/client_secrets", "session"),
        ("openai", "/v1/threads/t_1/runs", "agent"),
        ("openai", "/v1/threads/t_1/messages", "agent"),
        ("google", "/v1beta/interactions", "agent"),
        ("mistral", "/v1/agents/completions", "which model"),
        ("mistral", "/v1/conversations", "agent"),
        ("mistral", "/v1/conversations/c_1", "agent"),
        ("mistral", "/v1/conversations/c_1/restart", "agent"),
        ("mistral", "/v1/moderations", "no usage"),
        ("mistral", "/v1/chat/moderations", "no usage"),
        ("mistral", "/v1/chat/classifications", "no usage"),
        ("mistral", "/v1/ocr", "by the page"),
        ("mistral", "/v1/batch/jobs", "batch"),
        ("mistral", "/v1/audio/agents", "speech"),
        ("mistral", "/v1/audio/agents/ag_1/sessions", "speech"),
        ("mistral", "/v1/audio/transcriptions", "by the minute"),
        ("mistral", "/v1/client/sessions", "agent"),
        ("mistral", "/v1/workflows/w_1/execute", "not known"),
        ("mistral", "/v1/fine_tuning/jobs", "training"),
        ("openai", "/v1/fine_tuning/jobs", "training"),
        ("openai", "/v1/vector_stores", "by the day"),
        ("google", "/v1beta/cachedContents", "by the day"),
        ("google", "/v1/projects/p/locations/l/publishers/meta/models/llama-x:rawPredict", "not known"),
        ("aws", "/model/claude/invoke", "not known"),
        ("openai", "/v1/a_path_of_tomorrow", "not known"),
    ],
)
def test_what_is_refused_because_nobody_knows_what_it_bills(provider, path, why):
    with pytest.raises(cycles.Unmeterable, match=why) as refused:
        read(provider, "POST", path, {}, BODY, max_output=100)
    assert path.rpartition("/")[2].partition(":")[0] in str(refused.value)
    assert provider in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"[]", b"no json", b'{"model": ', b"\xff\xfe", b"null"])
def test_a_body_that_is_no_object_is_refused(body):
    with pytest.raises(cycles.Unmeterable, match="no JSON object"):
        read("openai", "POST", "/v1/chat/completions", {}, body, max_output=100)


def test_a_compressed_body_is_refused():
    with pytest.raises(cycles.Unmeterable, match="compressed"):
        read(
            "openai", "POST", "/v1/chat/completions", httpx.Headers({"Content-Encoding": "gzip"}), BODY, max_output=100
        )
    assert read(
        "openai", "POST", "/v1/chat/completions", httpx.Headers({"Content-Encoding": "Identity"}), BODY, max_output=100
    )


def test_a_request_without_a_model_is_refused():
    with pytest.raises(cycles.Unmeterable, match="names no model"):
        asked("openai", "/v1/responses", prompt={"id": "pmpt_1"})


def test_a_stored_prompt_is_refused_unless_the_request_says_its_tools():
    with pytest.raises(cycles.Unmeterable, match="a stored prompt may have tools"):
        asked("openai", "/v1/responses", model="gpt-4o", prompt={"id": "pmpt_1"})
    billable = asked("openai", "/v1/responses", model="gpt-4o", prompt={"id": "pmpt_1"}, tools=[])
    assert billable.unbounded == ("prompt",)


def test_a_deployment_stands_for_the_model_where_the_body_names_none():
    billable = asked("azure", "/openai/deployments/my%20gpt/chat/completions", messages=[])
    assert billable.model == "my gpt"


@pytest.mark.parametrize(
    "body",
    [
        {"background": True},
        {"web_search_options": {}},
        {"web_search_options": {"search_context_size": "low"}},
        {"n": 0},
        {"n": "many"},
        {"max_tokens": -1},
        {"max_completion_tokens": 0},
        {"max_tokens": 1.5},
        {"max_tokens": True},
    ],
    ids=str,
)
def test_a_chat_completion_that_nobody_can_bound_is_refused(body):
    with pytest.raises(cycles.Unmeterable):
        chat(**body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"tools": [{"type": "image_generation"}]}, "image_generation"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "connector"}]}, "connector"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": "UklGRg=="}]}]}, "minute"),
    ],
    ids=["a tool of its own", "a connector", "sounds"],
)
def test_what_mistral_bills_beside_tokens_is_refused(body, why):
    with pytest.raises(cycles.Unmeterable, match=why):
        chat("mistral", **body)


def test_what_mistral_counts_in_tokens_is_not_refused():
    chat("mistral", tools=[{"type": "function", "function": {"name": "f"}}, {"function": {"name": "g"}}])
    chat("mistral", messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}, "a text of today"]}])
    chat(messages=[{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "UklGRg=="}}]}])


def test_unmeterable_is_an_error_of_ours_and_a_value_error():
    assert issubclass(cycles.Unmeterable, cycles.InvalidRequest)
    assert issubclass(cycles.UnknownPrice, cycles.ConfigError)


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("API.OpenAI.com:443", "openai"),
        ("mine.openai.azure.com", "azure"),
        ("mine.services.ai.azure.com", "azure"),
        ("api.anthropic.com", "anthropic"),
        ("generativelanguage.googleapis.com", "google"),
        ("us-central1-aiplatform.googleapis.com", "google"),
        ("aiplatform.googleapis.com", "google"),
        ("api.mistral.ai", "mistral"),
        ("api.eu.mistral.ai", "mistral"),
        ("api.us.mistral.ai:443", "mistral"),
        ("api.groq.com", "groq"),
        ("api.together.xyz", "together"),
        ("openrouter.ai", "openrouter"),
        ("api.deepseek.com", "deepseek"),
        ("evilapi.openai.com.example.com", None),
        ("notapi.mistral.ai", None),
        ("127.0.0.1:8000", None),
        ("localhost", None),
        ("", None),
    ],
)
def test_the_provider_at_a_host(host, provider):
    assert provider_of(host) == provider


@pytest.mark.parametrize(
    ("host", "model", "region"),
    [
        ("api.openai.com", "gpt-6-sol", None),
        ("eu.api.openai.com", "gpt-6-sol", "eu"),
        ("us.api.openai.com:443", "gpt-5.4-mini", "us"),
        ("eu.api.openai.com", "gpt-5.10", "eu"),
        *(("eu.api.openai.com", model, None) for model in ("gpt-4o", "gpt-5-mini", "gpt-5.2", "o3", "ft:gpt-4.1:x")),
        ("us.api.x.ai", "grok-4.6", "us"),
        ("api.eu.mistral.ai", "mistral-large-2512", "eu"),
        ("aiplatform.googleapis.com", "claude-opus-5", None),
        ("europe-west1-aiplatform.googleapis.com", "claude-opus-5", "europe-west1"),
        ("aiplatform.eu.rep.googleapis.com", "claude-sonnet-4-5@20250929", "eu"),
        ("europe-west1-aiplatform.googleapis.com", "gemini-3.5-flash", "europe-west1"),
        *(
            ("europe-west1-aiplatform.googleapis.com", model, None)
            for model in (
                *("gemini-2.5-pro", "google/gemini-2.5-pro", "gemini-embedding-001", "text-embedding-005"),
                *("claude-opus-4-1@20250805", "claude-sonnet-4@20250514", "claude-3-haiku", "meta/llama-4-maas"),
            )
        ),
        ("europe-west1-aiplatform.googleapis.com", "google/gemini-3.5-flash", "europe-west1"),
    ],
)
def test_a_region_is_part_of_the_price_where_it_has_one(host, model, region):
    assert region_of(host, model) == region


def test_a_region_of_several_has_a_host_of_its_own():
    assert provider_of("aiplatform.eu.rep.googleapis.com") == "google"


@pytest.mark.parametrize(
    ("provider", "status", "body", "is_billed"),
    [
        ("azure", 400, {"error": {"code": "content_filter"}}, True),
        ("azure", 400, {"error": {"code": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}, True),
        ("azure", 400, {"error": {"code": "invalid_request"}}, False),
        ("azure", 400, ["content_filter"], False),
        ("azure", 408, {}, True),
        ("azure", 429, {}, False),
        ("openai", 400, {"error": {"code": "content_filter"}}, False),
        ("openai", 408, {}, False),
    ],
)
def test_azure_bills_some_of_what_it_refuses(provider, status, body, is_billed):
    assert failures.is_billed(provider, status, json.dumps(body).encode()) is is_billed
