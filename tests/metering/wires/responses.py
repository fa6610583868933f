"""OpenAI's wire: the responses API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.metering.wires.asked import Asked, Refusal, Reply, event, size
from tests.metering.wires.openai import CREATED, error_body

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.metering.wires.asked import Called


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

    def _call(self, call: Called, status: str) -> dict[str, Any]:
        arguments = "" if status == "in_progress" else call.text
        kept = {"id": f"fc_{call.id}", "call_id": call.id, "name": call.name}
        return {"type": "function_call", **kept, "arguments": arguments, "status": status}

    def _message(self, reply: Reply, status: str) -> dict[str, Any]:
        content = [self._part(reply.text)] if status != "in_progress" else []
        kept = {"id": f"msg_{reply.number}", "role": "assistant"}
        return {"type": "message", **kept, "status": status, "content": content}

    def _items(self, reply: Reply, status: str) -> list[dict[str, Any]]:
        return [self._call(call, status) for call in reply.calls] or [self._message(reply, status)]

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
        return self._whole(reply, end, self._items(reply, end))

    def events(self, reply: Reply) -> Iterator[bytes | None]:
        number = 0

        def told(kind: str, **fields: Any) -> bytes:
            nonlocal number
            number += 1
            return event({"type": kind, "sequence_number": number - 1, **fields}, kind)

        yield told("response.created", response=self._whole(reply, "in_progress", []))
        yield told("response.in_progress", response=self._whole(reply, "in_progress", []))
        end = self._end(reply)
        for index, (begun, item) in enumerate(
            zip(self._items(reply, "in_progress"), self._items(reply, end), strict=True)
        ):
            place: dict[str, Any] = {"item_id": item["id"], "output_index": index}
            yield told("response.output_item.added", output_index=index, item=begun)
            if reply.calls:
                call = reply.calls[index]
                for token in call.tokens:
                    yield None
                    yield told("response.function_call_arguments.delta", delta=token, **place)
                yield told("response.function_call_arguments.done", arguments=call.text, name=call.name, **place)
            else:
                inside = place | {"content_index": 0}
                yield told("response.content_part.added", part=self._part(""), **inside)
                for token in reply.tokens:
                    yield None
                    yield told("response.output_text.delta", delta=token, logprobs=[], **inside)
                yield told("response.output_text.done", text=reply.text, logprobs=[], **inside)
                yield told("response.content_part.done", part=self._part(reply.text), **inside)
            yield told("response.output_item.done", output_index=index, item=item)
        yield told(f"response.{end}", response=self._whole(reply, end, self._items(reply, end)))

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
