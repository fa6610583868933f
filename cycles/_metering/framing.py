"""Where one event of a stream ends and the next begins, at any cut of the bytes."""

from __future__ import annotations

import codecs
import json
import re
from typing import Final, Protocol

__all__ = ["EventStream", "Framing", "JsonArray"]

_BOM: Final = codecs.BOM_UTF8
_END: Final = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
"""Two line ends: an event is over. Atomic groups, so that one CR LF is never taken for two line ends."""
_LINE: Final = re.compile(rb"\r\n|\n|\r")


class Framing(Protocol):
    """Cuts the bytes of a stream into events."""

    def cut(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the events that are whole now, each as (its bytes, its content)."""
        ...

    def rest(self) -> tuple[bytes, bytes]:
        """Return what came after the last whole event, likewise; nothing is cut after it."""
        ...


class EventStream:
    """Server-sent events: line ends of any kind, comments, several lines of data, a byte order mark."""

    def __init__(self) -> None:
        self._buffer = b""
        self._begun = False

    @property
    def is_between(self) -> bool:
        """Whether nothing is held: the last byte that came has ended an event."""
        return not self._buffer

    def cut(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the events that end in *data*; their bytes, put together, are those that came."""
        buffer, start, events = self._buffer + data, 0, []
        if b"\r" not in buffer:  # as nearly all write them
            *whole, self._buffer = buffer.split(b"\n\n")
            return [(raw + b"\n\n", self._content(raw)) for raw in whole]
        while found := _END.search(buffer, start):
            end = found.end()
            if end == len(buffer) and buffer.endswith(b"\r"):
                break  # a line feed may still belong to it
            raw = buffer[start:end]
            events.append((raw, self._content(raw)))
            start = end
        self._buffer = buffer[start:]
        return events

    def rest(self) -> tuple[bytes, bytes]:
        """Return an event that no blank line has ended: some servers leave the last one out."""
        raw, self._buffer = self._buffer, b""
        return raw, self._content(raw)

    def _content(self, raw: bytes) -> bytes:
        if not self._begun:
            self._begun = True
            raw = raw.removeprefix(_BOM)
        if raw.startswith(b"data: ") and b"\n" not in raw and b"\r" not in raw:
            return raw[6:]
        lines = (line[5:].removeprefix(b" ") for line in _LINE.split(raw) if line.startswith(b"data:"))
        return b"\n".join(lines)


class JsonArray:
    """A JSON array whose elements come one after the other: Gemini's streams without `alt=sse`."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._buffer = ""

    def cut(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """Return the elements that end in *data*; of their bytes only the content is kept."""
        buffer, events = self._buffer + self._decoder.decode(data), []
        while element := buffer.lstrip(" \t\r\n[,]\ufeff"):
            try:
                _, end = json.JSONDecoder().raw_decode(element)
            except ValueError:
                break
            content = element[:end].encode()
            events.append((content, content))
            buffer = element[end:]
        self._buffer = buffer
        return events

    def rest(self) -> tuple[bytes, bytes]:
        """Return nothing: half an element can't be read."""
        self._buffer = ""
        return b"", b""
