"""A request's body: JSON that is read, and changed as little as can be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from cycles.errors import Unmeterable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["answered", "caches_for_an_hour", "edited", "parsed", "whole", "width"]

_ESCAPE: Final = b"\\u"


def parsed(body: bytes) -> dict[str, Any]:
    """Return the object that a body is.

    Raises:
        Unmeterable: It is none.
    """
    found = answered(body)
    if found is None:
        raise Unmeterable("the body of a request that bills is no JSON object: what it asks for can't be read")
    return found


def answered(body: bytes) -> dict[str, Any] | None:
    """Return the object that an answer is; None when it is none."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def edited(body: bytes, before: Mapping[str, Any], changes: Mapping[str, Any], without: Iterable[str] = ()) -> bytes:
    """Return *body* with top-level *changes*, and *without* some names; the rest stays as it is, where it can.

    New names are put in front, so that a body with megabytes of images is not written anew.
    """
    if not changes and not without:
        return body
    if not without and before and before.keys().isdisjoint(changes):
        inserted = json.dumps(changes, ensure_ascii=False, separators=(",", ":"))[1:-1].encode()
        start = body.index(b"{") + 1
        return b"%b%b,%b" % (body[:start], inserted, body[start:])
    left_out = set(without)
    return _written({name: value for name, value in {**before, **changes}.items() if name not in left_out})


def _written(content: object) -> bytes:
    try:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a surrogate pair: it can only be sent escaped
        return json.dumps(content, separators=(",", ":")).encode()


def width(body: bytes, content: object) -> int:
    """Return how many bytes of UTF-8 a body is, escapes undone: no text of it has more tokens."""
    return len(_written(content)) if _ESCAPE in body else len(body)


def caches_for_an_hour(body: bytes) -> bool:
    """Return whether a body may ask for a part of it to be kept in a cache for an hour, as Claude does."""
    return b'"cache_control"' in body and b'"1h"' in body


def whole(value: object, name: str, *, otherwise: int | None = None) -> int | None:
    """Return a number that bounds what is billed, or *otherwise* where there is none.

    Raises:
        Unmeterable: It is no positive whole number, so that nobody knows what the provider makes of it.
    """
    if value is None:
        return otherwise
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or value < 1:
        raise Unmeterable(f"{name}={value!r} bounds nothing: give a whole number from 1 on")
    return value
