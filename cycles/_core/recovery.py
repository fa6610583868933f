"""How a later process, or the background of this one, goes on with the records of spends that are not settled.

It may run in the next run, in another process, or in both at once: each charge keeps the key in its record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cycles._core.effects import Clock, Now, Record, Take
from cycles._core.endings import REFUSED, STOPPED
from cycles._core.lifecycle import State
from cycles._core.outcomes import Verdict
from cycles._core.records import LONGEST_FLOOR
from cycles._core.retry import NO_RETRY
from cycles._core.settlements import charge

if TYPE_CHECKING:
    from cycles._core.effects import Flow, Queue
    from cycles._core.records import Claim, Pending
    from cycles._core.results import Settlement
    from cycles.errors import CyclesError

_PATIENCE: Final = 3
"""Answers in a row that a recovery can't use before it pauses: the authority is not well."""


class Recovery:
    """How far a recovery has come.

    Args:
        deadline: Monotonic seconds at which it ends, or None.
        patience: Seconds that bound one request when there is a deadline.
        aside: Keys of records that this run does not try again; the recovery adds to them.
        overridden: Keys of records whose floor was overridden in this run: each is, once. None: a floor holds.
        told: Keys of records that the log has reported as pending; the recovery adds to them.

    Attributes:
        settled, rejected, pending: Records by what became of them.
        is_paused: The authority can't be used now; what is left is for later.
        is_stopped: The key is refused: nothing can be settled with it.
        again_in: Seconds until the earliest floor is over, of those that were found; or None.
        failures: Answers in a row that could not be used.
        error: What kept the last charge that it kept pending from being settled; None when there was none.
    """

    __slots__ = (
        "again_in",
        "aside",
        "deadline",
        "error",
        "failures",
        "is_paused",
        "is_stopped",
        "overridden",
        "patience",
        "pending",
        "rejected",
        "settled",
        "told",
    )

    def __init__(
        self,
        deadline: float | None = None,
        *,
        patience: float = 10.0,
        aside: set[str] | None = None,
        overridden: set[str] | None = None,
        told: set[str] | None = None,
    ) -> None:
        self.deadline: Final = deadline
        self.patience: Final = patience
        self.overridden: Final = overridden
        self.aside: Final[set[str]] = set() if aside is None else aside
        self.told: Final[set[str]] = set() if told is None else told
        self.settled = self.rejected = self.pending = self.failures = 0
        self.is_paused = self.is_stopped = False
        self.again_in: float | None = None
        self.error: CyclesError | None = None

    @property
    def goes_on(self) -> bool:
        """Whether there is a point in taking another record."""
        return not self.is_paused and not self.is_stopped

    def overrides(self, key: str) -> bool:
        """Return whether the floor of the record with this *key* is overridden now; what comes after it holds."""
        if self.overridden is None or key in self.overridden:
            return False
        self.overridden.add(key)
        return True

    def notes(self, settlement: Settlement | None) -> bool:
        """Note what came of a charge that no journal holds; return whether another attempt may do more here."""
        if settlement is not None and settlement.state is State.COMMITTED:
            self.settled += 1
            self.failures = 0
            return False
        if settlement is None or settlement.is_kept:
            return settlement is None
        error = settlement.error
        if not settlement.goes_on:
            self.rejected += 1
            self.stopped_by(error)
            return False
        self.failures += 1
        self.error = error
        throttled = error is not None and error.retry_after is not None
        self.is_paused = throttled or self.failures >= _PATIENCE
        return True

    def stopped_by(self, error: CyclesError | None) -> None:
        """Stop where *error* refuses the key: no other charge would fare better."""
        self.is_stopped = error is not None and error.status == 401
        if self.is_stopped:
            self.error = error

    def waits(self, seconds: float) -> None:
        """Note that a floor is over in *seconds*."""
        self.again_in = seconds if self.again_in is None else min(self.again_in, seconds)


def recover(queue: Queue, recovery: Recovery, most: int) -> Flow[bool]:
    """Try to settle each record of *queue* once, *most* of them; return whether the queue ended.

    One attempt for each record, and no waiting: the caller comes again (`Recovery.again_in`).
    """
    for _ in range(most):
        timeout = None
        if recovery.deadline is not None:
            timeout = min(recovery.deadline - (yield from Now()), recovery.patience)
            if timeout <= 0.0:
                recovery.is_paused = True
        if not recovery.goes_on:
            return False
        taken = yield from Take(queue)
        if taken is None:
            return True
        pending, claim = taken
        try:
            if pending.key not in recovery.aside:
                yield from _recover_one(pending.final(), claim, recovery, timeout)
        finally:
            claim.active = False
    return False


def _recover_one(pending: Pending, claim: Claim, recovery: Recovery, timeout: float | None) -> Flow[None]:
    if pending.floor is not None and not recovery.overrides(pending.key):
        now = yield from Clock()
        floor = pending.floor.again(now)
        if floor is not pending.floor:
            yield from Record(pending.not_before(floor), claim)
        if floor.until_ms > now:
            recovery.waits((floor.until_ms - now) / 1000)
            recovery.pending += 1
            return
    key = pending.key
    settlement, verdict = yield from charge(
        pending, NO_RETRY, claim, is_kept=True, recovered=True, is_known=key in recovery.told, timeout=timeout
    )
    if settlement.state is State.UNSETTLED and settlement.error is None:  # its rest is left for later
        recovery.waits(LONGEST_FLOOR)
        recovery.pending += 1
        return
    if verdict is Verdict.DONE or verdict in REFUSED:
        recovery.told.discard(key)
    else:
        recovery.told.add(key)
    if verdict is Verdict.DONE:
        recovery.settled += 1
        recovery.failures = 0
    elif verdict in REFUSED:
        recovery.rejected += 1
        recovery.failures = 0
    elif verdict is STOPPED:
        recovery.aside.add(pending.key)
        recovery.stopped_by(settlement.error)
    else:
        recovery.pending += 1
        recovery.failures += 1
        error = recovery.error = settlement.error
        assert error is not None  # noqa: S101 - types
        if error.retry_after is not None:
            recovery.waits(min(error.retry_after, LONGEST_FLOOR))
        recovery.is_paused = verdict is Verdict.THROTTLED or recovery.failures >= _PATIENCE
