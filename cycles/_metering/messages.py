"""Anthropic's messages, also where others serve Claude under the same wire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, evolve

from cycles._metering import conventions
from cycles._metering.billable import Billable, StreamReading, completion
from cycles._metering.bodies import answered, caches_for_an_hour, edited, whole, width
from cycles._metering.media import Found
from cycles._metering.streams import EventReading, json_bytes, text_bytes
from cycles._metering.tools import remaining
from cycles._metering.usage import Usage
from cycles.errors import Unmeterable

__all__ = ["read"]

SEARCHES: Final = 10
"""Searches that a bound counts where a tool does not say `max_uses`."""
_TOOLS_PROMPT: Final = 1_000
_OF_ANTHROPIC: Final = (
    "bash_",
    "text_editor_",
    "computer_",
    "memory_",
    "web_search_",
    "web_fetch_",
    "tool_search_",
    "mcp_toolset",
)
"""Tools that Anthropic defines and bills by tokens, or by the number that the usage tells."""
_UNSEEN_INPUT: Final = ("web_search_", "web_fetch_", "mcp_toolset")
_THINKING_LEAST: Final = 1_024
_TELLS: Final = (b'"message_start"', b'"message_delta"', b'"message_stop"')
_LOOKS_UP: Final = frozenset({"server_tool_use", "mcp_tool_use"})
"""Blocks of tools that run at the provider in the middle of an answer: what they find becomes input."""
_PER_BLOCK: Final = 32
"""Tokens around a block of the output, beside its texts."""


def read(provider: str, model: str, body: bytes, said: Mapping[str, Any], *, max_output: int) -> Billable:
    """Return what a request of a message may bill."""
    if said.get("fallbacks"):
        raise Unmeterable("fallbacks: another model, at another price, may answer a part of the request")
    changes = {} if said.get("max_tokens") is not None else {"max_tokens": max_output}
    return Messages(provider, model).billable(edited(body, said, changes), {**said, **changes})


@define(frozen=True)
class Messages:
    """The wire of one request."""

    provider: str
    model: str

    def billable(self, body: bytes, said: Mapping[str, Any]) -> Billable:
        """Return what a body asks for."""
        found = Found("anthropic", self.model)
        searches = self._look_through(said, found)
        inputs = found.input(width(body, said)) + _tool_overhead(said.get("tools"))
        output = 0 if said.get("max_tokens") == 0 else whole(said.get("max_tokens"), "max_tokens") or 0
        cached = b'"cache_control"' in body
        written = inputs - found.images if cached else 0
        most = Usage(
            input_tokens=inputs,
            cache_write_tokens=written,
            cache_write_1h_tokens=written if caches_for_an_hour(body) else 0,
            input_image_tokens=found.images,
            output_tokens=output,
            web_searches=searches,
            terms=conventions.terms(
                speed="fast" if said.get("speed") == "fast" else None,
                inference_geo="us" if said.get("inference_geo") == "us" else None,
            ),
        )
        return completion(self, body, said, most, unbounded=found.unbounded, streamed=bool(said.get("stream")))

    def _look_through(self, said: Mapping[str, Any], found: Found) -> int:
        """Note what is no text; return how many searches there may be."""
        messages = said.get("messages")
        for message in messages if isinstance(messages, list) else ():
            _look_at(conventions.part(message, "content"), found)
        for name in ("mcp_servers", "container", "thread", "compaction", "context_management"):
            if said.get(name):
                found.unknown(name)
        searches, tools = 0, said.get("tools")
        for tool in tools if isinstance(tools, list) else ():
            kind = _kind(tool)
            if kind != "custom" and not kind.startswith(_OF_ANTHROPIC):
                raise Unmeterable(f"tool of type {kind!r}: Anthropic bills it apart from the tokens of the answer")
            if kind.startswith(_UNSEEN_INPUT):
                found.unknown(kind)
            if kind.startswith("web_search_"):
                searches += whole(tool.get("max_uses"), "max_uses", otherwise=SEARCHES) or SEARCHES
        return searches

    def limited(self, billable: Billable, output: int) -> Billable:
        """Return *billable* asking for at most *output* tokens; thinking gets less than that."""
        most = max(output, 1)
        changes: dict[str, Any] = {"max_tokens": most}
        thinking = billable.parsed.get("thinking")
        budget = conventions.count(conventions.part(thinking, "budget_tokens"))
        if budget >= most:
            enough = most > _THINKING_LEAST
            changes["thinking"] = {**thinking, "budget_tokens": most - 1} if enough else {"type": "disabled"}  # type: ignore[dict-item]
        return self._changed(billable, changes)

    def with_tools(self, billable: Billable, allowed: Callable[[str], bool]) -> Billable:
        """Return *billable* without the tools that are not allowed."""
        left = remaining(billable.parsed.get("tools"), allowed)
        if left is None:
            return billable
        if not left:
            return self._changed(billable, {}, {"tools", "tool_choice"})
        chosen = conventions.part(billable.parsed, "tool_choice", "type") == "tool"  # it may name one that is gone
        return self._changed(billable, {"tools": left, **({"tool_choice": {"type": "auto"}} if chosen else {})})

    def _changed(self, billable: Billable, changes: Mapping[str, Any], without: set[str] | None = None) -> Billable:
        left_out = without or set()
        said = {name: value for name, value in {**billable.parsed, **changes}.items() if name not in left_out}
        return self.billable(edited(billable.body, billable.parsed, changes, left_out), said)

    def answer(self, billable: Billable, body: bytes) -> Usage | None:
        """Return what a whole answer says that it used."""
        answer = answered(body)
        return None if answer is None else _read(answer, billable.at_most)

    def stream(self, billable: Billable) -> StreamReading:
        """Return a reading of the streamed answer."""
        return EventReading(MessagesTally(billable.at_most), at_most=billable.at_most, answer=billable.answer)


def _read(answer: Mapping[str, Any], most: Usage) -> Usage | None:
    """Return what an answer says that it used; a cache that it does not say more of is as dear as the request asks."""
    return conventions.messages(answer, for_an_hour=most.cache_write_1h_tokens > 0)


def _kind(tool: object) -> str:
    return str(conventions.part(tool, "type") or "custom")


def _tool_overhead(tools: object) -> int:
    if not isinstance(tools, list) or not tools:
        return 0
    return _TOOLS_PROMPT * (1 + sum(_kind(tool) != "custom" for tool in tools))


def _look_at(content: object, found: Found) -> None:
    """Note what the blocks of a message hold beside text."""
    for block in content if isinstance(content, list) else ():
        if not isinstance(block, Mapping):
            continue
        kind, source = block.get("type"), block.get("source")
        if kind == "image":
            found.image(conventions.part(source, "data"))
        elif kind == "document":
            if conventions.part(source, "type") == "content":
                _look_at(conventions.part(source, "content"), found)
            elif conventions.part(source, "type") != "text":
                found.unknown("a document", conventions.part(source, "data"))
        elif kind == "container_upload":
            found.unknown(str(kind))
        elif isinstance(block.get("content"), list):
            _look_at(block["content"], found)


class MessagesTally:
    """What the events of a message say: the usage twice, the second time with all of the first."""

    marks = _TELLS

    def __init__(self, at_most: Usage) -> None:
        self.usage: Usage | None = None
        self.unseen = 0
        self._at_most = at_most
        self._has_looked_up = False
        self._answer: dict[str, Any] = {}
        self._has_counted = False

    def tell(self, event: Mapping[str, Any]) -> None:
        """Take the usage: what is told later replaces what was told before, and what is left out stays."""
        kind, before = event.get("type"), self._answer.get("usage", {})
        if kind == "message_start" and isinstance(message := event.get("message"), Mapping):
            self._answer = {"model": message.get("model"), "usage": dict(message.get("usage") or {})}
        elif kind == "message_delta" and isinstance(told := event.get("usage"), Mapping):
            self._answer["usage"] = _later(before, told)
            self._has_counted = self._has_counted or conventions.is_count(told.get("output_tokens"))
            if conventions.part(event, "delta", "stop_reason"):
                self.ended()
        elif kind == "message_stop":
            self.ended()

    def ended(self) -> None:
        """Note that the provider said it was the end: what it has told is whole, if it has counted the output."""
        self.usage = _read(self._answer, self._at_most) if self._has_counted else None

    def closed(self) -> None:
        """Nothing: the events have said it, or not."""

    def told(self) -> Usage | None:
        """Return what has been told so far, whole or not; what tools of Anthropic's own find is told at the end."""
        told = _read(self._answer, self._at_most)
        return told if told is None or not self._has_looked_up else _grown(told, self._at_most)

    def output(self, event: Mapping[str, Any]) -> int:
        """Return an upper bound of the output tokens in an event.

        Thinking may come in short or not at all. Its signature, at the end, holds all of it, encrypted; until then
        nobody knows how much there was.
        """
        kind, delta = event.get("type"), event.get("delta")
        if kind == "content_block_delta" and isinstance(delta, Mapping):
            if delta.get("type") == "signature_delta":
                self.unseen = 0
            return text_bytes(delta) - text_bytes(delta.get("type"))
        if kind == "content_block_stop":
            self.unseen = 0
        if kind != "content_block_start":
            return 0
        block = event.get("content_block")
        started = str(conventions.part(block, "type"))
        if started == "thinking":
            self.unseen = self._at_most.output_tokens
        if started in _LOOKS_UP:
            self._has_looked_up = True
        if started.endswith("_tool_result"):
            return 0
        given = conventions.part(block, "input")  # mostly empty, and comes in deltas
        return _PER_BLOCK + text_bytes(block) + (json_bytes(given) if given else 0)


def _grown(told: Usage, most: Usage) -> Usage:
    """Return what was *told* at the start, with the input that tools may have added since, and their searches."""
    more = max(0, most.input_tokens - told.input_tokens)
    return evolve(
        told,
        input_tokens=told.input_tokens + more,
        cache_write_tokens=told.cache_write_tokens + (more if most.cache_write_tokens else 0),
        cache_write_1h_tokens=told.cache_write_1h_tokens + (more if most.cache_write_1h_tokens else 0),
        web_searches=max(told.web_searches, most.web_searches),
    )


def _later(before: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the usage after another telling: it is cumulative, never to be added. No count becomes less."""
    after = {**before, **{name: _more(before.get(name), value) for name, value in told.items() if value is not None}}
    hour = conventions.count(conventions.part(before, "cache_creation", "ephemeral_1h_input_tokens"))
    if "cache_creation" not in told and hour:  # only the first telling says for how long: what came later may be dearer
        total, was = (conventions.count(one.get("cache_creation_input_tokens")) for one in (after, before))
        made = {"ephemeral_1h_input_tokens": hour + total - was, "ephemeral_5m_input_tokens": was - hour}
        after["cache_creation"] = made
    return after


def _more(before: object, told: object) -> object:
    """Return the greater of two counts; what is none replaces what was told before."""
    if conventions.is_count(before) and conventions.is_count(told):
        return max(before, told)
    return told
