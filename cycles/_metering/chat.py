"""OpenAI's chat completions and completions, and the many servers that speak like them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define

from cycles._metering import conventions
from cycles._metering.billable import Billable, StreamReading, completion
from cycles._metering.bodies import answered, caches_for_an_hour, edited, whole, width
from cycles._metering.media import Found
from cycles._metering.streams import Candidates, EventReading, text_bytes
from cycles._metering.tools import remaining
from cycles._metering.usage import Usage
from cycles.errors import Unmeterable

__all__ = ["HIDES_REASONING", "read"]

_TELLS_UNASKED: Final = frozenset({"mistral"})
"""Who tells the usage of every stream, and refuses a request that has `stream_options`."""
_OF_OPENAI: Final = frozenset({"openai", "azure"})
_LEGACY_DEFAULT: Final = 16
"""Tokens that OpenAI's completions make when nobody says how many."""
_OPENAI_MODEL: Final = re.compile(r"^(ft:)?(gpt-(?!oss)|o\d|chatgpt|codex|computer-use|davinci|babbage)")
HIDES_REASONING: Final = re.compile(
    r"(^|/)(ft:)?(o\d|gpt-[5-9](?!.*-chat)|gpt-\d\d|codex|computer-use|grok-(?!.*non-reasoning)|gemini)"
)
"""Models that may reason without a trace of it in the stream."""
_ASKS_TO_REASON: Final = ("reasoning", "reasoning_effort", "thinking")
"""What makes Claude reason, of which others show a summary, or nothing."""
_USAGE: Final = b'_tokens"'
"""What a chunk contains that tells usage: `"usage": null` is in each of them."""
_BOUNDS: Final = ("max_tokens", "max_completion_tokens")
_SEARCHES: Final = ("web_search_options", "search_parameters")
_SEARCHING_MODEL: Final = re.compile(r"^gpt-.*-search-(preview|api)")
"""Models of OpenAI's that search for each answer, asked or not."""
_OF_TOKENS: Final = frozenset({"function", "custom"})
"""Tools that cost nothing beside the tokens of the request."""
_ELSEWHERE: Final = ("plugins", "data_sources")
"""Where the provider finds more input."""
_PER_CALL: Final = 16
"""Tokens around a choice or a call of a tool, beside its texts."""


def read(provider: str, model: str, body: bytes, said: Mapping[str, Any], *, max_output: int, legacy: bool) -> Billable:
    """Return what a request of a chat completion (or, *legacy*, of a completion) may bill.

    Args:
        provider: Who answers.
        model: The model's name, from the body or the path.
        body: The request's body.
        said: The same, parsed.
        max_output: Output tokens to ask for where it asks for no bound.
        legacy: Whether it is of the older kind, with `prompt`.
    """
    _check(provider, model, said)
    changes: dict[str, Any] = {}
    if said.get("max_tokens") is None and said.get("max_completion_tokens") is None:
        default = _LEGACY_DEFAULT if legacy and provider in _OF_OPENAI else max_output
        changes[_bound_name(provider, model, legacy=legacy)] = min(default, max_output)
    options = said.get("stream_options")
    hides = (
        bool(said.get("stream"))
        and provider not in _TELLS_UNASKED
        and conventions.part(options, "include_usage") is not True
    )
    if hides:
        changes["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    wire = Chat(provider=provider, model=model, legacy=legacy, hides=hides)
    return wire.billable(edited(body, said, changes), {**said, **changes})


def _check(provider: str, model: str, said: Mapping[str, Any]) -> None:
    if said.get("background"):
        raise Unmeterable("a job in the background answers before it is billed: it can't be metered")
    for name in _SEARCHES:
        if said.get(name) is not None and provider != "perplexity":
            raise Unmeterable(f"{name}: the provider bills searches that its answer does not count")
    if provider not in conventions.OWN_COST:
        _check_tools(provider, model, said)
    if provider == "mistral":
        _check_mistral(said)


def _check_tools(provider: str, model: str, said: Mapping[str, Any]) -> None:
    """Refuse what a provider bills beside tokens, and does not count in its answer: its own tools."""
    if provider in _OF_OPENAI and _SEARCHING_MODEL.match(model):
        raise Unmeterable(f"{model} searches for each answer: the provider bills that, and does not count it there")
    tools = said.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        kind = conventions.part(tool, "type") or "function"
        if kind not in _OF_TOKENS:
            raise Unmeterable(
                f"the tool {kind!r}: {provider} bills its own tools beside tokens, and does not count them"
            )


def _check_mistral(said: Mapping[str, Any]) -> None:
    """Refuse sounds, which Mistral bills by the minute, beside tokens."""
    messages = said.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = conventions.part(message, "content")
        for part in content if isinstance(content, list) else ():
            if conventions.part(part, "type") == "input_audio":
                raise Unmeterable("input_audio: Mistral bills audio by the minute, beside its tokens")


def _bound_name(provider: str, model: str, *, legacy: bool) -> str:
    """Return the parameter that bounds the output: OpenAI's newer models refuse the older, others know only it."""
    if legacy or provider not in _OF_OPENAI:
        return "max_tokens"
    return "max_completion_tokens" if provider == "azure" or _OPENAI_MODEL.match(model) else "max_tokens"


@define(frozen=True, kw_only=True)
class Chat:
    """The wire of one request."""

    provider: str
    model: str
    legacy: bool
    hides: bool

    def billable(self, body: bytes, said: Mapping[str, Any]) -> Billable:
        """Return what a body asks for."""
        found = self._found(said)
        counted = width(body, said)
        candidates = self._candidates(said)
        predicted = text_bytes(conventions.part(said, "prediction", "content"))
        each = max([whole(said.get(name), name, otherwise=0) or 0 for name in _BOUNDS])
        inputs, output = found.input(counted), (each + predicted) * candidates
        modalities, written = said.get("modalities"), inputs - found.audio - found.images
        most = Usage(
            input_tokens=inputs,
            cache_write_tokens=written,
            cache_write_1h_tokens=written if caches_for_an_hour(body) else 0,
            input_audio_tokens=found.audio,
            input_image_tokens=found.images,
            output_tokens=output,
            output_audio_tokens=output if isinstance(modalities, list) and "audio" in modalities else 0,
            output_image_tokens=output if isinstance(modalities, list) and "image" in modalities else 0,
            terms=conventions.terms(service_tier=conventions.dearer(said.get("service_tier"))),
        )
        return completion(self, body, said, most, unbounded=found.unbounded, streamed=bool(said.get("stream")))

    def _candidates(self, said: Mapping[str, Any]) -> int:
        candidates = whole(said.get("n"), "n", otherwise=1) or 1
        if not self.legacy:
            return candidates
        prompt = said.get("prompt")
        prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
        return max(candidates, whole(said.get("best_of"), "best_of", otherwise=1) or 1) * prompts

    def _found(self, said: Mapping[str, Any]) -> Found:
        found = Found(self.provider, self.model)
        messages = said.get("messages")
        for message in messages if isinstance(messages, list) else ():
            if not isinstance(message, dict):
                continue
            content = message.get("content")
            if "audio" in message and conventions.part(message, "audio", "id"):
                found.unknown("audio of an earlier answer")
            for part in content if isinstance(content, list) else ():
                if isinstance(part, Mapping):
                    _look_at(part, found)
        for name in _ELSEWHERE:
            if said.get(name):
                found.unknown(name)
        return found

    def limited(self, billable: Billable, output: int) -> Billable:
        """Return *billable* asking for at most *output* tokens.

        A prediction is taken out: what the model does not use of it is billed as output, beyond any bound of the
        request, and all it brings is speed.
        """
        said = billable.parsed
        each = max(output // self._candidates(said), 1)
        asked = [name for name in _BOUNDS if said.get(name) is not None]
        without = {"prediction"} & set(said)
        return self._changed(billable, {name: min(each, int(said[name])) for name in asked}, without)

    def with_tools(self, billable: Billable, allowed: Callable[[str], bool]) -> Billable:
        """Return *billable* without the tools that are not allowed."""
        said = billable.parsed
        changes: dict[str, Any] = {
            name: left for name in ("tools", "functions") if (left := remaining(said.get(name), allowed)) is not None
        }
        if not changes:
            return billable
        without = {name for name, left in changes.items() if not left}
        if "tools" in without:
            without |= {"tool_choice", "parallel_tool_calls"}
        if "functions" in without:
            without.add("function_call")
        for name in {"tool_choice", "function_call"} & set(said) - without:
            if isinstance(said[name], Mapping):  # it may name a tool that is gone
                changes[name] = "auto"
        return self._changed(billable, changes, without)

    def _changed(self, billable: Billable, changes: Mapping[str, Any], without: set[str] | None = None) -> Billable:
        left_out = without or set()
        said = {name: value for name, value in {**billable.parsed, **changes}.items() if name not in left_out}
        return self.billable(edited(billable.body, billable.parsed, changes, left_out), said)

    def answer(self, billable: Billable, body: bytes) -> Usage | None:
        """Return what a whole answer says that it used."""
        answer, audio = answered(body), billable.at_most.input_audio_tokens
        return None if answer is None else conventions.chat(self.provider, answer, audio=audio)

    def stream(self, billable: Billable) -> StreamReading:
        """Return a reading of the streamed answer."""
        return EventReading(
            ChatTally(
                self.provider,
                billable.output_bound if self._reasons_unseen(billable.parsed) else 0,
                self._candidates(billable.parsed),
                billable.at_most.input_audio_tokens,
            ),
            at_most=billable.at_most,
            answer=billable.answer,
            hides=_USAGE if self.hides else None,
            hidden=_tells_usage_only,
        )

    def _reasons_unseen(self, said: Mapping[str, Any]) -> bool:
        if said.get("reasoning_format") == "hidden" or said.get("include_reasoning") is False:
            return True
        if self.legacy or said.get("reasoning_effort") == "none":
            return False
        shortens = "claude" in self.model and any(said.get(name) for name in _ASKS_TO_REASON)
        return shortens or bool(HIDES_REASONING.search(self.model))


def _look_at(part: Mapping[str, Any], found: Found) -> None:
    """Add what a part of a message holds beside text."""
    kind = part.get("type")
    if kind == "image_url":
        image = part.get("image_url")
        found.image(conventions.part(image, "url") or image, conventions.part(image, "detail"))
    elif kind == "input_audio":
        found.sound(conventions.part(part, "input_audio", "data"))
    elif kind not in {"text", "refusal", "thinking", "tool_result", None}:
        inner = part.get(str(kind))
        inlines = (conventions.part(inner, name) for name in ("file_data", "url", "data"))
        found.unknown(str(kind), next(filter(None, inlines), inner))


def _has_output(choices: object) -> bool:
    return any(
        text_bytes(choice.get("text")) or text_bytes({**_delta(choice), "role": None})
        for choice in (choices if isinstance(choices, list) else ())
        if isinstance(choice, dict)
    )


def _delta(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    delta = choice.get("delta")
    return delta if isinstance(delta, dict) else {}


def _tells_usage_only(event: Mapping[str, Any]) -> bool:
    return event.get("choices") == [] and isinstance(event.get("usage"), Mapping)


class ChatTally:
    """What the chunks of a chat completion say."""

    marks = (_USAGE,)

    def __init__(self, provider: str, unseen: int = 0, candidates: int = 1, audio: int = 0) -> None:
        self.usage: Usage | None = None
        self.unseen = unseen
        self._provider = provider
        self._audio = audio
        self._told: Usage | None = None
        self._is_late = False  # whether output came after what was told
        self._begun: set[object] = set()
        self._candidates = Candidates(candidates)

    def tell(self, event: Mapping[str, Any]) -> None:
        """Take the usage; some tell it in every chunk, so that it is whole when each choice has ended."""
        told = conventions.chat(self._provider, event, audio=self._audio)
        choices = event.get("choices")
        if told is None:
            if self.usage is not None and _has_output(choices):  # it was told in between
                self.usage, self._is_late = None, True
            return
        self._told, self._is_late = told, False
        for choice in choices if isinstance(choices, list) else ():
            if conventions.part(choice, "finish_reason"):
                self._candidates.end(choice.get("index"))
        if self.usage is not None or not choices or self._candidates.have_ended:
            self.usage = told

    def ended(self) -> None:
        """Note that the provider said it was the end: what it has told is whole."""
        self.usage = None if self._is_late else self._told

    def closed(self) -> None:
        """Note that nothing more comes: not every choice may say that it has ended."""
        if self._candidates.some_ended:
            self.ended()

    def told(self) -> Usage | None:
        """Return what has been told so far, whole or not."""
        return self._told

    def output(self, event: Mapping[str, Any]) -> int:
        """Return an upper bound of the output tokens in a chunk."""
        seen, choices = 0, event.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            if choice.get("index") not in self._begun:
                self._begun.add(choice.get("index"))
                seen += _PER_CALL
            text, delta = choice.get("text"), choice.get("delta")
            if text:
                seen += text_bytes(text)
            if isinstance(delta, dict):
                calls = delta.get("tool_calls")
                seen += text_bytes(delta) + (_PER_CALL * len(calls) if isinstance(calls, list) else 0)
        return seen
