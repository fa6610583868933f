"""When to ask again: an immutable policy and its arithmetic."""

from __future__ import annotations

from typing import Final


class RetryPolicy:
    """How often, and how long apart, a request of one kind is sent again under its key.

    Args:
        max_attempts: Attempts in total, 1 or more; attempts are counted per request kind.
        initial_delay: Seconds before the second attempt.
        multiplier: Growth of the delay from attempt to attempt, 1.0 or more.
        max_delay: Seconds that no delay exceeds; a longer Retry-After ends the attempts of this run.
        deadline: Seconds that a reserve takes at most, beside what it was told to `wait`: waiting for a connection,
            connecting, reading, and asking once more included.
        settle_wait: Seconds that the end of a section, a commit and a release take at most, all attempts included; the
            background goes on after that. None is without bound.
        is_off: Whether nothing is to be sent again while the program runs.

    Example:
        ```python
        import cycles

        assert cycles.RetryPolicy(max_attempts=3).max_attempts == 3
        config = cycles.Config("local:", tenant="default", retry_max_attempts=3)
        ```
    """

    __slots__ = ("deadline", "initial_delay", "is_off", "max_attempts", "max_delay", "multiplier", "settle_wait")

    def __init__(
        self,
        *,
        max_attempts: int = 5,
        initial_delay: float = 0.5,
        multiplier: float = 2.0,
        max_delay: float = 30.0,
        deadline: float = 30.0,
        settle_wait: float | None = None,
        is_off: bool = False,
    ) -> None:
        self.max_attempts: Final = max_attempts
        self.initial_delay: Final = initial_delay
        self.multiplier: Final = multiplier
        self.max_delay: Final = max_delay
        self.deadline: Final = deadline
        self.settle_wait: Final = settle_wait
        self.is_off: Final = is_off

    def delay(self, attempt: int, jitter: float, retry_after: float | None = None) -> float | None:
        """Return the seconds to wait after failed *attempt* (1-based), or None to stop.

        *retry_after* is a floor: it is waited out, and the backoff comes on top.

        Example:
            ```python
            import cycles

            policy = cycles.RetryPolicy(max_attempts=3)
            print(policy.delay(1, 0.5), policy.delay(3, 0.5))  # 0.25, and None: three attempts are all
            ```
        """
        if attempt >= self.max_attempts:
            return None
        if retry_after is not None and retry_after > self.max_delay:
            return None
        return (retry_after or 0.0) + self.backoff(attempt, jitter)

    def backoff(self, attempt: int, jitter: float) -> float:
        """Return the exponential backoff after *attempt* with full jitter: *jitter*, in [0, 1), is the part taken.

        Full, so that clients that failed together do not come back together.

        Example:
            ```python
            import cycles

            policy = cycles.RetryPolicy(initial_delay=0.5, multiplier=2.0)
            print(policy.backoff(3, 0.999))  # almost 2 seconds
            ```
        """
        # Past this power the backoff is max_delay anyway; a float power would overflow.
        whole = self.initial_delay * self.multiplier ** min(attempt - 1, 64)
        return jitter * min(whole, self.max_delay)

    def __repr__(self) -> str:
        return (
            f"RetryPolicy(max_attempts={self.max_attempts}, initial_delay={self.initial_delay}, "
            f"multiplier={self.multiplier}, max_delay={self.max_delay}, deadline={self.deadline}, "
            f"settle_wait={self.settle_wait})"
        )


NO_RETRY: Final = RetryPolicy(max_attempts=1, is_off=True)
