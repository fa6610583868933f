"""OpenAI's wire: chat completions and embeddings. The responses API is in responses.py."""

from __future__ import annotations

import base64
import struct
from typing import TYPE_CHECKING, Any

from tests.metering.wires.asked import Asked, Refusal, Reply, event, size

if TYPE_CHECKING:
    from collections.abc import Iterator

CREATED = 1_790_000_000


def error_body(status: int, message: str) -> dict[str, Any]:
    kinds = {429: "rate_limit_exceeded", 400: "invalid_request_error"}
    kind = kinds.get(status, "server_error")
    return {"error": {"message": message, "type": kind, "param": None, "code": kind}}


def _usage(reply: Reply) -> dict[str, Any]:
    counts = reply.counts
    return {
        "prompt_tokens": counts.input,  # what was cached is a part of it
        "completion_tokens": counts.output,  # and so is reasoning, of this
        "total_tokens": counts.input + counts.output,
        "prompt_tokens_details": {"cached_tokens": counts.read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reply.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _message_tokens(message: dict[str, Any]) -> int:
    content = message.get("content") or ""
    texts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    called = sum(size(call["name"]) + size(call["arguments"]) for call in calls)
    return sum(map(size, texts)) + called + 4  # role and boundaries


class Chat:
    """POST …/chat/completions."""

    name = "openai.chat"

    def reads(self, path: str) -> bool:
        return path.endswith("/chat/completions")

    def asked(self, path: str, query: str, body: dict[str, Any]) -> Asked:
        if not body.get("messages"):
            raise Refusal("'messages' is a required property")
        tools = body.get("tools") or []
        shape = body.get("response_format") or {}
        schema = shape["json_schema"]["schema"] if shape.get("type") == "json_schema" else None
        total = sum(map(_message_tokens, body["messages"])) + 3
        total += size(tools) if tools else 0
        total += size(schema) if schema else 0
        return Asked(
            model=body["model"],
            input=total,
            most=body.get("max_completion_tokens") or body.get("max_tokens"),
            candidates=body.get("n") or 1,
            streamed=bool(body.get("stream")),
            wants_usage=bool((body.get("stream_options") or {}).get("include_usage")),
            tool=tools[0]["function"]["name"] if tools else None,
            schema=schema,
            sent=body,
        )

    def _frame(self, reply: Reply, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{reply.number}",
            "object": kind,
            "created": CREATED,
            "model": reply.asked.model,
            "choices": choices,
            "service_tier": "default",
            "system_fingerprint": "fp_metered",
        }

    def _reason(self, reply: Reply) -> str:
        return "length" if reply.cut else "tool_calls" if reply.calls else "stop"

    def body(self, reply: Reply) -> dict[str, Any]:
        said = None if reply.calls else reply.text
        message: dict[str, Any] = {"role": "assistant", "content": said, "refusal": None, "annotations": []}
        if reply.calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.text}}
                for call in reply.calls
            ]
        choices = [
            {"index": index, "message": message, "logprobs": None, "finish_reason": self._reason(reply)}
            for index in range(reply.asked.candidates)
        ]
        usage = {"usage": _usage(reply)} if reply.tells else {}
        return self._frame(reply, "chat.completion", choices) | usage

    def events(self, reply: Reply) -> Iterator[bytes | None]:
        asked = reply.asked
        pending = {"usage": None} if asked.wants_usage else {}

        def chunk(index: int, delta: dict[str, Any], reason: str | None = None) -> bytes:
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
            return event(self._frame(reply, "chat.completion.chunk", [choice]) | pending)

        indices = range(asked.candidates)
        first: dict[str, Any] = {"role": "assistant", "content": None if reply.calls else "", "refusal": None}
        for position, call in enumerate(reply.calls):
            function = {"name": call.name, "arguments": ""}
            begun = {"index": position, "id": call.id, "type": "function", "function": function}
            for index in indices:
                yield chunk(index, (first if position == 0 else {}) | {"tool_calls": [begun]})
            for token in call.tokens:
                for index in indices:
                    yield None
                    yield chunk(index, {"tool_calls": [{"index": position, "function": {"arguments": token}}]})
        if not reply.calls:
            for index in indices:
                yield chunk(index, first)
            for token in reply.tokens:
                for index in indices:
                    yield None
                    yield chunk(index, {"content": token})
        for index in indices:
            yield chunk(index, {}, self._reason(reply))
        if asked.wants_usage and reply.tells:
            yield event(self._frame(reply, "chat.completion.chunk", []) | {"usage": _usage(reply)})
        yield event("[DONE]")

    def error(self, status: int, message: str) -> dict[str, Any]:
        return error_body(status, message)

    def failure(self) -> bytes:
        return event(error_body(500, "the server had an error while processing your request"))


class Embeddings:
    """POST …/embeddings."""

    name = "openai.embeddings"

    def reads(self, path: str) -> bool:
        return path.endswith("/embeddings")

    def asked(self, path: str, query: str, body: dict[str, Any]) -> Asked:
        given = body.get("input") or []
        texts = [given] if isinstance(given, str) else given
        if not texts:
            raise Refusal("'input' is a required property")
        return Asked(model=body["model"], input=sum(map(size, texts)), most=0, texts=len(texts), sent=body)

    def body(self, reply: Reply) -> dict[str, Any]:
        vector: Any = [0.5, -0.25]
        if reply.asked.sent.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack("<2f", *vector)).decode()
        data = [{"object": "embedding", "index": index, "embedding": vector} for index in range(reply.asked.texts)]
        total = reply.counts.input
        usage = {"usage": {"prompt_tokens": total, "total_tokens": total}} if reply.tells else {}
        return {"object": "list", "data": data, "model": reply.asked.model} | usage

    def events(self, reply: Reply) -> Iterator[bytes | None]:
        raise NotImplementedError  # embeddings are not streamed

    def error(self, status: int, message: str) -> dict[str, Any]:
        return error_body(status, message)

    def failure(self) -> bytes:
        raise NotImplementedError  # embeddings are not streamed
