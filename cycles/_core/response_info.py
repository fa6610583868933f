"""What the headers of a response say about the request: for logs, for the operator, for pacing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_MOST: Final = 256
"""Characters of an id that are kept; a longer one is no id."""


class ResponseInfo:
    """What the headers of a response say. Frozen; whatever is absent or malformed is None.

    Attributes:
        request_id: Names the request in the authority's log.
        trace_id: The trace that the authority counts it to, 32 lower-case hex digits.
        tenant: Whom the key belongs to.
        rate_limit_remaining: Requests left in the current window; None also where there is no limit (-1).
        rate_limit_reset: When that window ends, in unix seconds by the authority's clock.

    Example:
        ```python
        import cycles
        from cycles import usd

        with cycles.Client() as client:
            reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))
            print(reservation.info.request_id)
            reservation.release()
        ```
    """

    __slots__ = ("rate_limit_remaining", "rate_limit_reset", "request_id", "tenant", "trace_id")

    request_id: str | None
    trace_id: str | None
    tenant: str | None
    rate_limit_remaining: int | None
    rate_limit_reset: int | None

    def __init__(self, headers: Mapping[str, str]) -> None:
        trace_id = headers.get("x-cycles-trace-id", "")
        self._set("request_id", _id(headers.get("x-request-id", "")))
        self._set("trace_id", trace_id if _TRACE_ID.fullmatch(trace_id) and trace_id.strip("0") else None)
        self._set("tenant", _id(headers.get("x-cycles-tenant", "")))
        self._set("rate_limit_remaining", _count(headers.get("x-ratelimit-remaining", "")))
        self._set("rate_limit_reset", _count(headers.get("x-ratelimit-reset", "")))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a ResponseInfo is frozen")

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return self._values() == other._values() if isinstance(other, ResponseInfo) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._values())

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, self._values()

    def __repr__(self) -> str:
        known = ((name, getattr(self, name)) for name in self.__slots__)
        return " ".join(["<ResponseInfo", *(f"{name}={value!r}" for name, value in known if value is not None)]) + ">"


def _restore(*values: object) -> ResponseInfo:
    info = ResponseInfo.__new__(ResponseInfo)
    for name, value in zip(ResponseInfo.__slots__, values, strict=True):
        object.__setattr__(info, name, value)
    return info


def _id(text: str) -> str | None:
    text = text.strip()
    return text if 0 < len(text) <= _MOST and text.isprintable() else None


def _count(text: str) -> int | None:
    text = text.strip()
    # 18 digits fit an int64; the bound keeps a hostile header from becoming a huge integer.
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
