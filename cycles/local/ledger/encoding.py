"""JSON text of rows, answers and requests, by encoders that are made once.

`json.JSONEncoder.encode` makes a new encoder in C for each value, which takes as long as encoding a budget. Where there
is orjson, it encodes rows, and the answers to requests that spend: the same text in a seventh of the time.
"""

from __future__ import annotations

import json
from json import encoder as _encoders
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

dumps: Callable[[Any], bytes] | None
try:
    from orjson import dumps
except ImportError:  # the extras `server` and `fast` bring it
    dumps = None


def encoder(
    *, ascii_only: bool = False, spaced: bool = False, sort_keys: bool = False, allow_nan: bool = True
) -> Callable[[Any], str]:
    """Return a function that encodes values without circles as JSON text.

    Args:
        ascii_only: Whether other characters are escaped.
        spaced: Whether a blank follows each comma and each colon.
        sort_keys: Whether the fields of objects are sorted.
        allow_nan: Whether NaN and infinities are written as JavaScript does; else they are a ValueError.
    """
    comma, colon = (", ", ": ") if spaced else (",", ":")
    plain = json.JSONEncoder(
        ensure_ascii=ascii_only,
        separators=(comma, colon),
        sort_keys=sort_keys,
        check_circular=False,
        allow_nan=allow_nan,
    )
    make = getattr(_encoders, "c_make_encoder", None)
    if make is None:  # Python without it in C
        return plain.encode
    escaped = _encoders.encode_basestring_ascii if ascii_only else _encoders.encode_basestring
    chunks = make(None, plain.default, escaped, None, colon, comma, sort_keys, plain.skipkeys, allow_nan)
    join = "".join

    def encode(value: Any) -> str:
        return join(chunks(value, 0))

    return encode


def _quickened(plain: Callable[[Any], str]) -> Callable[[Any], str]:
    """Return a function that encodes as *plain* does, with orjson where there is one.

    It is for values without floats, which orjson spells otherwise (1e16 for 1e+16), and without NaN, which it writes as
    null. What it does not know, such as an integer beyond 64 bits, is *plain*'s.
    """
    if dumps is None:
        return plain
    quick = dumps

    def encode(value: Any) -> str:
        try:
            return quick(value).decode()
        except TypeError:
            return plain(value)

    return encode


class Answer(dict[str, Any]):
    """The body of an answer, which does not change any more: it is encoded once, for whoever keeps and sends it."""

    __slots__ = ("_text",)

    @property
    def text(self) -> str:
        """The body as JSON."""
        try:
            return self._text
        except AttributeError:
            self._text: str = _answer(self)
            return self._text


def text_of(body: dict[str, Any]) -> str:
    """Return the *body* of an answer as JSON."""
    return body.text if isinstance(body, Answer) else answer(body)


compact: Final = _quickened(encoder())
"""Encode a row. A float in its metadata may be spelled otherwise than in an answer, and is the same number."""

answer: Final = encoder(allow_nan=False)
"""Encode the body of any answer; NaN is a ValueError."""

_answer: Final = _quickened(answer)
"""Encode an `Answer`, which has no floats: its figures are integers, and only lists and looks show metadata."""

canonical: Final = encoder(ascii_only=True, spaced=True, sort_keys=True)
"""Encode a request so that the order of its fields doesn't matter."""
