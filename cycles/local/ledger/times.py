"""ISO 8601 times of requests and answers, and the milliseconds that the ledger counts in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(text: str) -> int:
    """Return microseconds since the epoch of an ISO 8601 time with its zone.

    Raises:
        ValueError: when *text* is no such time.
    """
    try:
        moment = datetime.fromisoformat(text)
        since = of(moment)
        moment.astimezone(UTC)  # a time whose year in UTC is out of range could not be shown again
    except (OverflowError, TypeError):  # TypeError: a time without zone has no difference from ours
        raise ValueError(text) from None
    return since


def of(moment: datetime) -> int:
    """Return microseconds since the epoch of *moment*, which has a zone."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def iso(at_ms: int) -> str:
    """Return *at_ms* as the administration's answers write it."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
