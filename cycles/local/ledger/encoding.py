"""JSON text of rows, answers and requests, by encoders that are made once.

`json.JSONEncoder.encode` makes a new encoder in C for each value, which takes as long as encoding a budget.
"""

from __future__ import annotations

import json
from json import encoder as _encoders
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable


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


class Answer(dict[str, Any]):
    """The body of an answer, which does not change any more: it is encoded once, for whoever keeps and sends it."""

    __slots__ = ("_text",)

    @property
    def text(self) -> str:
        """The body as JSON."""
        try:
            return self._text
        except AttributeError:
            self._text: str = answer(self)
            return self._text


def text_of(body: dict[str, Any]) -> str:
    """Return the *body* of an answer as JSON."""
    return body.text if isinstance(body, Answer) else answer(body)


compact: Final = encoder()
"""Encode a row."""

answer: Final = encoder(allow_nan=False)
"""Encode the body of an answer: the same text, and never NaN."""

canonical: Final = encoder(ascii_only=True, spaced=True, sort_keys=True)
"""Encode a request so that the order of its fields doesn't matter."""
