"""Where one event of a stream ends and the next begins, at any cut of the bytes.

An event may be long, and come in many pieces: each piece is searched when it comes, and put to the others when the
event is over. Nothing that has been searched is searched again.
"""

from __future__ import annotations

import codecs
import re
from typing import Final, Protocol

__all__ = ["EventStream", "Framing", "JsonArray"]

_BOM: Final = codecs.BOM_UTF8
_END: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
"""Two line ends: an event is over. Atomic groups, so that one CR LF is never taken for two line ends."""
_SEAM: Final = 3
"""Bytes that may belong to an end that is not over: all but the last of CR LF CR LF."""
_LINE: Final = re.compile(rb"\r\n|\n|\r")
_SIGN: Final = re.compile(rb'\\.?|["{}\[\]]', re.DOTALL)
"""What begins or ends something in JSON; with a backslash what it escapes, unless that is still to come."""


class Framing(Protocol):
    """Cuts the bytes of a stream into events."""

    def cut(self, data: bytes) -> list[bytes]:
        """Return the events that end in *data*, each from its first byte on."""
        ...

    def rest(self) -> bytes:
        """Return what came after the last whole event; nothing is cut after it."""
        ...

    @property
    def held(self) -> int:
        """How many bytes have come of an event that is not over."""
        ...

    def content(self, event: bytes) -> bytes:
        """Return what an event says."""
        ...


class EventStream:
    """Server-sent events: line ends of any kind, comments, several lines of data, a byte order mark."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._seam = b""
        self._first: bytes | None = None

    @property
    def held(self) -> int:
        """How many bytes have come of an event that is not over."""
        return sum(map(len, self._held))

    @property
    def is_between(self) -> bool:
        """Whether nothing is held: the last byte that came has ended an event."""
        return not self._held

    def cut(self, data: bytes) -> list[bytes]:
        """Return the events that end in *data*; put together, they are the bytes that came."""
        if not data:
            return []
        searched = self._seam + data
        self._held.append(data)
        if b"\n\n" not in searched and not (b"\r" in searched and _END.search(searched)):
            self._seam = searched[-_SEAM:]
            return []
        buffer = b"".join(self._held)
        events, rest = _by_any_line_end(buffer) if b"\r" in buffer else _by_line_feed(buffer)
        self._held, self._seam = [rest] if rest else [], rest[-_SEAM:]
        if events and self._first is None:
            self._first = events[0]
        return events

    def rest(self) -> bytes:
        """Return an event that no blank line has ended: some servers leave the last one out."""
        event, self._held, self._seam = b"".join(self._held), [], b""
        if self._first is None:
            self._first = event
        return event

    def content(self, event: bytes) -> bytes:
        """Return the data of an event that was cut."""
        if event is self._first:
            event = event.removeprefix(_BOM)
        if event.startswith(b"data: ") and event.endswith(b"\n\n"):
            line = event[6:-2]
            if b"\n" not in line and b"\r" not in line:  # as nearly all are written
                return line
        lines = (line[5:].removeprefix(b" ") for line in _LINE.split(event) if line.startswith(b"data:"))
        return b"\n".join(lines)


def _by_line_feed(buffer: bytes) -> tuple[list[bytes], bytes]:
    """Return the events in *buffer*, and what comes after them."""
    *events, rest = buffer.split(b"\n\n")
    return [event + b"\n\n" for event in events], rest


def _by_any_line_end(buffer: bytes) -> tuple[list[bytes], bytes]:
    """The same where there are carriage returns; see `_by_line_feed`."""
    events, start = [], 0
    while found := _END.search(buffer, start):
        end = found.end()
        if end == len(buffer) and buffer.endswith(b"\r"):
            break  # a line feed may still belong to it
        events.append(buffer[start:end])
        start = end
    return events, buffer[start:]


class JsonArray:
    """A JSON array whose elements come one after the other: Gemini's streams without `alt=sse`. Objects are events."""

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._depth = 0
        self._is_text = False
        self._is_escaped = False

    def cut(self, data: bytes) -> list[bytes]:
        """Return the objects that end in *data*; nothing is kept of what is between them."""
        events, start, at = [], 0, 0
        if data and self._is_escaped:
            self._is_escaped, at = False, 1
        for found in _SIGN.finditer(data, at):
            step = self._step(found[0])
            if step > 0 and not self._depth:
                start = found.start()
            self._depth += step
            if step < 0 and not self._depth:
                events.append(b"".join((*self._held, data[start : found.end()])))
                self._held = []
        if self._depth:
            self._held.append(data[start:])
        return events

    def _step(self, sign: bytes) -> int:
        """Return 1 for what begins an object, or a list in one; -1 for what ends it; 0 for all else."""
        if sign == b'"':
            self._is_text = not self._is_text
        elif sign == b"\\":
            self._is_escaped = True
        elif not self._is_text:
            if sign == b"{" or (sign == b"[" and self._depth):
                return 1
            if sign in {b"}", b"]"} and self._depth:
                return -1
        return 0

    @property
    def held(self) -> int:
        """How many bytes have come of an object that is not over."""
        return sum(map(len, self._held))

    def rest(self) -> bytes:
        """Return nothing: half an object can't be read."""
        self._held = []
        return b""

    def content(self, event: bytes) -> bytes:
        """Return the event: it is all content."""
        return event
