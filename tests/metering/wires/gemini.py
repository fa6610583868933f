"""Gemini's wire: generateContent, streamGenerateContent and embeddings. The model is in the path."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.metering.wires.asked import Asked, Refusal, Reply, event, size

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = re.compile(r"/models/([^/:]+):(\w+)$")


def _parts(content: dict[str, Any]) -> int:
    total = 4
    for part in content.get("parts") or ():
        total += size(part.get("text") or "")
        for kind in ("functionCall", "functionResponse"):
            total += size(part[kind]) if kind in part else 0
    return total


def _matched(path: str, *methods: str) -> re.Match[str] | None:
    found = PATH.search(path)
    return found if found and found[2] in methods else None


def error_body(status: int, message: str) -> dict[str, Any]:
    words = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
    return {"error": {"code": status, "message": message, "status": words.get(status, "INTERNAL")}}


class Generate:
    """POST …/models/MODEL:generateContent, and the same as a stream."""

    name = "gemini"

    def reads(self, path: str) -> bool:
        return _matched(path, "generateContent", "streamGenerateContent") is not None

    def asked(self, path: str, query: str, body: dict[str, Any]) -> Asked:
        found = _matched(path, "generateContent", "streamGenerateContent")
        assert found is not None
        if not body.get("contents"):
            raise Refusal("contents is not specified")
        streamed = found[2] == "streamGenerateContent"
        if streamed and "alt=sse" not in query:
            raise Refusal("this endpoint streams server-sent events only")
        wanted = body.get("generationConfig") or {}
        tools = [tool for entry in body.get("tools") or () for tool in entry.get("functionDeclarations") or ()]
        schema = wanted.get("responseSchema") or wanted.get("responseJsonSchema")
        total = sum(map(_parts, body["contents"])) + _parts(body.get("systemInstruction") or {})
        total += size(body["tools"]) if tools else 0
        total += size(schema) if schema else 0
        return Asked(
            model=found[1],
            input=total,
            most=wanted.get("maxOutputTokens"),
            candidates=wanted.get("candidateCount") or 1,
            streamed=streamed,
            tool=tools[0]["name"] if tools else None,
            schema=schema,
            sent=body,
        )

    def _usage(self, reply: Reply, output: int) -> dict[str, Any]:
        if not reply.tells:
            return {}
        counts = reply.counts
        usage: dict[str, Any] = {
            "promptTokenCount": counts.input,
            "totalTokenCount": counts.input + output,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": counts.input}],
        }
        if counts.read:
            usage["cachedContentTokenCount"] = counts.read
        if reply.reasoning:
            usage["thoughtsTokenCount"] = reply.reasoning  # billed as output, and no part of the candidates' count
        if output > reply.reasoning:
            usage["candidatesTokenCount"] = output - reply.reasoning
        return {"usageMetadata": usage}

    def _frame(self, reply: Reply, candidates: list[Any], output: int) -> dict[str, Any]:
        frame = {"candidates": candidates, "modelVersion": reply.asked.model, "responseId": f"resp-{reply.number}"}
        return frame | self._usage(reply, output)

    def _part(self, reply: Reply, text: str) -> dict[str, Any]:
        if reply.asked.tool:
            return {"functionCall": {"name": reply.asked.tool, "args": reply.arguments}}
        return {"text": text}

    def _candidate(self, index: int, parts: list[Any], reason: str | None) -> dict[str, Any]:
        ending = {"finishReason": reason} if reason else {}
        return {"content": {"parts": parts, "role": "model"}, "index": index, **ending}

    def body(self, reply: Reply) -> dict[str, Any]:
        parts = [self._part(reply, reply.text)]
        reason = "MAX_TOKENS" if reply.cut else "STOP"
        candidates = [self._candidate(index, parts, reason) for index in range(reply.asked.candidates)]
        return self._frame(reply, candidates, reply.counts.output)

    def events(self, reply: Reply) -> Iterator[bytes | None]:
        asked, output = reply.asked, reply.reasoning
        if asked.tool:
            for _ in reply.tokens:  # a call comes whole
                yield None
            yield event(self.body(reply))
            return
        last = len(reply.tokens) - 1
        for number, token in enumerate(reply.tokens):
            for index in range(asked.candidates):
                yield None
                output += 1
                reason = None if number < last else "MAX_TOKENS" if reply.cut else "STOP"
                yield event(self._frame(reply, [self._candidate(index, [{"text": token}], reason)], output))

    def error(self, status: int, message: str) -> dict[str, Any]:
        return error_body(status, message)

    def failure(self) -> bytes:
        return event(error_body(503, "The model is overloaded."))


class Embed:
    """POST …/models/MODEL:embedContent, and the same for a batch of texts."""

    name = "gemini.embeddings"

    def reads(self, path: str) -> bool:
        return _matched(path, "embedContent", "batchEmbedContents") is not None

    def asked(self, path: str, query: str, body: dict[str, Any]) -> Asked:
        found = _matched(path, "embedContent", "batchEmbedContents")
        assert found is not None
        wanted = body.get("requests") or ([body] if "content" in body else [])
        if not wanted:
            raise Refusal("content is not specified")
        total = sum(_parts(each["content"]) for each in wanted)
        return Asked(model=found[1], input=total, most=0, texts=len(wanted), sent=body)

    def body(self, reply: Reply) -> dict[str, Any]:
        vectors = [{"values": [0.5, -0.25]} for _ in range(reply.asked.texts)]
        usage = {"usageMetadata": {"promptTokenCount": reply.counts.input}} if reply.tells else {}
        return ({"embeddings": vectors} if "requests" in reply.asked.sent else {"embedding": vectors[0]}) | usage

    def events(self, reply: Reply) -> Iterator[bytes | None]:
        raise NotImplementedError  # embeddings are not streamed

    def error(self, status: int, message: str) -> dict[str, Any]:
        return error_body(status, message)

    def failure(self) -> bytes:
        raise NotImplementedError  # embeddings are not streamed
