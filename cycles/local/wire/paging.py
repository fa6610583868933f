"""Pages of lists: the limit, the cursor that binds a page to its list, and the body of a page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cycles.local.ledger.values import INT64_MAX, Refusal
from cycles.local.wire.messages import encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MAX_LIMIT: Final = 200
DEFAULT_LIMIT: Final = 50
MAX_BYTES: Final = 1024 * 1024
"""Bytes of a page's rows: metadata may be as large as a request, and 200 of those would be 200 MB."""

T = TypeVar("T")
Position = tuple[int | str, str]

_LIMIT: Final = re.compile(r"[0-9]{1,9}")

Body = dict[str, Any]
Parameters = dict[str, str]


def bad(name: str, value: str, allowed: str) -> Refusal:
    """Return the refusal of a query parameter."""
    return Refusal(400, "INVALID_REQUEST", f"{name}={value!r}: give {allowed}")


def one_of(parameters: Parameters, name: str, *known: str) -> str:
    """Return a parameter that has one of the *known* values, or "" when it is absent."""
    value = parameters.get(name)
    if value is None:
        return ""
    if value not in known:
        raise bad(name, value, f"one of {', '.join(known)}")
    return value


def limit_of(parameters: Parameters) -> int:
    """Return how many rows a page has at most."""
    text = parameters.get("limit", "")
    if not text:
        return DEFAULT_LIMIT
    if not _LIMIT.fullmatch(text) or not 1 <= int(text) <= MAX_LIMIT:
        raise bad("limit", text, f"a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def fingerprint_of(*terms: object) -> str:
    """Return what binds a cursor to its list; *terms* are all that makes it another list: order, filters, windows."""
    return hashlib.sha256(json.dumps(terms).encode()).hexdigest()[:16]


def position_of(parameters: Parameters, fingerprint: str, *kinds: type) -> tuple[Any, Any] | None:
    """Return the position after which the page begins, a pair of these kinds, or None at the start of the list."""
    text = parameters.get("cursor", "")
    if not text:
        return None
    try:
        found = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        bound, *position = found
    except (ValueError, TypeError, RecursionError):
        bound, position = None, []
    if bound != fingerprint or [type(part) for part in position] != list(kinds) or not all(map(_bindable, position)):
        raise bad("cursor", text, "the next_cursor of a list with the same filters and order, or none")
    first, second = position
    return first, second


def _bindable(part: int | str) -> bool:
    """Whether *part* may be a column's value; in a forged cursor it may be a number that no engine takes."""
    return part.isascii() if isinstance(part, str) else abs(part) <= INT64_MAX


def page_of(
    rows: Iterable[T], limit: int, body_of: Callable[[T], Body], place_of: Callable[[T], Position]
) -> tuple[list[Body], Position | None]:
    """Return a page's bodies, and the position of its last row when more follow.

    A page ends after *limit* rows, or before the row that would make it larger than MAX_BYTES; it has at least one. No
    more rows are read than that.
    """
    page: list[Body] = []
    size, after = 0, None
    for row in rows:
        body = body_of(row)
        size += len(encoded(body))
        if len(page) == limit or (page and size > MAX_BYTES):
            return page, after
        page.append(body)
        after = place_of(row)
    return page, None


def paged(name: str, page: list[Body], fingerprint: str, after: Position | None) -> Body:
    """Return the body of a page; there is another one *after* this position, unless it is None."""
    if after is None:
        return {name: page, "has_more": False}
    cursor = base64.urlsafe_b64encode(json.dumps([fingerprint, *after]).encode()).decode().rstrip("=")
    return {name: page, "has_more": True, "next_cursor": cursor}
