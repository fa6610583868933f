"""Where events end: at any cut of the bytes the same, and with work that grows as the bytes do."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cycles._metering import framing as framings
from cycles._metering.framing import EventStream, JsonArray
from tests.metering.samples import pieces


@given(st.lists(st.integers(0, 200), max_size=6))
def test_framing_gives_back_every_byte(cuts):
    data = ": c\r\n\r\n\ufeffdata: a\n\ndata:b\r\ndata: c\r\rdata: d\n\r\n\n\ndata: é".encode()
    stream = EventStream()
    found = [event for part in pieces(data, cuts) for event in stream.cut(part)]
    found.append(stream.rest())
    assert b"".join(found) == data
    contents = [stream.content(event).decode() for event in found]
    assert [content for content in contents if content] == ["b\nc", "d", "é"]


WORK = Counter()


class Watched(bytes):
    """Bytes that count how many of them are put together, and how many searched with `in`; so does what they become."""

    def __add__(self, other):
        WORK["copied"] += len(self) + len(other)
        return Watched(bytes(self) + other)

    def __radd__(self, other):
        WORK["copied"] += len(self) + len(other)
        return Watched(other + bytes(self))

    def __contains__(self, sought):
        WORK["searched"] += len(self)
        return bytes(self).__contains__(sought)


class Patterns:
    """A pattern that counts the bytes that it is asked to search."""

    def __init__(self, pattern):
        self._pattern = pattern

    def search(self, data, at=0):
        WORK["searched"] += len(data) - at
        return self._pattern.search(data, at)

    def finditer(self, data, at=0):
        WORK["searched"] += len(data) - at
        return self._pattern.finditer(data, at)


PIECE = b"x" * 1000


@pytest.mark.parametrize(
    ("framing", "begin", "end"),
    [
        (EventStream, b'data: {"a":"', b'"}\n\n'),
        (EventStream, b'data: {"a":"', b'"}\r\n\r\n'),
        (EventStream, b'data: \r\ndata: {"a":"', b'"}\r\n\r\n'),
        (JsonArray, b'[{"a":"', b'"}]'),
    ],
)
def test_the_work_on_a_long_event_grows_as_it_does(framing, begin, end, monkeypatch):
    """Ten times the bytes are ten times the work: what was searched is not searched again with each piece."""
    for name in ("_END", "_SIGN"):
        monkeypatch.setattr(framings, name, Patterns(getattr(framings, name)))
    for pieces_of_it in (10, 100, 1000):
        WORK.clear()
        stream = framing()
        found = [event for part in (begin, *[PIECE] * pieces_of_it, end) for event in stream.cut(Watched(part))]
        assert [json.loads(stream.content(event))["a"] for event in found] == ["x" * 1000 * pieces_of_it]
        whole = len(begin) + len(end) + 1000 * pieces_of_it
        assert whole <= WORK["searched"] <= 5 * whole
        assert WORK["copied"] <= 2 * whole


def test_events_hidden_in_the_text_of_others_are_none():
    """Braces, brackets, quotes and backslashes in texts end nothing, however the array is cut."""
    said = [{"a": '}{][\\"'}, {"b": ["\\\\", {"c": "}"}], "d": '\\"'}, {"e": "é\u2028{"}]
    data = json.dumps(said, ensure_ascii=False, indent=1).encode()
    for step in (1, 2, 3, 7, len(data)):
        stream = JsonArray()
        found = [event for at in range(0, len(data), step) for event in stream.cut(data[at : at + step])]
        assert [json.loads(stream.content(event)) for event in found] == said
        assert stream.rest() == b""
