"""Mistral's wire: as OpenAI's, but it refuses what it does not know, and tells the usage of each stream unasked.

Its paths are found below /mistral, for they end as OpenAI's do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.metering.wires import openai
from tests.metering.wires.asked import Asked, Refusal, Reply, event, size

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX: Final = "/mistral/"
_COMPLETION: Final = {"model", "max_tokens", "min_tokens", "stream", "stop", "random_seed", "temperature", "top_p"} | {
    *("metadata", "prompt_cache_key")
}
_CHAT: Final = _COMPLETION | {
    *("messages", "response_format", "tools", "tool_choice", "parallel_tool_calls", "n", "prediction", "guardrails"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty", "top_k", "reasoning_effort", "prompt_mode"),
    *("logprobs", "top_logprobs", "prompt_logprobs", "top_prompt_logprobs", "service_tier", "safe_prompt"),
}
_FIM: Final = _COMPLETION | {"prompt", "suffix"}
_EMBEDDINGS: Final = {"model", "input", "metadata", "output_dimension", "output_dtype", "encoding_format"}


def _must_know(body: dict[str, Any], known: set[str]) -> None:
    for name in body:
        if name not in known:
            raise Refusal(name, status=422)


def _error(status: int, message: str) -> dict[str, Any]:
    if status == 422:
        return {
            "detail": [{"type": "extra_forbidden", "loc": ["body", message], "msg": "Extra inputs are not permitted"}]
        }
    return {"object": "error", "message": message, "type": "invalid_request_error", "param": None, "code": None}


def _usage(reply: Reply) -> dict[str, Any]:
    counts = reply.counts
    return {
        "prompt_tokens": counts.input,  # what was cached is a part of it
        "completion_tokens": counts.output,
        "total_tokens": counts.input + counts.output,
        "prompt_tokens_details": {"cached_tokens": counts.read},
        "service_tier": "standard",
    }


class MistralChat(openai.Chat):
    """POST …/chat/completions."""

    name = "mistral.chat"
    known = _CHAT
    path = "/chat/completions"

    def reads(self, path: str) -> bool:
        return path.startswith(PREFIX) and path.endswith(self.path)

    def asked(self, path: str, query: str, body: dict[str, Any]) -> Asked:
        _must_know(body, self.known)
        asked = super().asked(path, query, body)
        asked.wants_usage = True
        return asked

    def _frame(self, reply: Reply, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kept = {"id": f"{reply.number:032x}", "object": kind, "created": openai.CREATED, "model": reply.asked.model}
        return kept | {"choices": choices}

    def body(self, reply: Reply) -> dict[str, Any]:
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "" if reply.calls else reply.text,
            "tool_calls": None,
        }
        if reply.calls:
            message["tool_calls"] = self._called(reply)
        indices = range(reply.asked.candidates)
        choices = [{"index": index, "message": message, "finish_reason": self._reason(reply)} for index in indices]
        return self._frame(reply, "chat.completion", choices) | ({"usage": _usage(reply)} if reply.tells else {})

    def _called(self, reply: Reply) -> list[dict[str, Any]]:
        return [
            {"id": call.id, "function": {"name": call.name, "arguments": call.text}, "index": index}
            for index, call in enumerate(reply.calls)
        ]

    def events(self, reply: Reply) -> Iterator[bytes | None]:
        """Each choice ends with a chunk of its own, and the very last chunk tells the usage. A call comes whole."""
        indices = range(reply.asked.candidates)

        def chunk(index: int, delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
            choice = {"index": index, "delta": delta, "finish_reason": reason}
            return event(self._frame(reply, "chat.completion.chunk", [choice]) | more)

        for index in indices:
            yield chunk(index, {"role": "assistant", "content": ""})
        for token in reply.tokens:
            for index in indices:
                yield None
                if not reply.calls:
                    yield chunk(index, {"content": token})
        called = {"tool_calls": self._called(reply)} if reply.calls else {}
        for index in indices:
            told = {"usage": _usage(reply)} if reply.tells and index == indices[-1] else {}
            yield chunk(index, {"content": ""} | called, self._reason(reply), **told)
        yield event("[DONE]")

    def error(self, status: int, message: str) -> dict[str, Any]:
        return _error(status, message)

    def failure(self) -> bytes:
        return event(
            {"object": "error", "message": "the model failed", "type": "internal_server_error", "code": "3000"}
        )


class Fim(MistralChat):
    """POST …/fim/completions: what stands between a prompt and its suffix."""

    name = "mistral.fim"
    known = _FIM
    path = "/fim/completions"

    def asked(self, path: str, query: str, body: dict[str, Any]) -> Asked:
        _must_know(body, self.known)
        return Asked(
            model=body["model"],
            input=size(body["prompt"]) + size(body.get("suffix") or "") + 3,
            most=body.get("max_tokens"),
            streamed=bool(body.get("stream")),
            sent=body,
        )


class Embeddings(openai.Embeddings):
    """POST …/embeddings."""

    name = "mistral.embeddings"

    def reads(self, path: str) -> bool:
        return path.startswith(PREFIX) and super().reads(path)

    def asked(self, path: str, query: str, body: dict[str, Any]) -> Asked:
        _must_know(body, _EMBEDDINGS)
        return super().asked(path, query, body)

    def body(self, reply: Reply) -> dict[str, Any]:
        answer = super().body(reply) | {"id": f"{reply.number:032x}"}
        if reply.tells:
            answer["usage"]["completion_tokens"] = 0
        return answer

    def error(self, status: int, message: str) -> dict[str, Any]:
        return _error(status, message)
