"""A streamed answer as it comes: what the caller gets to read of it, and what it says about its cost.

Little is done while events pass: they are put aside, and read when somebody asks. Of an answer that tells its usage,
only the events that tell it are ever read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from cycles._metering.framing import EventStream, Framing, JsonArray

if TYPE_CHECKING:
    from cycles._metering.usage import Usage

__all__ = ["EventReading", "Tally", "text_bytes"]

_FOLD: Final = 65_536
"""Bytes put aside at most before they are cut into events."""
_COUNT: Final = 2_097_152
"""Bytes of events put aside at most before their output is counted."""
_LAST: Final = b"[DONE]"


class Tally(Protocol):
    """What the events of one wire say."""

    usage: Usage | None
    """The provider's own figure, once it is whole."""
    unseen: int
    """Output tokens that may have been made without a trace in the stream: hidden reasoning."""

    @property
    def marks(self) -> tuple[bytes, ...]:
        """What an event contains that tells usage, one of these; none: any may."""
        ...

    def tell(self, event: Mapping[str, Any], /) -> None:
        """Take the usage that an event tells."""
        ...

    def ended(self) -> None:
        """Note that the provider said it was the end."""
        ...

    def output(self, event: Mapping[str, Any], /) -> int:
        """Return an upper bound of the output tokens in an event."""
        ...

    def told(self) -> Usage | None:
        """Return what has been told so far, whole or not."""
        ...


def text_bytes(value: object) -> int:
    """Return the bytes of all texts in *value*: tokens are never more."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, Mapping):
        return sum(map(text_bytes, value.values()))
    return sum(map(text_bytes, value)) if isinstance(value, list) else 0


class EventReading:
    """Reads a stream of events; see `cycles._metering.billable.StreamReading`.

    Args:
        tally: What the events say.
        at_most: What the request may use at most.
        answer: Reads an answer that is no stream: some servers send one all the same.
        hides: What an event contains that may be one to take out; None: nothing is taken out.
        hidden: Whether an event that contains it is one.
    """

    def __init__(
        self,
        tally: Tally,
        *,
        at_most: Usage,
        answer: Callable[[bytes], Usage | None],
        hides: bytes | None = None,
        hidden: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> None:
        self._tally = tally
        self._framing: Framing | None = None
        self._at_most = at_most
        self._answer = answer
        self._hides, self._hidden = hides, hidden
        self._passing: EventStream | None = None
        self._whole = False
        self._new: list[bytes] = []
        self._new_bytes = 0
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._seen = 0
        self._closed = False

    def feed(self, data: bytes) -> bytes:
        """Read *data* (decoded: no content-encoding); return what the caller gets to read of it."""
        if self._framing is None and (begun := data.lstrip()):
            self._framing = JsonArray() if begun.startswith(b"[") else EventStream()
            self._whole = begun.startswith(b"{")
        self._new.append(data)
        self._new_bytes += len(data)
        if self._new_bytes > _FOLD and not self._whole:
            self._fold()
        if self._hides is None:
            return data
        if self._whole:
            return self._held() + data
        if self._passing is None:
            if self._hides not in data and data.endswith(b"\n\n"):
                return data  # whole events, none of which may be one to take out
            self._passing = EventStream()
        kept = b"".join(raw for raw, content in self._passing.cut(data) if not self._is_hidden(content))
        if self._passing.is_between:
            self._passing = None
        return kept

    def close(self) -> bytes:
        """Return what is still held back. Nothing is read after it."""
        if self._closed:
            return b""
        self._closed = True
        self._fold()
        if self._framing is not None and not self._whole:
            self._note(self._framing.rest()[1])
        return self._held()

    @property
    def usage(self) -> Usage | None:
        """The provider's own figure; None until it has been told whole."""
        self._fold()
        return self._tally.usage

    @property
    def received(self) -> Usage:
        """The input, as told or its bound, with an upper bound of the output that has come so far."""
        if (whole := self.usage) is not None:
            return whole
        if self._whole:
            if (told_whole := self._answer(b"".join(self._new))) is not None:
                return told_whole
            self._seen = max(self._seen, self._new_bytes)
        self._count()
        most, told = self._at_most, self._tally.told()
        output = min(self._seen + self._tally.unseen, most.output_tokens)
        if told is None:
            audio, image = min(most.output_audio_tokens, output), min(most.output_image_tokens, output)
            return attrs.evolve(most, output_tokens=output, output_audio_tokens=audio, output_image_tokens=image)
        return attrs.evolve(told, output_tokens=max(told.output_tokens, output))

    def _held(self) -> bytes:
        """Return what is held back of an event that is not over."""
        if self._passing is None:
            return b""
        raw, content = self._passing.rest()
        self._passing = None
        return b"" if self._is_hidden(content) else raw

    def _is_hidden(self, content: bytes) -> bool:
        if self._hides is None or self._hidden is None or self._hides not in content:
            return False
        event = _event(content)
        return event is not None and self._hidden(event)

    def _fold(self) -> None:
        """Cut what is new into events, and read those that tell usage."""
        if self._framing is None or not self._new or (self._whole and not self._closed):
            return
        data, self._new, self._new_bytes = b"".join(self._new), [], 0
        if self._whole:
            self._tally.usage = self._answer(data)
            return
        for _, content in self._framing.cut(data):
            self._note(content)
        if self._unread_bytes > _COUNT:
            self._count()

    def _note(self, content: bytes) -> None:
        if not content:
            return
        if content == _LAST:
            self._tally.ended()
            return
        if self._may_tell(content) and (event := _event(content)) is not None:
            self._tally.tell(event)
        self._unread.append(content)
        self._unread_bytes += len(content)

    def _may_tell(self, content: bytes) -> bool:
        marks = self._tally.marks
        return not marks or any(mark in content for mark in marks)

    def _count(self) -> None:
        events, self._unread, self._unread_bytes = self._unread, [], 0
        for content in events:
            if (event := _event(content)) is not None:
                self._seen += self._tally.output(event)


def _event(content: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
