"""Times of requests and answers, and the milliseconds that the ledger counts in."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS_OF_400_YEARS: Final = 146_097
_DATE_TIME: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def microseconds(text: str) -> int:
    """Return microseconds since the epoch of an RFC 3339 date-time; digits beyond them are dropped.

    A second 60 is the first of the next minute. The year 0 is there, as in the standard.

    Raises:
        ValueError: when *text* is no such time: seconds and an offset, `Z` or `+hh:mm`, are required.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError(text)
    # Python's years begin at 1; the calendar repeats every 400 years.
    days = date(year or 400, month, day).toordinal() - (0 if year else _DAYS_OF_400_YEARS) - _EPOCH.toordinal()
    fraction = (match[7] or "")[:6].ljust(6, "0")
    return (((days * 24 + hour) * 60 + minute - _offset(match[8], text)) * 60 + second) * 1_000_000 + int(fraction)


def _offset(offset: str, text: str) -> int:
    """Return the minutes of *offset*."""
    if offset in "zZ":
        return 0
    hours, minutes = int(offset[1:3]), int(offset[4:6])
    if hours > 23 or minutes > 59:
        raise ValueError(text)
    return (hours * 60 + minutes) * (-1 if offset[0] == "-" else 1)


def of(moment: datetime) -> int:
    """Return microseconds since the epoch of *moment*, which has a zone."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def iso(at_ms: int) -> str:
    """Return *at_ms* as the administration's answers write it."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
