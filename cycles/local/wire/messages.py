"""Requests and responses of the authority as plain values, whatever carries them."""

from __future__ import annotations

import re
from os import urandom
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote

from cycles.local.ledger.encoding import text_of

ORIGIN: Final = "http://cycles.local"
"""The address of requests inside the process; nothing resolves it."""

MAX_BODY: Final = 1024 * 1024
"""Bytes of a request body that are read at most; the protocol's requests have a few hundred."""

_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


class Request(NamedTuple):
    """A request, as it was sent.

    Attributes:
        method: In upper case.
        path: Still percent-encoded, so that an escaped slash stays inside its segment.
        query: Without the question mark, still encoded.
        headers: By lower-case name.
        body: As it came.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes

    def segments(self) -> list[str]:
        """Return the path's segments, decoded."""
        if "%" not in self.path:
            return self.path.split("/")[1:]
        return [unquote(segment) for segment in self.path.split("/")[1:]]

    def parameters(self) -> dict[str, str]:
        """Return the query's parameters; of one that is repeated the values are joined by commas."""
        found: dict[str, str] = {}
        for name, value in parse_qsl(self.query, keep_blank_values=True):
            found[name] = f"{found[name]},{value}" if name in found else value
        return found


class Response(NamedTuple):
    """An answer; `headers` are in order, with lower-case names."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def encoded(body: dict[str, Any]) -> bytes:
    """Return *body* as compact JSON."""
    return text_of(body).encode()


def new_id() -> str:
    """Return a UUID for a request: version 4."""
    return _uuid(urandom(16).hex(), 4)


def new_row_id(now_ms: int) -> str:
    """Return a UUID for a row that is kept: version 7, in the order of time.

    Rows that are made one after the other then lie together in the file; random ids would touch a page each.
    """
    return _uuid(f"{now_ms & 0xFFFFFFFFFFFF:012x}{urandom(10).hex()}", 7)


def _uuid(digits: str, version: int) -> str:
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-{version}{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def trace_id_of(headers: dict[str, str]) -> str:
    """Return the trace that a request belongs to: `traceparent`, else X-Cycles-Trace-Id, else a new one."""
    parent = headers.get("traceparent")
    if parent is not None:
        match = _TRACEPARENT.fullmatch(parent.strip().lower())
        if match is not None and match[1] != _NO_TRACE and match[2] != _NO_SPAN:
            return match[1]
    given = headers.get("x-cycles-trace-id")
    if given is not None:
        given = given.strip().lower()
        if given != _NO_TRACE and _TRACE_ID.fullmatch(given):
            return given
    return urandom(16).hex()
