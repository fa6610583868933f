"""Jobs that a cut-off reserve or a dropped section leaves to the background: release its hold, charge its spend."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from cycles._core.effects import Jitter, Now, Sleep
from cycles._core.flows import find, release
from cycles._core.records import LONGEST_FLOOR
from cycles._core.retry import NO_RETRY
from cycles._core.settlements import settle

if TYPE_CHECKING:
    from cycles._core.effects import Flow
    from cycles._core.records import Pending
    from cycles._core.results import Settlement
    from cycles._core.retry import RetryPolicy


_LEAST_PAUSE: Final = 0.5
"""Seconds between two attempts at the least."""

_POLL: Final = 0.02
"""Seconds between two looks at an attempt of somebody else's."""

LOOKS: Final = (1.0, 2.0, 4.0)
"""Seconds between looks for a hold that is not there: an authority may still be at work on the create."""


class GiveBack:
    """Release a hold that no section of this process has.

    Args:
        policy: How often, and how long apart.
        key: The idempotency key of a create whose answer never came.
        reservation_id: The hold, where it is known.
        due: Monotonic seconds at which to begin.
    """

    __slots__ = ("_attempts", "_key", "_looks", "_policy", "_reservation_id", "due", "is_needed")

    def __init__(
        self, policy: RetryPolicy, *, key: str | None = None, reservation_id: str | None = None, due: float = 0.0
    ) -> None:
        self._policy: Final = policy
        self._key: Final = key
        self._reservation_id = reservation_id
        self._attempts = 0
        self._looks: Final = deque(LOOKS)
        self.due: Final = due
        self.is_needed = True

    def attempt(self) -> Flow[float | None]:
        """Look for the hold, if need be, and release it; return the seconds until the next attempt, or None."""
        self._attempts += 1
        is_known = self._reservation_id is not None
        if not is_known and self._key is not None:
            is_known, grant = yield from find(self._key)
            held = None if grant is None else grant.response.reservation_id
            self._reservation_id = held if isinstance(held, str) else None
            if is_known and self._reservation_id is None and self._looks:
                return self._looks.popleft()
        if self._reservation_id is not None:
            ended = yield from release(self._reservation_id, "dropped", NO_RETRY)
            is_known = ended.error is None or not ended.error.is_retryable
        delay = None if is_known else self._policy.delay(self._attempts, (yield from Jitter()))
        self.is_needed = delay is not None
        return delay


class Charge:
    """Charge a spend that its section's end left unsettled, or that a dropped section had reported.

    The background and a drain may come to it at the same time; one of them has the turn.

    Args:
        pending: What to charge.
        policy: How long apart.
        due: Monotonic seconds at which to begin.

    Attributes:
        key: Under which it is charged.
        is_needed: Whether there is anything left to do here: it may be done, refused, or on record in a journal.
        floor: Monotonic seconds before which the authority does not want to be asked.
        settlement: What came of the last attempt, or None.
    """

    __slots__ = ("_attempts", "_policy", "_turn", "due", "floor", "is_needed", "key", "pending", "settlement")

    def __init__(self, pending: Pending, policy: RetryPolicy, *, due: float) -> None:
        self.pending: Final = pending.final()
        self.key: Final = pending.key
        self._policy: Final = policy
        self._attempts = 0
        self._turn: Final = deque((None,))  # whose pop() is one step, whichever threads want it
        self.due: Final = due
        self.floor = 0.0
        self.is_needed = True
        self.settlement: Settlement | None = None

    def attempt(self, within: float | None = None) -> Flow[float | None]:
        """Charge it, in one attempt of *within* seconds; return the seconds until the next one, or None.

        When that leaves it pending, the journal's recovery goes on with it. What no journal holds is tried again here
        for as long as the process lives, but by a policy without retries.
        """
        try:
            self._turn.pop()
        except IndexError:
            return _LEAST_PAUSE  # whoever has the turn may be done with it by then
        try:
            return (yield from self._charged(within)) if self.is_needed else None
        finally:
            self._turn.append(None)

    def last_attempt(self, policy: RetryPolicy, within: float, patience: float) -> Flow[None]:
        """Charge it within *within* seconds; nobody goes on with it afterwards.

        Args:
            policy: How often, and how long apart.
            within: Seconds for all of it.
            patience: Seconds to wait at most for whoever has the turn; it may belong to a loop that stands still.
        """
        now = yield from Now()
        ends, until = now + within, now + min(within, patience)
        while self.is_under_way and now < until:
            yield from Sleep(_POLL)
            now = yield from Now()
        if self.is_needed:
            yield from settle(self.pending, policy, wait=max(0.0, ends - now))

    @property
    def is_under_way(self) -> bool:
        """Whether somebody has the turn now."""
        return not self._turn

    def _charged(self, within: float | None) -> Flow[float | None]:
        self._attempts += 1
        goes_on = not self._policy.is_off
        self.settlement = settlement = yield from settle(self.pending, NO_RETRY, wait=within, goes_on=goes_on)
        if settlement.is_kept or not settlement.goes_on:
            self.is_needed = False
            return None
        error, backoff = settlement.error, self._policy.backoff(self._attempts, (yield from Jitter()))
        asked = min(0.0 if error is None else error.retry_after or 0.0, LONGEST_FLOOR)
        self.floor = (yield from Now()) + asked
        return max(backoff, _LEAST_PAUSE) + asked
