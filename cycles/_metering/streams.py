"""A streamed answer as it comes: what the caller gets to read of it, and what it says about its cost.

Little is done while events pass: they are put aside, and read when somebody asks. Of an answer that tells its usage,
only the events that tell it are ever read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from cycles._metering.framing import EventStream, Framing, JsonArray

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cycles._metering.usage import Usage

__all__ = ["Candidates", "EventReading", "Tally", "json_bytes", "text_bytes"]

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

    def closed(self) -> None:
        """Note that nothing more comes, and that nothing was cut off."""
        ...

    def output(self, event: Mapping[str, Any], /) -> int:
        """Return an upper bound of the output tokens in an event."""
        ...

    def told(self) -> Usage | None:
        """Return what has been told so far, whole or not."""
        ...


class Candidates:
    """Which answers of a stream have ended, of those that were asked for at once.

    Args:
        asked: How many.
    """

    def __init__(self, asked: int) -> None:
        self._asked = asked
        self._ended: set[object] = set()

    def end(self, index: object) -> None:
        """Note that one has ended."""
        self._ended.add(index)

    @property
    def have_ended(self) -> bool:
        """Whether all have."""
        return len(self._ended) >= self._asked

    @property
    def some_ended(self) -> bool:
        """Whether at least one has."""
        return bool(self._ended)


def text_bytes(value: object) -> int:
    """Return the bytes of all texts in *value*, which was parsed: tokens are never more."""
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, dict):
        return sum(map(text_bytes, value.values()))
    return sum(map(text_bytes, value)) if isinstance(value, list) else 0


def json_bytes(value: object) -> int:
    """Return the bytes of *value*, which was parsed, as the model has written it: names and numbers, too."""
    return len(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"))


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
        self._marks = (*tally.marks, _LAST) if tally.marks else (b"",)
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
        if self._framing is None:
            self._begin(data.lstrip())
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
        passing = self._passing
        kept = b"".join(event for event in passing.cut(data) if not self._is_hidden(passing, event))
        if passing.is_between:
            self._passing = None
        return kept

    def _begin(self, begun: bytes) -> None:
        """Choose how the stream is cut, by the first byte of it that is no space."""
        if begun:
            self._framing = JsonArray() if begun.startswith(b"[") else EventStream()
            self._whole = begun.startswith(b"{")

    def close(self) -> bytes:
        """Return what is still held back. Nothing is read after it."""
        if self._closed:
            return b""
        self._closed = True
        self._fold()
        if self._framing is not None and not self._whole:
            self._take([self._framing.rest()])
            self._tally.closed()
        return self._held()

    @property
    def usage(self) -> Usage | None:
        """The provider's own figure; None until it has been told whole."""
        self._fold()
        return self._tally.usage

    @property
    def received(self) -> Usage:
        """The input, as told or its bound, with an upper bound of the output that has come so far."""
        if (whole := self.usage) is not None and whole.says_cost:
            return whole
        if self._whole:
            if (told_whole := self._answer(b"".join(self._new))) is not None and told_whole.says_cost:
                return told_whole
            self._seen = max(self._seen, self._new_bytes)
        self._count()
        most, told = self._at_most, self._tally.told()
        begun = 0 if self._framing is None or self._whole else self._framing.held  # a half of an event may be long
        output = min(self._seen + begun + self._tally.unseen, most.output_tokens)
        if told is None or not told.says_cost:  # some tell the input at the end
            audio, image = min(most.output_audio_tokens, output), min(most.output_image_tokens, output)
            return attrs.evolve(most, output_tokens=output, output_audio_tokens=audio, output_image_tokens=image)
        return attrs.evolve(told, output_tokens=max(told.output_tokens, output))

    def _held(self) -> bytes:
        """Return what is held back of an event that is not over."""
        if self._passing is None:
            return b""
        passing, self._passing = self._passing, None
        event = passing.rest()
        return b"" if self._is_hidden(passing, event) else event

    def _is_hidden(self, passing: EventStream, event: bytes) -> bool:
        if self._hides is None or self._hidden is None or self._hides not in event:
            return False
        said = _parsed(passing.content(event))
        return said is not None and self._hidden(said)

    def _fold(self) -> None:
        """Cut what is new into events, and read those that tell usage."""
        if self._framing is None or not self._new or (self._whole and not self._closed):
            return
        data, self._new, self._new_bytes = b"".join(self._new), [], 0
        if self._whole:
            self._tally.usage = self._answer(data)
            return
        self._unread_bytes += len(data)
        self._take(self._framing.cut(data))
        if self._unread_bytes > _COUNT:
            self._count()

    def _take(self, events: list[bytes]) -> None:
        """Put events aside, and read those that tell usage or the end."""
        self._unread += events
        together = b"".join(events)
        marks = [mark for mark in self._marks if mark in together]
        if marks or self._tally.usage is not None:  # most events tell nothing, and are not looked at one by one
            for event in events:
                # What comes after a usage may show that it was not the last word.
                if self._tally.usage is not None or any(mark in event for mark in marks):
                    self._tell(event)

    def _tell(self, event: bytes) -> None:
        content = self._content(event)
        if content == _LAST:
            self._tally.ended()
        elif (said := _parsed(content)) is not None:
            self._tally.tell(said)

    def _count(self) -> None:
        """Count the output in the events that were put aside."""
        contents = [content for content in map(self._content, self._unread) if content and content != _LAST]
        self._unread, self._unread_bytes = [], 0
        for said in _all_parsed(contents):
            self._seen += self._tally.output(said)

    def _content(self, event: bytes) -> bytes:
        assert self._framing is not None  # noqa: S101 - types: it has cut the event
        return self._framing.content(event)


def _parsed(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _all_parsed(contents: list[bytes]) -> list[dict[str, Any]]:
    """Return those of *contents* that are objects, parsed all at once if nothing is wrong with any."""
    try:
        found = json.loads(b"[%b]" % b",".join(contents))
    except ValueError:
        found = []
    if len(found) != len(contents):  # one is no JSON, or has made JSON together with its neighbour
        found = map(_parsed, contents)
    return [said for said in found if isinstance(said, dict)]
