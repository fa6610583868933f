"""The arithmetic of waiting."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from cycles._core.retry import NO_RETRY, RetryPolicy


def test_backoff_grows_to_its_cap_with_full_jitter():
    policy = RetryPolicy(max_attempts=9, initial_delay=0.5, multiplier=2.0, max_delay=30.0)
    assert [policy.delay(attempt, 1.0) for attempt in range(1, 10)] == [0.5, 1, 2, 4, 8, 16, 30, 30, None]
    assert policy.delay(3, 0.25) == 0.5
    assert policy.delay(3, 0.0) == 0.0


def test_retry_after_is_waited_out_or_ends_the_attempts():
    policy = RetryPolicy(max_attempts=3, initial_delay=1.0, max_delay=10.0)
    assert policy.delay(1, 0.5, retry_after=7.0) == 7.5
    assert policy.delay(1, 0.5, retry_after=10.0) == 10.5
    assert policy.delay(1, 0.5, retry_after=11.0) is None


def test_no_retry_means_one_attempt():
    assert NO_RETRY.delay(1, 0.5) is None


@given(
    attempt=st.integers(1, 10**9),
    jitter=st.floats(0, 1, exclude_max=True),
    multiplier=st.floats(1, 100),
    max_delay=st.floats(0, 3600),
)
def test_no_delay_overflows_or_exceeds_its_cap(attempt, jitter, multiplier, max_delay):
    policy = RetryPolicy(max_attempts=attempt + 1, multiplier=multiplier, max_delay=max_delay)
    delay = policy.delay(attempt, jitter)
    assert delay is not None
    assert math.isfinite(delay)
    assert 0 <= delay <= max_delay


def test_a_policy_shows_its_figures():
    assert repr(RetryPolicy(max_attempts=2)).startswith("RetryPolicy(max_attempts=2, initial_delay=0.5")
