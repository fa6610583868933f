"""When to renew a lease: the arithmetic of docs/protocol.md, Heartbeat, pure and in whole milliseconds.

Budgets and margins are rounded up, leads and delays down, so that rounding never eats into the time kept in
reserve. No wall clock plays a part: only what the authority said was left, and monotonic times around each attempt.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

LEAST_BUDGET_MS: Final = 1000
LEAST_MARGIN_MS: Final = 1000
LONGEST_RETRY_MS: Final = 30_000


def rtt_ms(sent_at: float, received_at: float) -> int:
    """Return the round trip between two monotonic times in seconds, rounded up."""
    return max(0, math.ceil((received_at - sent_at) * 1000))


def elapsed_ms(since: float, now: float) -> int:
    """Return the time since *since*, rounded up: what is left is never overstated."""
    return max(0, math.ceil((now - since) * 1000))


def attempt_timeout(ttl_ms: int, ordinary: float) -> float:
    """Return the seconds that one whole extend attempt of a lease of *ttl_ms* may take.

    An eighth of the lease, 1 s at least, and never more than an *ordinary* request: with the ordinary bound two
    attempts and the margin would not fit into a lease of less than about 20 s.
    """
    return min(max(ordinary, 0.001), max(LEAST_BUDGET_MS, ttl_ms // 8) / 1000)


def attempt_budget_ms(timeout: float | None, max_rtt_ms: int) -> int | None:
    """Return what one attempt may take; None is without bound (an unknown timeout)."""
    if timeout is None:
        return None
    return max(math.ceil(timeout * 1000), LEAST_BUDGET_MS, 2 * max_rtt_ms)


def safety_margin_ms(max_rtt_ms: int) -> int:
    """Return what is kept for clocks and scheduling."""
    return max(LEAST_MARGIN_MS, 2 * max_rtt_ms)


def retry_reserve_ms(timeout: float | None, max_rtt_ms: int) -> int | None:
    """Return the lead below which a renewal must have begun: two attempts and the margin; None is without bound."""
    budget = attempt_budget_ms(timeout, max_rtt_ms)
    return None if budget is None else 2 * budget + safety_margin_ms(max_rtt_ms)


class Lease(NamedTuple):
    """What is known of a lease after a schema-valid answer.

    Attributes:
        lead_floor_ms: At least this much was left when the answer arrived.
        since: Monotonic seconds at which it arrived.
        max_rtt_ms: The longest round trip seen.
        timeout: Seconds that bound one whole extend attempt; None when unbounded or unknown.
        zeros: How many answers in a row left no time to wait before the next renewal.
    """

    lead_floor_ms: int
    since: float
    max_rtt_ms: int
    timeout: float | None
    zeros: int = 0

    @property
    def delay_ms(self) -> int:
        """How long after the answer the next renewal begins."""
        reserve = retry_reserve_ms(self.timeout, self.max_rtt_ms)
        return 0 if reserve is None else max(0, self.lead_floor_ms - reserve)

    @property
    def is_too_short(self) -> bool:
        """Whether two answers in a row left no time: the lease is shorter than its safety budget."""
        return self.zeros >= 2

    def left_ms(self, now: float) -> int:
        """Return the least that is left at *now*."""
        return max(0, self.lead_floor_ms - elapsed_ms(self.since, now))


def leased(
    remaining_ttl_ms: int, *, sent_at: float, received_at: float, timeout: float | None, before: Lease | None = None
) -> Lease:
    """Return the lease after an answer that left *remaining_ttl_ms*; *before* is the one it replaces."""
    rtt = rtt_ms(sent_at, received_at)
    max_rtt = max(rtt, before.max_rtt_ms if before is not None else 0)
    lease = Lease(max(0, remaining_ttl_ms - rtt), received_at, max_rtt, timeout)
    if lease.delay_ms > 0:
        return lease
    return lease._replace(zeros=1 + (before.zeros if before is not None else 0))


class Failure(NamedTuple):
    """A failed extend attempt, as the next decision sees it."""

    elapsed_ms: int
    window_ms: int


def retry_delay_ms(
    lease: Lease,
    now: float,
    *,
    throttled: bool = False,
    retry_after_s: float | None = None,
    last: Failure | None = None,
) -> tuple[int | None, Failure]:
    """Return how long to wait before the same extend is sent again, or None to stop, and what to compare with next.

    Args:
        lease: The lease as of the last success.
        now: Monotonic seconds.
        throttled: The answer was a 429: exactly *retry_after_s* is waited, if there is time.
        retry_after_s: Seconds of Retry-After, or None when missing or invalid.
        last: What this function returned for the failure before.
    """
    elapsed = elapsed_ms(lease.since, now)
    budget = attempt_budget_ms(lease.timeout, lease.max_rtt_ms)
    if budget is None:
        return None, Failure(elapsed, -1)
    lead = max(0, lease.lead_floor_ms - elapsed)
    window = lead - budget - safety_margin_ms(lease.max_rtt_ms)
    failure = Failure(elapsed, window)
    if window < 0 or failure == last or (last is not None and last.window_ms == 0):
        return None, failure
    if throttled:
        wait = None if retry_after_s is None else math.ceil(retry_after_s * 1000)
        return (wait if wait is not None and wait <= window else None), failure
    return min(LONGEST_RETRY_MS, lead // 4, window), failure


def fallback_lead_ms(granted_ms: int, reserved_at: float, now: float) -> int:
    """Return the lower bound of the lead when the authority never says what is left: measured grants less the time."""
    return max(0, granted_ms - elapsed_ms(reserved_at, now))


def fallback_delay_ms(ttl_ms: int, grant_ms: int, since_last_ms: int) -> int:
    """Return the beat when the authority never says what is left, from what the last extension really granted.

    It prefers beating too often to lapsing. A grant of nothing, or of about the time that went by, says that the
    authority clamps the lead: hold it, and let MAX_EXTENSIONS_EXCEEDED end it.
    """
    clamped = grant_ms <= 0 or (since_last_ms > 0 and 0.75 * since_last_ms <= grant_ms <= 1.25 * since_last_ms)
    is_nearly_all = grant_ms > 0 and grant_ms * 10 >= ttl_ms * 9
    if clamped and not is_nearly_all:
        return max(1000, min(ttl_ms // 2, LONGEST_RETRY_MS))
    return max(1000, grant_ms // 2)
