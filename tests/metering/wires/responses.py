"""OpenAI's wire: the responses API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.metering.wires.asked import Asked, Refusal, Reply, event, size
from tests.metering.wires.openai import CREATED, error_body

if TYPE_CHECKING:
    from collections.abc import Iterator


def _usage(reply: Reply) -> dict[str, Any]:
    counts = reply.counts
    return {
        "input_tokens": counts.input,
        "input_tokens_details": {"cached_tokens": counts.read},
        "output_tokens": counts.output,
        "output_tokens_details": {"reasoning_tokens": reply.reasoning},
        "total_tokens": counts.input + counts.output,
    }


def _item_tokens(item: dict[str, Any]) -> int:
    content = item.get("content") or ""
    texts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
    texts += [item.get("arguments") or "", item.get("name") or "", item.get("output") or ""]
    return sum(map(size, texts)) + 4


class Responses:
    """POST …/responses."""

    name = "openai.responses"

    def reads(self, path: str) -> bool:
        return path.endswith("/responses")

    def asked(self, path: str, query: str, body: dict[str, Any]) -> Asked:
        given = body.get("input")
        if not given:
            raise Refusal("'input' is a required property")
        items = [{"content": given}] if isinstance(given, str) else given
        tools = body.get("tools") or []
        shape = (body.get("text") or {}).get("format") or {}
        schema = shape.get("schema") if shape.get("type") == "json_schema" else None
        total = sum(map(_item_tokens, items)) + 3 + size(body.get("instructions") or "")
        total += size(tools) if tools else 0
        total += size(schema) if schema else 0
        return Asked(
            model=body["model"],
            input=total,
            most=body.get("max_output_tokens"),
            streamed=bool(body.get("stream")),
            tool=tools[0]["name"] if tools else None,
            schema=schema,
            sent=body,
        )

    def _item(self, reply: Reply, status: str, text: str) -> dict[str, Any]:
        if reply.asked.tool:
            return {
                "type": "function_call",
                "id": f"fc_{reply.number}",
                "call_id": "call_1",
                "name": reply.asked.tool,
                "arguments": text,
                "status": status,
            }
        content = [self._part(text)] if status != "in_progress" else []
        return {
            "type": "message",
            "id": f"msg_{reply.number}",
            "role": "assistant",
            "status": status,
            "content": content,
        }

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _whole(self, reply: Reply, status: str, output: list[Any]) -> dict[str, Any]:
        sent = reply.asked.sent
        ended = status in ("completed", "incomplete")
        return {
            "id": f"resp_{reply.number}",
            "object": "response",
            "created_at": CREATED,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": sent.get("instructions"),
            "max_output_tokens": sent.get("max_output_tokens"),
            "model": reply.asked.model,
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": True,
            "temperature": 1.0,
            "text": sent.get("text") or {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": sent.get("tools") or [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": _usage(reply) if ended and reply.tells else None,
            "user": None,
            "metadata": {},
        }

    def _end(self, reply: Reply) -> str:
        return "incomplete" if reply.cut else "completed"

    def body(self, reply: Reply) -> dict[str, Any]:
        end = self._end(reply)
        return self._whole(reply, end, [self._item(reply, end, reply.text)])

    def events(self, reply: Reply) -> Iterator[bytes | None]:
        number = 0

        def told(kind: str, **fields: Any) -> bytes:
            nonlocal number
            number += 1
            return event({"type": kind, "sequence_number": number - 1, **fields}, kind)

        tool, end = reply.asked.tool, self._end(reply)
        item_id = f"fc_{reply.number}" if tool else f"msg_{reply.number}"
        place: dict[str, Any] = {"item_id": item_id, "output_index": 0}
        inside = place | {"content_index": 0}
        yield told("response.created", response=self._whole(reply, "in_progress", []))
        yield told("response.in_progress", response=self._whole(reply, "in_progress", []))
        yield told("response.output_item.added", output_index=0, item=self._item(reply, "in_progress", ""))
        if not tool:
            yield told("response.content_part.added", part=self._part(""), **inside)
        for token in reply.tokens:
            yield None
            if tool:
                yield told("response.function_call_arguments.delta", delta=token, **place)
            else:
                yield told("response.output_text.delta", delta=token, logprobs=[], **inside)
        if tool:
            yield told("response.function_call_arguments.done", arguments=reply.text, name=tool, **place)
        else:
            yield told("response.output_text.done", text=reply.text, logprobs=[], **inside)
            yield told("response.content_part.done", part=self._part(reply.text), **inside)
        item = self._item(reply, end, reply.text)
        yield told("response.output_item.done", output_index=0, item=item)
        yield told(f"response.{end}", response=self._whole(reply, end, [item]))

    def error(self, status: int, message: str) -> dict[str, Any]:
        return error_body(status, message)

    def failure(self) -> bytes:
        data = {
            "type": "error",
            "code": "server_error",
            "message": "the model failed",
            "param": None,
            "sequence_number": 0,
        }
        return event(data, "error")
