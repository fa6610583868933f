"""Streamed answers as the providers send them, and how a test reads one."""

from __future__ import annotations


def chunk(content=None, *, usage=None, finish=None, **more):
    choices = [{"index": 0, "delta": {} if content is None else {"content": content}, "finish_reason": finish}]
    return {"id": "c", "model": "gpt-4o-2024-08-06", "choices": choices, "usage": usage, **more}


TOLD = {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
USAGE_CHUNK = {"id": "c", "model": "gpt-4o-2024-08-06", "choices": [], "usage": TOLD}
CHAT = [chunk("Grüße "), chunk("漢字 🙂"), chunk("\n\ndata: [DONE]\n\n"), chunk(finish="stop")]
ANTHROPIC = [
    {
        "type": "message_start",
        "message": {
            "model": "claude-opus-4-5-20251101",
            "usage": {
                "input_tokens": 6,
                "cache_creation_input_tokens": 159_217,
                "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 159_217, "ephemeral_1h_input_tokens": 0},
                "output_tokens": 1,
                "service_tier": "standard",
            },
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Grüße 漢字"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2_745}},
    {"type": "message_stop"},
]
RESPONSES = [
    {"type": "response.created", "response": {"id": "r", "usage": None}},
    {"type": "response.output_text.delta", "delta": "Grüße 漢字"},
    {
        "type": "response.completed",
        "response": {
            "model": "gpt-4o-2024-08-06",
            "service_tier": "default",
            "output": [{"type": "web_search_call", "action": {"type": "search"}}, {"type": "message"}],
            "usage": {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 3},
        },
    },
]
GEMINI = [
    {
        "candidates": [{"content": {"parts": [{"text": "Grüße "}]}}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2},
        "modelVersion": "gemini-2.0-flash-001",
    },
    {
        "candidates": [{"content": {"parts": [{"text": '漢字 "]},{['}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5, "thoughtsTokenCount": 1},
        "modelVersion": "gemini-2.0-flash-001",
    },
]


def read_in(billable, parts):
    """Return what the caller reads of *parts*, and what the reading knows at the end."""
    reading = billable.stream()
    shown = b"".join(reading.feed(part) for part in parts) + reading.close()
    return shown, reading.usage, reading.received
