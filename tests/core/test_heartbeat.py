"""The arithmetic of docs/protocol.md, Heartbeat: its worked numbers, and what must hold for all numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cycles._core.heartbeat import (
    Failure,
    Lease,
    attempt_budget_ms,
    attempt_timeout,
    fallback_delay_ms,
    leased,
    retry_delay_ms,
    retry_reserve_ms,
    safety_margin_ms,
)

MS = st.integers(0, 2**63 - 1)
TIMEOUT = st.one_of(st.none(), st.floats(0.001, 3600))


def test_the_worked_numbers():
    assert attempt_budget_ms(10, 1500) == 10_000
    assert safety_margin_ms(1500) == 3_000
    assert retry_reserve_ms(10, 1500) == 23_000
    assert Lease(60_000, 0.0, 1500, 10).delay_ms == 37_000
    assert retry_reserve_ms(30, 1500) >= 61_000
    assert Lease(60_000, 0.0, 1500, 30).delay_ms == 0


def test_the_round_trip_is_taken_off_rounded_up():
    lease = leased(60_000, sent_at=10.0, received_at=10.1234, timeout=1.0)
    assert (lease.lead_floor_ms, lease.max_rtt_ms, lease.since) == (59_876, 124, 10.1234)


def test_the_longest_round_trip_is_remembered():
    first = leased(60_000, sent_at=0.0, received_at=2.0, timeout=1.0)
    second = leased(60_000, sent_at=10.0, received_at=10.1, timeout=1.0, before=first)
    assert second.max_rtt_ms == 2_000


def test_two_zeros_in_a_row_say_that_the_lease_is_too_short():
    first = leased(2_000, sent_at=0.0, received_at=0.0, timeout=1.0)
    assert (first.delay_ms, first.zeros, first.is_too_short) == (0, 1, False)
    again = leased(2_000, sent_at=0.0, received_at=0.0, timeout=1.0, before=first)
    assert again.is_too_short
    better = leased(60_000, sent_at=0.0, received_at=0.0, timeout=1.0, before=first)
    assert (better.zeros, better.is_too_short) == (0, False)


def test_an_unknown_timeout_leaves_no_time():
    assert leased(10**9, sent_at=0.0, received_at=0.0, timeout=None).delay_ms == 0


def test_a_short_lease_gets_short_attempts():
    assert attempt_timeout(4_000, 7.0) == 1.0
    assert attempt_timeout(60_000, 7.0) == 7.0
    assert attempt_timeout(20_000, 7.0) == 2.5
    assert attempt_timeout(60_000, 0.5) == 0.5
    four = leased(4_000, sent_at=0.0, received_at=0.01, timeout=attempt_timeout(4_000, 7.0))
    assert 900 <= four.delay_ms <= 1_000


def test_retries_shrink_with_the_lead():
    lease = Lease(23_000, 0.0, 100, 5.0)  # budget 5000, margin 1000
    assert retry_delay_ms(lease, 3.0) == (5_000, Failure(3_000, 14_000))
    assert retry_delay_ms(lease, 16.0) == (1_000, Failure(16_000, 1_000))
    assert retry_delay_ms(lease, 17.0) == (0, Failure(17_000, 0))
    assert retry_delay_ms(lease, 17.5, last=Failure(17_000, 0))[0] is None
    assert retry_delay_ms(lease, 18.0)[0] is None


def test_a_throttled_renewal_waits_exactly_or_stops():
    lease = Lease(23_000, 0.0, 100, 5.0)
    assert retry_delay_ms(lease, 3.0, throttled=True, retry_after_s=14.0)[0] == 14_000
    assert retry_delay_ms(lease, 3.0, throttled=True, retry_after_s=15.0)[0] is None
    assert retry_delay_ms(lease, 3.0, throttled=True, retry_after_s=None)[0] is None


def test_a_failure_that_changes_nothing_stops():
    lease = Lease(23_000, 0.0, 100, 5.0)
    _, failure = retry_delay_ms(lease, 3.0)
    assert retry_delay_ms(lease, 3.0, last=failure)[0] is None


@given(remaining=MS, sent=st.floats(0, 1e6), rtt=st.floats(0, 1e4), timeout=TIMEOUT)
def test_a_delay_never_leaves_less_than_the_reserve(remaining, sent, rtt, timeout):
    lease = leased(remaining, sent_at=sent, received_at=sent + rtt, timeout=timeout)
    reserve = retry_reserve_ms(timeout, lease.max_rtt_ms)
    assert lease.delay_ms >= 0
    if lease.delay_ms > 0:
        assert reserve is not None
        assert lease.lead_floor_ms - lease.delay_ms >= reserve


@given(
    lead=MS, timeout=st.floats(0.001, 3600), rtt=st.integers(0, 10**6), gaps=st.lists(st.floats(0, 100), max_size=60)
)
def test_retries_end_and_never_spin(lead, timeout, rtt, gaps):
    """Whatever the attempts take, no two in a row are sent without time having moved."""
    lease, now, last, immediate = Lease(lead, 0.0, rtt, timeout), 0.0, None, 0
    for gap in gaps:
        now += gap
        delay, failure = retry_delay_ms(lease, now, last=last)
        if delay is None:
            return
        left = lead - failure.elapsed_ms - delay
        assert left >= attempt_budget_ms(timeout, rtt) + safety_margin_ms(rtt)
        immediate = immediate + 1 if delay == 0 and last is not None and failure.elapsed_ms == last.elapsed_ms else 0
        assert immediate == 0
        last, now = failure, now + delay / 1000


@given(ttl=st.integers(1000, 86_400_000), grant=st.integers(-(10**6), 10**8), since=st.integers(0, 10**8))
def test_the_fallback_never_spins(ttl, grant, since):
    assert fallback_delay_ms(ttl, grant, since) >= 1000


def test_the_fallback_beats_at_half_the_grant_or_holds_a_clamped_lead():
    assert fallback_delay_ms(60_000, 60_000, 30_000) == 30_000
    assert fallback_delay_ms(60_000, 0, 30_000) == 30_000
    assert fallback_delay_ms(100_000, 30_000, 30_000) == 30_000
    assert fallback_delay_ms(60_000, 20_000, 50_000) == 10_000
    assert fallback_delay_ms(200_000, 190_000, 190_000) == 95_000, "nearly all that was asked for: nothing is clamped"


def test_an_unbounded_attempt_is_not_made_again():
    delay, _ = retry_delay_ms(Lease(60_000, 0.0, 10, None), 1.0)
    assert delay is None
