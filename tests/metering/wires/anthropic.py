"""Anthropic's wire: messages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.metering.wires.asked import Asked, Refusal, Reply, event, size

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = {400: "invalid_request_error", 429: "rate_limit_error", 503: "api_error", 529: "overloaded_error"}
TOOLS_PROMPT = 346  # tokens of the provider's own system prompt for tools, as its pages say


def _texts(content: Any) -> int:
    """Return the tokens of one message's content: text, tool calls and tool results."""
    if isinstance(content, str):
        return size(content)
    total = 0
    for block in content:
        total += size(block.get("text") or "")
        total += size(block["name"]) + size(block["input"]) if block["type"] == "tool_use" else 0
        total += _texts(block.get("content") or "") if block["type"] == "tool_result" else 0
    return total


def _usage(reply: Reply, output: int) -> dict[str, Any]:
    counts = reply.counts
    return {
        "input_tokens": counts.fresh,  # what was read from the cache or written to it is told beside it
        "cache_creation_input_tokens": counts.written,
        "cache_read_input_tokens": counts.read,
        "cache_creation": {"ephemeral_5m_input_tokens": counts.written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
    }


class Messages:
    """POST …/v1/messages."""

    name = "anthropic.messages"

    def reads(self, path: str) -> bool:
        return path.endswith("/v1/messages")

    def asked(self, path: str, query: str, body: dict[str, Any]) -> Asked:
        for field in ("messages", "max_tokens"):
            if not body.get(field):
                raise Refusal(f"{field}: Field required")
        tools = body.get("tools") or []
        shape = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
        schema = shape.get("schema")
        total = sum(_texts(message["content"]) + 4 for message in body["messages"]) + _texts(body.get("system") or "")
        total += size(tools) + TOOLS_PROMPT if tools else 0
        total += size(schema) if schema else 0
        return Asked(
            model=body["model"],
            input=total,
            most=body["max_tokens"],
            streamed=bool(body.get("stream")),
            tool=tools[0]["name"] if tools else None,
            schema=schema,
            sent=body,
        )

    def _reason(self, reply: Reply) -> str:
        return "max_tokens" if reply.cut else "tool_use" if reply.calls else "end_turn"

    def _message(self, reply: Reply, content: list[Any], reason: str | None) -> dict[str, Any]:
        return {
            "id": f"msg_{reply.number}",
            "type": "message",
            "role": "assistant",
            "model": reply.asked.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": None,
        }

    def body(self, reply: Reply) -> dict[str, Any]:
        blocks: list[dict[str, Any]] = [
            {"type": "tool_use", "id": call.id, "name": call.name, "input": {} if reply.cut else json.loads(call.text)}
            for call in reply.calls
        ]
        blocks = blocks or [{"type": "text", "text": reply.text}]
        usage = {"usage": _usage(reply, reply.counts.output)} if reply.tells else {}
        return self._message(reply, blocks, self._reason(reply)) | usage

    def events(self, reply: Reply) -> Iterator[bytes | None]:
        def told(kind: str, **fields: Any) -> bytes:
            return event({"type": kind, **fields}, kind)

        first = _usage(reply, 1 if reply.tokens else 0)  # told twice: this is a beginning, and no part of the sum
        message = self._message(reply, [], None) | ({"usage": first} if reply.tells else {})
        yield told("message_start", message=message)
        for index, call in enumerate(reply.calls):
            begun = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            yield told("content_block_start", index=index, content_block=begun)
            yield told("ping")
            for token in call.tokens:
                yield None
                delta = {"type": "input_json_delta", "partial_json": token}
                yield told("content_block_delta", index=index, delta=delta)
            yield told("content_block_stop", index=index)
        if not reply.calls:
            yield told("content_block_start", index=0, content_block={"type": "text", "text": ""})
            yield told("ping")
            for token in reply.tokens:
                yield None
                yield told("content_block_delta", index=0, delta={"type": "text_delta", "text": token})
            yield told("content_block_stop", index=0)
        usage = {"usage": _usage(reply, reply.counts.output)} if reply.tells else {}
        yield told("message_delta", delta={"stop_reason": self._reason(reply), "stop_sequence": None}, **usage)
        yield told("message_stop")

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = KINDS.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_metered"}

    def failure(self) -> bytes:
        return event(self.error(529, "Overloaded"), "error")
