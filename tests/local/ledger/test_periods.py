"""The calendar of budgets that begin anew: every instant is in one period, whatever the clocks of a zone do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cycles.local.ledger.periods import KINDS, window, zone_named

HOUR = 3_600_000
DAY = 24 * HOUR
ODD_ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",  # half an hour off
    "Asia/Kathmandu",  # a quarter
    "Australia/Lord_Howe",  # put on by half an hour
    "America/Havana",  # midnight comes twice
    "America/Sao_Paulo",  # midnight was skipped
    "Africa/Casablanca",  # a summer time with a hole in it
    "Pacific/Apia",  # skipped a whole day
    "Asia/Manila",
    "America/Scoresbysund",
    "Antarctica/Troll",  # two hours
    "Africa/Monrovia",  # 44 minutes and 30 seconds, until 1972
)


def ms(text: str, zone: str = "UTC") -> int:
    """Return a local time in milliseconds."""
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
    return (moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


moments = st.integers(ms("1965-01-01"), ms("2100-01-01"))
kinds, zones = st.sampled_from(KINDS), st.sampled_from(ODD_ZONES)


def transition_near(zone: str, at_ms: int) -> int | None:
    """Return a change of the clocks within the 400 days after *at_ms*, by bisection."""
    where = ZoneInfo(zone)

    def offset(at: int) -> timedelta | None:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)).astimezone(where).utcoffset()

    steps = range(at_ms, at_ms + 400 * DAY, DAY)
    found = next(((low, high) for low, high in pairwise(steps) if offset(low) != offset(high)), None)
    if found is None:
        return None
    low, high = found
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
    return high


def is_partition(kind: str, zone: str, at_ms: int) -> None:
    starts, ends = window(kind, zone, at_ms)
    assert starts <= at_ms < ends
    assert window(kind, zone, starts) == window(kind, zone, ends - 1) == (starts, ends)
    assert window(kind, zone, ends)[0] == ends
    assert window(kind, zone, starts - 1)[1] == starts


@given(kinds, zones, moments)
@example("day", "Pacific/Apia", ms("2011-12-30T10:00"))  # the day that was not
@example("day", "America/Havana", ms("2026-11-01T04:30"))
@example("hour", "Australia/Lord_Howe", ms("2026-04-04T14:45"))
def test_every_instant_is_in_one_period(kind, zone, at_ms):
    is_partition(kind, zone, at_ms)


@given(kinds, zones, moments, st.integers(-2 * DAY, 2 * DAY))
def test_also_where_the_clocks_change(kind, zone, at_ms, off):
    changes = transition_near(zone, at_ms)
    if changes is not None:
        for around in (changes - 1, changes, changes + 1, changes + off):
            is_partition(kind, zone, around)


@given(kinds, zones, moments)
def test_a_period_begins_when_its_zone_shows_so(kind, zone, at_ms):
    """At the full hour, at midnight, on Monday, on the first; or where the clocks are put on past that."""
    starts, _ = window(kind, zone, at_ms)
    before, local = (
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)).astimezone(ZoneInfo(zone))
        for at in (starts - 1, starts)
    )
    if before.utcoffset() == local.utcoffset():
        assert (local.minute, local.second, local.microsecond) == (0, 0, 0)
        assert kind == "hour" or local.hour == 0
        assert kind != "week" or local.weekday() == 0
        assert kind != "month" or local.day == 1


@given(kinds, moments)
def test_utc_is_plain(kind, at_ms):
    starts, ends = window(kind, "UTC", at_ms)
    if kind == "month":
        assert ends - starts in {days * DAY for days in (28, 29, 30, 31)}
        return
    length = {"hour": HOUR, "day": DAY, "week": 7 * DAY}[kind]
    monday = 4 * DAY if kind == "week" else 0  # 1970 began on a Thursday
    assert (starts, ends) == ((at_ms - monday) // length * length + monday, starts + length)


@pytest.mark.parametrize(
    ("kind", "zone", "at", "starts", "hours"),
    [
        ("day", "Europe/Berlin", "2026-03-29T12:00", "2026-03-29T00:00", 23),
        ("day", "Europe/Berlin", "2026-10-25T12:00", "2026-10-25T00:00", 25),
        ("day", "Europe/Berlin", "2026-07-01T00:00", "2026-07-01T00:00", 24),
        ("week", "Europe/Berlin", "2026-03-29T12:00", "2026-03-23T00:00", 7 * 24 - 1),
        ("month", "America/New_York", "2026-11-30T23:59:59.999", "2026-11-01T00:00", 30 * 24 + 1),
        ("month", "UTC", "2028-02-29T12:00", "2028-02-01T00:00", 29 * 24),
        ("hour", "Asia/Kolkata", "2026-07-01T10:59:59", "2026-07-01T10:00", 1),
        ("hour", "Europe/Berlin", "2026-10-25T02:30", "2026-10-25T02:00", 1),  # the first of the two
        ("day", "America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04T01:00", 23),  # there was no midnight
        ("day", "America/Havana", "2026-11-01T12:00", "2026-11-01T00:00", 25),  # there were two
        ("day", "Pacific/Apia", "2011-12-31T12:00", "2011-12-31T00:00", 24),
        ("day", "Pacific/Apia", "2011-12-29T12:00", "2011-12-29T00:00", 24),
        ("hour", "Australia/Lord_Howe", "2026-04-05T01:10", "2026-04-05T01:00", 1.5),  # half of it came twice
    ],
)
def test_days_of_another_length(kind, zone, at, starts, hours):
    first = ms(starts, zone)
    assert window(kind, zone, ms(at, zone)) == (first, first + round(hours * HOUR))


def test_the_hour_that_comes_twice_is_two_hours():
    first = ms("2026-10-25T00:00")  # 2 o'clock in Berlin, and again an hour later
    assert window("hour", "Europe/Berlin", first) == (first, first + HOUR)
    assert window("hour", "Europe/Berlin", first + HOUR) == (first + HOUR, first + 2 * HOUR)


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../etc/passwd", "/etc/passwd", "Europe", "Europe/Berlin\0", "a" * 300]
)
def test_no_zone(name):
    with pytest.raises(ValueError, match="no zone"):
        zone_named(name)
    with pytest.raises(ValueError, match="no zone"):
        window("day", name, 0)


def test_no_kind_and_no_time():
    with pytest.raises(ValueError, match="year"):
        window("year", "UTC", 0)
    for at_ms in (ms("9998-01-01"), -(10**14), 10**18):
        with pytest.raises(OverflowError):
            window("day", "UTC", at_ms)
