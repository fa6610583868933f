"""Times as people write them, turned into the instants that list filters take. Pure: *now* comes from the caller."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from cycles.errors import InvalidRequest

Moment: TypeAlias = datetime | timedelta | str | None
"""A datetime with its offset, a timedelta, or a text (ISO 8601, or what dateutil reads); None leaves the end open."""

Window: TypeAlias = tuple[Moment, Moment]
"""(from, to), both ends included."""

_REMEDY: Final = "add the offset from UTC, such as tzinfo=datetime.UTC, or a Z at the end of a text"
_SIGNED_ZONE: Final = re.compile(r"(?:UTC|GMT|\dZ|\bZ)\s*[+-]\s*\d", re.IGNORECASE)
_FORMS: Final = "give a datetime with its offset, a timedelta, or a text such as 2026-01-31T12:00:00Z"


def window(
    field: str, given: Window | None, now: datetime, *, ahead: bool = False
) -> tuple[datetime | None, datetime | None]:
    """Return the instants, in UTC, that *given* means.

    Args:
        field: Its name in messages.
        given: (from, to); None leaves both ends open.
        now: What timedeltas count from, with its offset.
        ahead: A timedelta is from now, else it is ago.

    Raises:
        InvalidRequest: for a time that can't be read or has no offset, and for a window that ends before it starts.
    """
    if given is None:
        return None, None
    if isinstance(given, str) or not isinstance(given, tuple | list) or len(given) != 2:
        raise InvalidRequest(f"{field}={given!r}: give a pair (from, to); None leaves an end open")
    low = _instant(f"{field} from", given[0], now, ahead=ahead)
    high = _instant(f"{field} to", given[1], now, ahead=ahead)
    if low is not None and high is not None and low > high:
        raise InvalidRequest(
            f"{field}: from {low.isoformat()} is after to {high.isoformat()}; give the earlier time first"
        )
    return low, high


def _instant(field: str, value: Moment, now: datetime, *, ahead: bool) -> datetime | None:
    if value is None:
        return None
    try:
        if isinstance(value, timedelta):
            return (now + value if ahead else now - value).astimezone(UTC)
        if not isinstance(value, datetime | str):
            raise InvalidRequest(f"{field}={value!r}: {_FORMS}")
        moment = value if isinstance(value, datetime) else _read(field, value)
        if moment.utcoffset() is None:
            raise InvalidRequest(f"{field}={value!r}: a time without an offset means nothing elsewhere; {_REMEDY}")
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidRequest(f"{field}={value!r}: outside the years 1 to 9999") from None


def _read(field: str, text: str) -> datetime:
    text = text.strip()
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    if _SIGNED_ZONE.search(text):
        raise InvalidRequest(f"{field}={text[:80]!r}: GMT+3 is read in two ways; write the offset alone, as +03:00")
    from dateutil import parser  # noqa: PLC0415 - costs import time, and few lists need it

    try:
        # Read twice over different defaults: where they show through, the text leaves its day open.
        found, other = (
            parser.parse(text, default=default, tzinfos=_offset)
            for default in (datetime(2000, 1, 1), datetime(2001, 2, 2))  # noqa: DTZ001 - the text brings the offset
        )
    except (ValueError, TypeError, ArithmeticError):
        raise InvalidRequest(f"{field}={text[:80]!r}: not a time that can be read; {_FORMS}") from None
    if found != other:
        raise InvalidRequest(f"{field}={text[:80]!r}: names no full day; give year, month and day")
    return found


def _offset(name: str | None, seconds: int | None) -> int | None:
    """Return the offset of a zone in seconds. Of names only those of UTC count: others differ from place to place."""
    if name is None:
        return seconds
    return seconds or 0 if name in ("UTC", "GMT", "Z", "z") else None
