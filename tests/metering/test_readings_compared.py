"""Usage is read as genai-prices reads it, which charges by the same answers."""

from __future__ import annotations

import pytest

from cycles._metering import conventions

CHAT = {
    "model": "a-model",
    "usage": {
        "prompt_tokens": 1_000,
        "completion_tokens": 500,
        "prompt_tokens_details": {"cached_tokens": 300, "audio_tokens": 50, "cache_write_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 100, "audio_tokens": 30},
    },
}
RESPONSE = {
    "model": "a-model",
    "usage": {
        "input_tokens": 1_000,
        "input_tokens_details": {"cached_tokens": 300, "cache_write_tokens": 20},
        "output_tokens": 500,
        "output_tokens_details": {"reasoning_tokens": 100},
    },
}
MESSAGE = {
    "model": "a-model",
    "usage": {
        "input_tokens": 1_000,
        "cache_creation_input_tokens": 70,
        "cache_read_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 50, "ephemeral_1h_input_tokens": 20},
        "server_tool_use": {"web_search_requests": 4},
        "output_tokens": 500,
    },
}
CONTENT = {
    "modelVersion": "a-model",
    "usageMetadata": {
        "promptTokenCount": 1_000,
        "cachedContentTokenCount": 300,
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 290}, {"modality": "AUDIO", "tokenCount": 10}],
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 900},
            {"modality": "AUDIO", "tokenCount": 60},
            {"modality": "IMAGE", "tokenCount": 40},
        ],
        "candidatesTokenCount": 500,
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 30}, {"modality": "TEXT", "tokenCount": 470}],
        "thoughtsTokenCount": 100,
        "toolUsePromptTokenCount": 80,
    },
}
WIRES = {"prompt_tokens": CHAT, "input_tokens": RESPONSE, "promptTokenCount": CONTENT}


@pytest.mark.slow
def test_usage_is_read_as_genai_prices_reads_it():
    """Of each of its providers, in each wire that we read; what it leaves out we may read."""
    snapshot = pytest.importorskip("genai_prices.data_snapshot").get_snapshot()
    compared = 0
    for provider in snapshot.providers:
        for extractor in provider.extractors or ():
            first = next((mapping.path for mapping in extractor.mappings if isinstance(mapping.path, str)), None)
            ours, told = _our_reading(provider.id, first, extractor)
            if ours is None:
                continue
            _, theirs = extractor.extract(told)
            for name, count in vars(theirs).items():
                if hasattr(ours, name):
                    assert getattr(ours, name) == count, (provider.id, extractor.api_flavor, name)
            compared += 1
    assert compared > 60


def _our_reading(provider, first, extractor):
    anthropic = any(mapping.path == "cache_creation_input_tokens" for mapping in extractor.mappings)
    apart = provider in {"perplexity", "aws", "cohere", "cursor"} and extractor.api_flavor != "chat"
    if apart or extractor.root not in ("usage", "usageMetadata"):
        return None, None
    if extractor.api_flavor in {"realtime", "images", "live", "anthropic"} and not anthropic:
        return None, None
    if anthropic:
        return conventions.messages(MESSAGE), MESSAGE
    if first == "prompt_tokens":
        if any(isinstance(mapping.path, str) for mapping in extractor.mappings[1:-1]):
            return None, None  # a place of its own for its details, tested above
        if provider == "x-ai" and extractor.api_flavor == "default":
            return None, None
        return conventions.chat(provider, CHAT), CHAT
    if first == "input_tokens":
        return conventions.responses(provider, RESPONSE), RESPONSE
    return (conventions.gemini(CONTENT), CONTENT) if first == "promptTokenCount" else (None, None)
