"""The periods of a budget that begins anew: pure arithmetic of the calendar; the time is handed in.

A period begins at a local midnight (`hour`: at a full hour of the local clock) of its zone, and lasts until the next
one begins, whatever the clocks of the zone do between. So every instant is in exactly one period.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

KINDS: Final = ("hour", "day", "week", "month")
"""How long periods are: each begins at a full hour, at midnight, on Monday, or on the first of the month."""

_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - of a local clock, whichever
_MS: Final = timedelta(milliseconds=1)
_FIRST: Final = datetime(2, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9998, 1, 1, tzinfo=UTC)


class Period(NamedTuple):
    """How a budget begins anew, and the period that it is in.

    Attributes:
        kind: "hour", "day", "week" (from Monday on) or "month".
        zone: The zone whose midnight counts: "UTC", or a name of the IANA database such as "Europe/Berlin".
        amount: The allocation that each period begins with; CREDIT and DEBIT change the present period only.
        starts_ms: The first millisecond of the present period, since the epoch.
        ends_ms: The first millisecond of the next period, since the epoch.

    Example:
        ```python
        from cycles import usd
        from cycles.local import LocalAuthority

        authority = LocalAuthority()
        budget = authority.budget("tenant:acme", usd("5.00"), period="day", zone="UTC")
        assert budget.period is not None
        print(budget.period.kind, budget.period.ends_ms)
        ```
    """

    kind: str
    zone: str
    amount: int
    starts_ms: int
    ends_ms: int


def zone_named(name: str) -> tzinfo:
    """Return the zone.

    Raises:
        ValueError: when this machine knows no zone of this name.
    """
    if name == "UTC":
        return UTC
    try:
        return _zone(name)
    except (KeyError, OSError, ValueError):  # KeyError: it is not there; the others: no name of a zone
        raise ValueError(f"no zone {name!r}") from None


@lru_cache(64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def window(kind: str, zone: str, at_ms: int) -> tuple[int, int]:
    """Return the first millisecond of the period that *at_ms* is in, and the first of the next period.

    Raises:
        ValueError: when there is no such kind of period, or no such zone.
        OverflowError: when *at_ms* is not within the years 2 to 9997.
    """
    if kind not in KINDS:
        raise ValueError(f"no period {kind!r}")
    where = zone_named(zone)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
    if not _FIRST <= moment < _LAST:
        raise OverflowError(at_ms)
    near = moment.astimezone(where).replace(tzinfo=None)
    hourly = kind == "hour"
    starts = {start for label in _labels(kind, near) for start in _starts(label, where, twice=hourly)}
    return max(start for start in starts if start <= at_ms), min(start for start in starts if start > at_ms)


def _labels(kind: str, near: datetime) -> Iterator[datetime]:
    """Give what a local clock shows when periods begin: the one of *near*, and two before and after it.

    Two, since a clock that is put on or back, or a day that is skipped, moves the one that counts.
    """
    if kind == "hour":
        full = near.replace(minute=0, second=0, microsecond=0)
        return (full + timedelta(hours=step) for step in range(-3, 4))
    midnight = near.replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "day":
        return (midnight + timedelta(days=step) for step in range(-2, 3))
    if kind == "week":
        monday = midnight - timedelta(days=midnight.weekday())
        return (monday + timedelta(weeks=step) for step in range(-2, 3))
    months = midnight.year * 12 + midnight.month - 1
    return (midnight.replace(year=n // 12, month=n % 12 + 1, day=1) for n in range(months - 2, months + 3))


def _starts(label: datetime, zone: tzinfo, *, twice: bool) -> Iterator[int]:
    """Give when the clocks of *zone* show *label*; the second time only when *twice*, as an hour that is repeated.

    Where clocks are put on past *label*, it is the moment at which they would have shown it.
    """
    first, second = ((label - _EPOCH - _offset(label, zone, fold)) // _MS for fold in (0, 1))
    yield first
    if twice and second > first:
        yield second


def _offset(label: datetime, zone: tzinfo, fold: int) -> timedelta:
    offset = label.replace(tzinfo=zone, fold=fold).utcoffset()
    assert offset is not None  # noqa: S101 - types: such a zone always has one
    return offset
