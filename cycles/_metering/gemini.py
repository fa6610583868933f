"""Google's Gemini: generateContent, streamed or not, and embeddings."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, evolve

from cycles._metering import conventions
from cycles._metering.billable import Billable, StreamReading, completion
from cycles._metering.bodies import answered, edited, whole, width
from cycles._metering.embeddings import Unstreamed
from cycles._metering.media import Found
from cycles._metering.streams import Candidates, EventReading, json_bytes, text_bytes
from cycles._metering.usage import Usage
from cycles.errors import Unmeterable

__all__ = ["read", "read_embedding"]

SEARCHES: Final = 10
"""Queries that a bound counts for Google Search."""
_SNAKE: Final = re.compile(r"(?<=[a-z])([A-Z])")
_OF_TOKENS: Final = frozenset({"functionDeclarations", "computerUse", "codeExecution"})
"""Tools that cost nothing beside tokens."""
_UNSEEN_INPUT: Final = frozenset({"urlContext", "fileSearch", "mcpServers", "codeExecution"})
_SEARCH: Final = frozenset({"googleSearch", "googleSearchRetrieval"})
_MAKES_IMAGES: Final = re.compile(r"image|banana")
_THINKS: Final = re.compile(r"gemini-(?!1|2\.0)")
_PER_CANDIDATE: Final = 16


def _get(of: object, name: str) -> Any:
    """Return a field of Google's JSON, which may be written in camel case or with underscores."""
    found = conventions.part(of, name)
    return conventions.part(of, _snake(name)) if found is None else found


def _snake(name: str) -> str:
    return _SNAKE.sub(lambda letter: f"_{letter[1].lower()}", name)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _key(of: Mapping[str, Any], name: str) -> str:
    """Return under which of its two names a field is there, or would be."""
    return _snake(name) if _snake(name) in of else name


def read(
    provider: str, model: str, body: bytes, said: Mapping[str, Any], *, max_output: int, streamed: bool
) -> Billable:
    """Return what a request of content may bill."""
    wire = Gemini(provider, model, streamed)
    if _get(_get(said, "generationConfig"), "maxOutputTokens") is not None:
        return wire.billable(body, said)
    changes = _bounded(said, max_output)
    return wire.billable(edited(body, said, changes), {**said, **changes})


def _bounded(said: Mapping[str, Any], output: int) -> dict[str, Any]:
    """Return the change that asks for *output* tokens at most."""
    config = _get(said, "generationConfig")
    before = config if isinstance(config, dict) else {}
    return {_key(said, "generationConfig"): {**before, _key(before, "maxOutputTokens"): output}}


@define(frozen=True)
class Gemini:
    """The wire of one request."""

    provider: str
    model: str
    streamed: bool

    def billable(self, body: bytes, said: Mapping[str, Any]) -> Billable:
        """Return what a body asks for."""
        found = Found("google", self.model)
        searches = _tools(_get(said, "tools"), found)
        _look_through(said, found)
        config = _get(said, "generationConfig")
        each = whole(_get(config, "maxOutputTokens"), "maxOutputTokens") or 0
        output = each * (whole(_get(config, "candidateCount"), "candidateCount", otherwise=1) or 1)
        inputs = found.input(width(body, said))
        asked = _get(config, "responseModalities")
        modalities = {str(one).upper() for one in asked} if isinstance(asked, list) else set()
        images = "IMAGE" in modalities or (not modalities and _MAKES_IMAGES.search(self.model))
        tier = conventions.googles_tier(str(_get(said, "serviceTier") or ""))
        most = Usage(
            input_tokens=inputs,
            input_audio_tokens=found.audio,
            input_image_tokens=found.images,
            output_tokens=output,
            output_audio_tokens=output if "AUDIO" in modalities else 0,
            output_image_tokens=output if images else 0,
            web_searches=searches,
            terms=conventions.terms(service_tier=conventions.dearer(tier)),
        )
        return completion(self, body, said, most, unbounded=found.unbounded, streamed=self.streamed)

    def limited(self, billable: Billable, output: int) -> Billable:
        """Return *billable* asking for at most *output* tokens; thinking gets no more than that."""
        config = _get(billable.parsed, "generationConfig")
        each = min(max(output // _candidates(billable.parsed), 1), conventions.count(_get(config, "maxOutputTokens")))
        return self._changed(billable, _bounded(billable.parsed, each))

    def with_tools(self, billable: Billable, allowed: Callable[[str], bool]) -> Billable:
        """Return *billable* without the functions and tools that are not allowed."""
        tools = billable.parsed.get("tools")
        left = [one for tool in tools if (one := _left(tool, allowed))] if isinstance(tools, list) else tools
        if left == tools:
            return billable
        without = {_key(billable.parsed, "toolConfig")}  # it may name a function that is gone
        return self._changed(billable, {"tools": left} if left else {}, without if left else {*without, "tools"})

    def _changed(self, billable: Billable, changes: Mapping[str, Any], without: set[str] | None = None) -> Billable:
        left_out = without or set()
        said = {name: value for name, value in {**billable.parsed, **changes}.items() if name not in left_out}
        return self.billable(edited(billable.body, billable.parsed, changes, left_out), said)

    def answer(self, _: Billable, body: bytes) -> Usage | None:
        """Return what a whole answer says that it used."""
        answer = answered(body)
        return None if answer is None else conventions.gemini(answer)

    def stream(self, billable: Billable) -> StreamReading:
        """Return a reading of the streamed answer."""
        budget = _get(_get(_get(billable.parsed, "generationConfig"), "thinkingConfig"), "thinkingBudget")
        thinks = budget != 0 and _THINKS.search(self.model)
        tally = GeminiTally(billable.output_bound if thinks else 0, _candidates(billable.parsed))
        return EventReading(tally, at_most=billable.at_most, answer=billable.answer)


def _candidates(said: Mapping[str, Any]) -> int:
    return conventions.count(_get(_get(said, "generationConfig"), "candidateCount")) or 1


def _left(tool: object, allowed: Callable[[str], bool]) -> dict[str, Any]:
    """Return what is left of one entry of `tools`: its functions, and the tools of Google's own."""
    left: dict[str, Any] = {}
    for name, value in tool.items() if isinstance(tool, Mapping) else ():
        if _camel(name) == "functionDeclarations" and isinstance(value, list):
            functions = [one for one in value if allowed(str(conventions.part(one, "name")))]
            left.update({name: functions} if functions else {})
        elif allowed(name):
            left[name] = value
    return left


def _tools(tools: object, found: Found) -> int:
    """Note what tools add; return how many searches there may be.

    Raises:
        Unmeterable: A tool that is billed in a way that the answer does not tell.
    """
    searches = 0
    for tool in tools if isinstance(tools, list) else ():
        for name in tool if isinstance(tool, Mapping) else ():
            kind = _camel(name)
            if kind in _SEARCH:
                searches = SEARCHES
            elif kind not in _OF_TOKENS and kind not in _UNSEEN_INPUT:
                raise Unmeterable(f"tool {kind!r}: Google bills it apart from the tokens that it tells")
            if kind in _UNSEEN_INPUT:
                found.unknown(kind)
    return searches


def _look_through(said: Mapping[str, Any], found: Found) -> None:
    """Note what the contents hold beside text."""
    if _get(said, "cachedContent"):
        found.unknown("cachedContent")
    contents = said.get("contents", said.get("content"))
    for content in contents if isinstance(contents, list) else (contents,):
        parts = conventions.part(content, "parts")
        for part in parts if isinstance(parts, list) else ():
            _look_at(part, found)


def _look_at(part: object, found: Found) -> None:
    blob, file = _get(part, "inlineData"), _get(part, "fileData")
    data = conventions.part(blob, "data")
    kind = str(_get(blob or file, "mimeType") or "").partition("/")[0]
    if blob is not None and kind == "image":
        found.image(data)
    elif blob is not None and kind == "audio":
        found.sound(data)
    elif blob is not None or file is not None:
        found.unknown(f"{kind or 'a'} file", data)
    inner = _get(_get(part, "functionResponse"), "parts")
    for one in inner if isinstance(inner, list) else ():
        _look_at(one, found)


class GeminiTally:
    """What the chunks of a streamed answer say: each tells the usage so far."""

    marks = ()

    def __init__(self, unseen: int, candidates: int) -> None:
        self.usage: Usage | None = None
        self.unseen = unseen  # until the first usage is told, which counts thoughts
        self._told: Usage | None = None
        self._begun: set[object] = set()
        self._candidates = Candidates(candidates)

    def tell(self, event: Mapping[str, Any]) -> None:
        """Take the usage: the last one counts, and it is whole when each candidate has ended."""
        told = conventions.gemini(event)
        if told is None:
            return
        before = self._told or told
        self._told = evolve(
            told,
            output_tokens=max(told.output_tokens, before.output_tokens),
            web_searches=max(told.web_searches, before.web_searches),
        )
        self.unseen = 0
        candidates = event.get("candidates")
        for one in candidates if isinstance(candidates, list) else ():
            if _get(one, "finishReason"):
                self._candidates.end(one.get("index") or 0)
        if self.usage is not None or self._candidates.have_ended or _get(_get(event, "promptFeedback"), "blockReason"):
            self.usage = self._told

    def ended(self) -> None:
        """Note that the provider said it was the end: what it has told is whole."""
        self.usage = self._told

    def closed(self) -> None:
        """Note that nothing more comes: not every candidate may say that it has ended."""
        if self._candidates.some_ended:
            self.usage = self._told

    def told(self) -> Usage | None:
        """Return what has been told so far, whole or not."""
        return self._told

    def output(self, event: Mapping[str, Any]) -> int:
        """Return an upper bound of the output tokens in a chunk."""
        seen, candidates = 0, event.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            index = conventions.part(candidate, "index") or 0
            if index not in self._begun:
                self._begun.add(index)
                seen += _PER_CANDIDATE
            parts = conventions.part(candidate, "content", "parts")
            seen += sum(map(_part_bytes, parts)) if isinstance(parts, list) else 0
            seen += _PER_CANDIDATE * (len(parts) if isinstance(parts, list) else 0)
        return seen


def _part_bytes(part: object) -> int:
    call = _get(part, "functionCall")  # whose arguments come as JSON, numbers and all
    return text_bytes(part) if call is None else json_bytes(part)


def read_embedding(provider: str, model: str, body: bytes, said: Mapping[str, Any]) -> Billable:
    """Return what a request of embeddings may bill: input only."""
    found = Found("google", model)
    requests = said.get("requests")
    for one in requests if isinstance(requests, list) else (said,):
        if isinstance(one, Mapping):
            _look_through(one, found)
    inputs = found.input(width(body, said))
    most = Usage(input_tokens=inputs, input_audio_tokens=found.audio, input_image_tokens=found.images)
    return Billable(
        provider=provider,
        model=model,
        action=("llm.embedding", f"{provider}:{model}"),
        body=body,
        streamed=False,
        input_bound=inputs,
        output_bound=0,
        unbounded=found.unbounded,
        at_most=most,
        wire=Embedding(),
        parsed=said,
    )


@define(frozen=True)
class Embedding(Unstreamed):
    """The wire of Gemini's embeddings."""

    def answer(self, _: Billable, body: bytes) -> Usage | None:
        """Return what a whole answer says that it used: older versions of the API say nothing."""
        answer = answered(body)
        return None if answer is None else conventions.gemini(answer)
