"""When the journal's records are settled: in the background, by `drain`, and at the program's exit.

How one record is settled is in `_core.recovery`; which records may be settled is in `queue`. Nothing here touches a
file or sends a request: these are flows. Each round tries a record once, and rounds come further apart while the
authority can't be used, so that 10,000 records cost one task.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from cycles._core.effects import Jitter, Now, Sleep
from cycles._core.recovery import Recovery, recover

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cycles._core.effects import Flow
    from cycles._core.jobs import Charge
    from cycles._core.retry import RetryPolicy
    from cycles._journal.journal import Journal
    from cycles._journal.queue import JournalQueue
    from cycles.errors import CyclesError

_LONGEST: Final = 300.0
"""Longest pause between two rounds, in seconds, unless the authority asks for more."""

_POLL: Final = 0.02
"""Seconds between two looks at records that are being settled elsewhere in this process."""


class Drained:
    """What a drain achieved. Frozen.

    Attributes:
        settled: What was charged: records of the journal, and charges that no journal holds.
        rejected: What the authority understood and refused; the journal keeps its records of that under rejected/.
        pending: What is left for this process to settle, in the journal and in memory.
        error: What kept the last of them that was tried from being settled, such as AuthorityUnavailable; None when
            nothing is pending, or it was not tried. Two results are equal by their numbers alone.

    Example:
        ```python
        import cycles

        with cycles.Client() as client:
            drained = client.drain(timeout=5)
        print(drained.settled, drained.pending)
        ```
    """

    __slots__ = ("error", "pending", "rejected", "settled")

    settled: int
    rejected: int
    pending: int
    error: CyclesError | None

    def __init__(
        self, *, settled: int = 0, rejected: int = 0, pending: int = 0, error: CyclesError | None = None
    ) -> None:
        for name, value in (("settled", settled), ("rejected", rejected), ("pending", pending), ("error", error)):
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"the result of a drain is frozen: {name}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Drained):
            return NotImplemented
        return (self.settled, self.rejected, self.pending) == (other.settled, other.rejected, other.pending)

    def __hash__(self) -> int:
        return hash((self.settled, self.rejected, self.pending))

    def __repr__(self) -> str:
        return f"<Drained settled {self.settled} rejected {self.rejected} pending {self.pending}>"


class Recoverer:
    """The background recovery of one client: a job for the schedule that its heartbeats use.

    Args:
        journal: Holds the records.
        policy: How rounds come further apart.
        repeats: Whether another round follows when one leaves records; else there is only the first.
        delay: Seconds until the first round.
        batch: How many records one attempt settles at most.

    Attributes:
        due: Monotonic seconds at which the first round begins.
        pid: The process that made it; a forked child does not run it.
        is_needed: False when there is nothing left to do.
    """

    def __init__(
        self, journal: Journal, policy: RetryPolicy, *, repeats: bool, delay: float = 0.0, batch: int = 32
    ) -> None:
        self._journal: Final = journal
        self._policy: Final = policy
        self._repeats: Final = repeats
        self._batch: Final = batch
        self._aside: Final[set[str]] = set()
        self._told: Final[set[str]] = set()
        self._rounds = 0
        self._round: Recovery | None = None
        self._queue: JournalQueue | None = None
        self._is_asked = False
        self.due: Final = time.monotonic() + delay
        self.pid: Final = os.getpid()
        self.is_needed = True

    def ask(self) -> None:
        """Ask for another round: there may be records that the last one has not seen. Then look at `is_needed`."""
        self._is_asked = True

    def attempt(self) -> Flow[float | None]:
        """Settle some records; return the seconds until the next attempt, or None when there is nothing left to do."""
        if self._round is None or self._queue is None:
            self._is_asked = False
            self._round, self._queue = Recovery(aside=self._aside, told=self._told), self._journal.queue()
        this, queue = self._round, self._queue
        ended = False
        try:
            ended = yield from recover(queue, this, self._batch)
        except BaseException:
            queue.close()
            self.is_needed = False
            raise
        if not ended and this.goes_on:
            return 0.0
        queue.close()
        self._round = self._queue = None
        self._rounds += 1
        is_left = bool(this.pending) or not ended or queue.is_contended
        goes_on = self._repeats and not this.is_stopped
        self.is_needed = goes_on and is_left
        if goes_on and self._is_asked:  # in this order: see `ask`
            self.is_needed = True
        if not self.is_needed:
            return None
        pause = self._policy.backoff(self._rounds + 1, (yield from Jitter()))
        return min(max(pause, 0.5), _LONGEST) + (this.again_in or 0.0)


def drain(
    journal: Journal | None,
    policy: RetryPolicy,
    timeout: float,
    patience: float,
    *,
    everyone: bool = False,
    now: bool = False,
    owed: Callable[[], Sequence[Charge]] = tuple,
) -> Flow[Drained]:
    """Settle what this process may settle, for *timeout* seconds at most; the rest stays where it is.

    Args:
        journal: Holds the records, if there is one.
        policy: How rounds come further apart.
        timeout: Seconds for all rounds together.
        patience: Seconds that one request may take.
        everyone: Also settle what processes that still run have left pending.
        now: Also try, once, what the authority asked to wait with (Retry-After).
        owed: Returns the charges of this process that no journal holds.

    Raises:
        JournalError: when the journal's directory can't be trusted.
    """
    if journal is not None:
        journal.must_be_ours()
    deadline = (yield from Now()) + timeout
    settled = rejected = rounds = 0
    error: CyclesError | None = None
    aside, told = set[str](), set[str]()
    overridden: set[str] | None = set() if now else None
    while True:
        rounds += 1
        this = Recovery(deadline, patience=patience, aside=aside, overridden=overridden, told=told)
        is_left = yield from _charged(owed(), this)
        busy = sum(charge.is_under_way for charge in owed())
        if journal is not None:
            is_left = (yield from _recovered(journal, this, everyone=everyone)) or is_left
            busy += journal.busy()
        settled, rejected, error = settled + this.settled, rejected + this.rejected, this.error or error
        left = deadline - (yield from Now())
        if this.is_stopped or left <= 0.0 or not (is_left or busy):
            break
        pause = _POLL
        if is_left:
            pause = max(_POLL, _pause(policy, rounds, (yield from Jitter())), this.again_in or 0.0)
        if pause >= left and not busy:
            break  # another round would come too late
        yield from Sleep(min(pause, left))
    pending = len(owed()) + (0 if journal is None else journal.waiting())
    return Drained(settled=settled, rejected=rejected, pending=pending, error=error if pending else None)


def _recovered(journal: Journal, this: Recovery, *, everyone: bool) -> Flow[bool]:
    """Try each record of *journal* once; return whether another round may settle more."""
    queue = journal.queue(everyone=everyone)
    try:
        ended = yield from recover(queue, this, len(queue) + 1)
    finally:
        queue.close()
    return bool(this.pending) or queue.is_contended or not ended


def _charged(charges: Sequence[Charge], this: Recovery) -> Flow[bool]:
    """Try each of the *charges* once, for which nobody else has the turn; return whether another round may do more."""
    is_left = False
    for charge in charges:
        now = yield from Now()
        wait = 0.0 if this.overrides(charge.key) else charge.floor - now
        within = this.patience if this.deadline is None else min(this.deadline - now, this.patience)
        if wait > 0.0:
            this.waits(wait)
        if wait > 0.0 or within <= 0.0 or not this.goes_on:
            is_left = True
        elif not charge.is_under_way:
            yield from charge.attempt(within)
            is_left = this.notes(charge.settlement) or is_left
    return is_left


def _pause(policy: RetryPolicy, rounds: int, jitter: float) -> float:
    """Return the seconds between two rounds of a drain: as between two attempts, but short, for a caller waits."""
    return min(policy.backoff(rounds, jitter), 2.0)
