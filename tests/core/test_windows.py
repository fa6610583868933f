"""What a time that users give means, and which windows are refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cycles._core.retry import RetryPolicy
from cycles._core.windows import window
from cycles.errors import (
    InvalidRequest,
)

POLICY = RetryPolicy(max_attempts=4)
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (NOW, NOW),
        (NOW.astimezone(timezone(timedelta(hours=5))), NOW),
        (timedelta(hours=1), NOW - timedelta(hours=1)),
        (timedelta(hours=-1), NOW + timedelta(hours=1)),
        ("2026-01-31T12:00:00Z", NOW),
        ("2026-01-31T14:00:00+02:00", NOW),
        (" 20260131T12Z ", NOW),
        ("31 Jan 2026 12:00 UTC", NOW),
        ("Jan 31, 2026 2pm +02:00", NOW),
        ("Sat, 31 Jan 2026 12:00:00 GMT", NOW),
        (None, None),
    ],
)
def test_what_a_time_means(value, meant):
    low, high = window("created", (value, None), NOW)
    assert (low, high) == (meant, None)
    assert low is None or low.tzinfo is UTC


def test_a_timedelta_looks_ahead_for_expiries():
    minute = timedelta(minutes=1)
    assert window("expires", (-minute, minute), NOW, ahead=True) == (NOW - minute, NOW + minute)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (datetime(2026, 1, 31), "add the offset from UTC, such as tzinfo=datetime.UTC"),  # noqa: DTZ001 - what is refused
        ("2026-01-31T12:00:00", "add the offset"),
        ("2026-01-31", "add the offset"),
        ("31 Jan 2026 12:00", "add the offset"),
        ("31 Jan 2026 12:00 CET", "add the offset"),
        ("31 Jan 2026 12:00 GMT+3", "read in two ways"),
        ("12:00Z", "names no full day"),
        ("Feb 2026 12:00Z", "names no full day"),
        ("yesterday", "not a time that can be read"),
        ("", "not a time that can be read"),
        (date(2026, 1, 31), "give a datetime with its offset"),
        (5, "give a datetime with its offset"),
        (timedelta(days=10**8), "outside the years"),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))), "outside the years"),
    ],
)
def test_a_time_that_means_nothing_certain_is_refused(value, said):
    with pytest.raises(InvalidRequest, match=said) as caught:
        window("created", (None, value), NOW)
    assert str(caught.value).startswith(f"created to={value!r}")


def test_a_window_ends_after_it_starts():
    with pytest.raises(InvalidRequest, match="is after to"):
        window("created", (timedelta(hours=1), timedelta(hours=2)), NOW)


@given(
    st.text()
    | st.from_regex(r"[0-9 ]{1,4}[-/ ](Jan|[0-9]{1,2})[-/ ][0-9]{2,4} ?[0-9:]{0,8} ?[A-Za-z+-]{0,4}[0-9:]{0,5}")
)
def test_any_text_is_an_instant_or_refused(text):
    try:
        low, _ = window("created", (text, None), NOW)
    except InvalidRequest:
        return
    assert low is not None
    assert low.tzinfo is UTC
