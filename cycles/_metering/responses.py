"""OpenAI's responses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define

from cycles._metering import conventions
from cycles._metering.billable import Billable, StreamReading, completion
from cycles._metering.bodies import answered, edited, whole, width
from cycles._metering.chat import HIDES_REASONING
from cycles._metering.media import Found
from cycles._metering.streams import EventReading, json_bytes, text_bytes
from cycles._metering.tools import remaining
from cycles._metering.usage import Usage
from cycles.errors import Unmeterable

__all__ = ["read"]

TOOL_CALLS: Final = 10
"""Searches that a bound counts where the request does not say `max_tool_calls`."""
_OF_TOKENS: Final = frozenset({"function", "custom", "local_shell", "apply_patch", "namespace", "computer_use_preview"})
"""Tools that cost nothing beside the tokens of the request."""
_SEARCHES: Final = ("web_search", "file_search", "mcp", "tool_search")
"""Tools whose findings become input that the request does not show."""
_ENDS: Final = (b'"response.completed"', b'"response.incomplete"', b'"response.failed"', b'"response.cancelled"')
_IN_DELTAS: Final = frozenset(
    {
        "message",
        "reasoning",
        "function_call",
        "custom_tool_call",
        "mcp_call",
        "mcp_list_tools",
        "web_search_call",
        "file_search_call",
    }
)
"""Items of the output that come in deltas, or are no output of the model."""
_PER_ITEM: Final = 32
"""Tokens around an item of the output, beside its texts."""


def read(provider: str, model: str, body: bytes, said: Mapping[str, Any], *, max_output: int) -> Billable:
    """Return what a request of a response may bill."""
    if said.get("background"):
        raise Unmeterable("background=True answers before it is billed: it can't be metered")
    if said.get("prompt") and said.get("tools") is None:
        raise Unmeterable(
            "prompt: a stored prompt may have tools of the provider's own, which are billed beside the tokens; say "
            "which there are, as in tools=[]"
        )
    changes = {} if said.get("max_output_tokens") is not None else {"max_output_tokens": max_output}
    return Responses(provider, model).billable(edited(body, said, changes), {**said, **changes})


@define(frozen=True)
class Responses:
    """The wire of one request."""

    provider: str
    model: str

    def billable(self, body: bytes, said: Mapping[str, Any]) -> Billable:
        """Return what a body asks for."""
        found = self._found(said)
        kinds = _kinds(said.get("tools"), found)
        output = whole(said.get("max_output_tokens"), "max_output_tokens") or 0
        calls = whole(said.get("max_tool_calls"), "max_tool_calls", otherwise=TOOL_CALLS) or TOOL_CALLS
        inputs = found.input(width(body, said))
        most = Usage(
            input_tokens=inputs,
            cache_write_tokens=inputs - found.audio - found.images,
            input_audio_tokens=found.audio,
            input_image_tokens=found.images,
            output_tokens=output,
            web_searches=calls if "web_search" in kinds else 0,
            storage_searches=calls if "file_search" in kinds else 0,
            terms=conventions.terms(service_tier=conventions.dearer(said.get("service_tier"))),
        )
        return completion(self, body, said, most, unbounded=found.unbounded, streamed=bool(said.get("stream")))

    def _found(self, said: Mapping[str, Any]) -> Found:
        found = Found(self.provider, self.model)
        for name in ("previous_response_id", "conversation", "prompt"):
            if said.get(name) is not None:
                found.unknown(name)
        items = said.get("input")
        for item in items if isinstance(items, list) else ():
            if isinstance(item, Mapping):
                _look_at(item, found)
        return found

    def limited(self, billable: Billable, output: int) -> Billable:
        """Return *billable* asking for at most *output* tokens."""
        return self._changed(billable, {"max_output_tokens": max(output, 1)})

    def with_tools(self, billable: Billable, allowed: Callable[[str], bool]) -> Billable:
        """Return *billable* without the tools that are not allowed."""
        left = remaining(billable.parsed.get("tools"), allowed)
        if left is None:
            return billable
        if not left:
            return self._changed(billable, {}, {"tools", "tool_choice", "parallel_tool_calls", "max_tool_calls"})
        chosen = isinstance(billable.parsed.get("tool_choice"), Mapping)  # it may name a tool that is gone
        return self._changed(billable, {"tools": left, **({"tool_choice": "auto"} if chosen else {})})

    def _changed(self, billable: Billable, changes: Mapping[str, Any], without: set[str] | None = None) -> Billable:
        left_out = without or set()
        said = {name: value for name, value in {**billable.parsed, **changes}.items() if name not in left_out}
        return self.billable(edited(billable.body, billable.parsed, changes, left_out), said)

    def answer(self, _: Billable, body: bytes) -> Usage | None:
        """Return what a whole answer says that it used."""
        answer = answered(body)
        return None if answer is None else conventions.responses(self.provider, answer)

    def stream(self, billable: Billable) -> StreamReading:
        """Return a reading of the streamed answer."""
        effort = conventions.part(billable.parsed, "reasoning", "effort")
        unseen = effort != "none" and HIDES_REASONING.search(self.model)
        return EventReading(
            ResponsesTally(self.provider, billable.output_bound if unseen else 0),
            at_most=billable.at_most,
            answer=billable.answer,
        )


def _kinds(tools: object, found: Found) -> set[str]:
    """Return which kinds of hosted tools there are.

    Raises:
        Unmeterable: One that is billed by the hour or by the picture, or that is not known.
    """
    kinds = set()
    for tool in tools if isinstance(tools, list) else ():
        kind = str(conventions.part(tool, "type") or "function")
        search = next((name for name in _SEARCHES if kind.startswith(name)), None)
        local = kind == "shell" and conventions.part(tool, "environment", "type") in {None, "local"}
        if search:
            kinds.add(search)
            found.unknown(search)
        elif kind not in _OF_TOKENS and not kind.startswith("computer") and not local:
            raise Unmeterable(f"tool of type {kind!r}: the provider bills it apart from the tokens that it tells")
    return kinds


def _look_at(item: Mapping[str, Any], found: Found) -> None:
    """Add what an item of the input holds beside text."""
    kind = item.get("type")
    if kind in {"input_image", "computer_screenshot"}:
        found.image(item.get("image_url"), item.get("detail"))
    elif kind == "input_audio":
        found.sound(conventions.part(item, "input_audio", "data"))
    elif kind == "input_file":
        found.unknown("a file", item.get("file_data"))
    elif kind in {"item_reference", "image_generation_call"}:
        found.unknown(str(kind), item.get("result"))
    else:
        for name in ("content", "output"):
            inner = item.get(name)
            for part in inner if isinstance(inner, list) else (inner,):
                if isinstance(part, Mapping):
                    _look_at(part, found)


class ResponsesTally:
    """What the events of a response say."""

    marks = _ENDS

    def __init__(self, provider: str, unseen: int = 0) -> None:
        self.usage: Usage | None = None
        self.unseen = unseen
        self._provider = provider

    def tell(self, event: Mapping[str, Any]) -> None:
        """Take the usage of the event that ends the response."""
        response = event.get("response")
        if str(event.get("type")).startswith("response.") and isinstance(response, Mapping):
            self.usage = conventions.responses(self._provider, response) or self.usage

    def ended(self) -> None:
        """Nothing: the last event has said it."""

    def closed(self) -> None:
        """Nothing: the events have said it, or not."""

    def told(self) -> Usage | None:
        """Return nothing: usage comes whole, or not at all."""
        return None

    def output(self, event: Mapping[str, Any]) -> int:
        """Return an upper bound of the output tokens in an event.

        Some items come in deltas, others whole at their end: calls of a computer, patches.
        """
        kind, item = str(event.get("type")), event.get("item")
        if kind.endswith(".delta"):
            return text_bytes(event.get("delta"))
        if kind == "response.output_item.added":
            return _PER_ITEM + text_bytes(item)
        comes_whole = kind == "response.output_item.done" and conventions.part(item, "type") not in _IN_DELTAS
        return json_bytes(item) if comes_whole else 0
