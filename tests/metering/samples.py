"""Requests and answers as the providers' wires have them, for the tests of their readings."""

from __future__ import annotations

import itertools
import json
from typing import Any

from cycles._metering.request import Billable, read


def asked(provider: str, path: str, *, max_output: int = 1_000, **body: Any) -> Billable:
    """Return what a request bills; it has to bill."""
    billable = read(provider, "POST", path, {}, json.dumps(body).encode(), max_output=max_output)
    assert billable is not None
    return billable


def chat(provider: str = "openai", *, max_output: int = 1_000, **body: Any) -> Billable:
    """Return a chat completion that says "hi", unless *body* says something else."""
    said = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], **body}
    return asked(provider, "/v1/chat/completions", max_output=max_output, **said)


def respond(*, max_output: int = 1_000, **body: Any) -> Billable:
    """Return a response of OpenAI's."""
    return asked("openai", "/v1/responses", max_output=max_output, **{"model": "gpt-4o", "input": "hi", **body})


def message(*, max_output: int = 1_000, **body: Any) -> Billable:
    """Return a message of Anthropic's."""
    said = {
        "model": "claude-opus-4-5",
        "max_tokens": 500,
        "messages": [{"role": "user", "content": "hi"}],
        **body,
    }
    return asked("anthropic", "/v1/messages", max_output=max_output, **said)


def generate(model: str = "gemini-2.0-flash", *, method: str = "generateContent", max_output: int = 1_000, **body: Any):
    """Return a generateContent of Google's."""
    said = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], **body}
    return asked("google", f"/v1beta/models/{model}:{method}", max_output=max_output, **said)


def sent(billable: Billable) -> Any:
    """Return what is sent, parsed."""
    return json.loads(billable.body)


def events(*contents: object, named: bool = False, end: str = "\n") -> bytes:
    """Return a stream of server-sent events."""
    lines = []
    for content in contents:
        text = content if isinstance(content, str) else json.dumps(content)
        if named and isinstance(content, dict):
            lines.append(f"event: {content['type']}{end}")
        lines.append(f"data: {text}{end}{end}")
    return "".join(lines).encode()


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return *data*, cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]
