"""How a spend is charged, now or by a later process: docs/protocol.md, Settlement and recovery, as code.

Any of these flows can be killed after any effect. What must survive is in the `Pending` record, written before the
first request leaves. `recover` goes on from there: in the next run, in another process, or in both at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles._core.agreement import is_rest
from cycles._core.attempts import until_known
from cycles._core.effects import Call, Clock, Forget, Notify, Now, Record, Take, Tell
from cycles._core.lifecycle import State
from cycles._core.operations import COMMIT_RESERVATION, CREATE_EVENT, GET_RESERVATION
from cycles._core.outcomes import Verdict, error_of, judge
from cycles._core.records import LONGEST_FLOOR, Claim, Floor
from cycles._core.results import Settlement, SettlementDetails, reference
from cycles._core.retry import NO_RETRY
from cycles.errors import Denied, SettlementPending
from cycles_api import models
from cycles_api.types import UNSET, Unset

if TYPE_CHECKING:
    from cycles._core.effects import Flow, Queue
    from cycles._core.operations import Operation
    from cycles._core.outcomes import Answer
    from cycles._core.records import Pending
    from cycles._core.retry import RetryPolicy

_REFUSED: Final = (Verdict.REJECTED, Verdict.EXPIRED)
"""Understood and refused: asking again can't help."""

_STOPPED: Final = Verdict.UNAUTHORIZED
"""Asking again in this run can't help; in a later one it may."""

_LEAST: Final = 0.1
"""Seconds that a question about a refusal has at the least."""

_PATIENCE: Final = 3
"""Answers in a row that a recovery can't use before it pauses: the authority is not well."""


# -- the section's own process -----------------------------------------------------------------------------------------
def settle(
    pending: Pending,
    policy: RetryPolicy,
    *,
    wait: float | None = None,
    lease_ends_ms: int | None = None,
    goes_on: bool = False,
    is_raised: bool = False,
) -> Flow[Settlement]:
    """Charge *pending*, by commit, or by event when the hold is gone.

    Never raises for the authority's or the network's trouble: the settlement says how it ended.

    Args:
        pending: What to charge.
        policy: How often, and how long apart.
        wait: Seconds that it takes at most, or None.
        lease_ends_ms: Until when the hold lasts, by the authority's clock, or None.
        goes_on: Whether the caller goes on with it under the same key when its outcome stays unknown.
        is_raised: Whether the caller raises what the settlement says: then a denial is no error in the log, too.
    """
    claim = Claim()
    ends = None if wait is None else (yield from Now()) + wait
    try:
        is_kept = yield from Record(pending, claim)
        settlement, _ = yield from _charge(
            pending,
            policy,
            claim,
            is_kept=is_kept,
            goes_on=goes_on,
            is_raised=is_raised,
            lease_ends_ms=lease_ends_ms,
            ends=ends,
        )
        return settlement
    finally:
        claim.active = False


def _charge(
    pending: Pending,
    policy: RetryPolicy,
    claim: Claim,
    *,
    is_kept: bool,
    goes_on: bool = False,
    recovered: bool = False,
    is_raised: bool = False,
    timeout: float | None = None,
    lease_ends_ms: int | None = None,
    ends: float | None = None,
) -> Flow[tuple[Settlement, Verdict]]:
    bounds: dict[str, Any] = {"lease_ends_ms": lease_ends_ms}
    if timeout is not None:
        bounds["request_timeout"] = timeout
    sent = before = 0

    def throttled(seconds: float) -> Flow[None]:
        now = yield from Clock()
        yield from Record(pending.not_before(Floor(now, now + round(seconds * 1000))), claim)

    while True:  # twice at most: an event can't become another event
        operation, arguments = _request(pending)
        answer, attempts = yield from until_known(operation, arguments | bounds, policy, throttled, ends=ends)
        sent += attempts
        verdict = judge(operation, answer)
        taken = None
        if verdict is Verdict.REJECTED and _may_be_taken(pending, answer):
            within = None if ends is None else max(_LEAST, ends - (yield from Now()))
            operation, answer, taken = yield from _taken(pending, operation, answer, {**bounds, "within": within})
            verdict = judge(operation, answer)
        if taken is not None and taken < pending.actual.amount:
            before, pending, happened = taken, pending.rest(taken), "report charged already"
        elif verdict is Verdict.EXPIRED and not pending.by_event:
            pending, happened = pending.as_event(), "hold expired"
        else:
            how = _How(
                policy,
                sent,
                is_kept=is_kept,
                goes_on=goes_on,
                recovered=recovered,
                before=before,
                is_raised=is_raised,
            )
            settlement = yield from _settled(pending, operation, answer, verdict, how)
            return settlement, verdict
        is_kept = yield from Record(pending, claim)  # the switch is kept before the event leaves
        yield from Notify(happened, reservation_id=pending.reservation_id)


def _request(pending: Pending) -> tuple[Operation[Any], dict[str, Any]]:
    if pending.by_event:
        return CREATE_EVENT, {"body": pending.event_body()}
    return COMMIT_RESERVATION, {"reservation_id": pending.reservation_id, "body": pending.commit_body()}


# -- a report that another process has charged -------------------------------------------------------------------------
#
#     this process                              another one, which takes it for dead (its lock file was swept)
#     report(1): kept under the reports' key
#                                               commits 1 under that key: 200
#     report(50), the section ends
#     commits 50 under a key of its own: 409 RESERVATION_FINALIZED
#     commits 50 under the reports' key: 409 IDEMPOTENCY_MISMATCH: so it was a report of this section
#     reads the reservation: 1 is charged
#     charges 49 by event
def _may_be_taken(pending: Pending, answer: Answer[Any]) -> bool:
    """Whether a rejection may mean that another process has charged a report of this section."""
    if pending.by_event or pending.reported_key is None:
        return False
    return answer.code == ("IDEMPOTENCY_MISMATCH" if pending.reported_key == pending.key else "RESERVATION_FINALIZED")


def _taken(
    pending: Pending, operation: Operation[Any], answer: Answer[Any], bounds: dict[str, Any]
) -> Flow[tuple[Operation[Any], Answer[Any], int | None]]:
    """Find out what was charged by a report of this section.

    Returns:
        The request that says what became of *pending*, its answer, and what is charged already; None for that when it
        was no report of this section, or when the authority can't say it now.
    """
    assert pending.reservation_id is not None  # noqa: S101 - types: see _may_be_taken
    assert pending.reported_key is not None  # noqa: S101 - likewise
    if pending.key != pending.reported_key:
        probe, body = COMMIT_RESERVATION, pending.under(pending.reported_key).commit_body()
        probed = yield from Call(probe, reservation_id=pending.reservation_id, body=body, **bounds)
        if judge(probe, probed) not in _REFUSED:
            return probe, probed, None  # the very same charge, replayed; or not known
        if probed.code != "IDEMPOTENCY_MISMATCH":
            return operation, answer, None
    found = yield from Call(GET_RESERVATION, reservation_id=pending.reservation_id, **bounds)
    if judge(GET_RESERVATION, found) not in (*_REFUSED, Verdict.DONE):
        return GET_RESERVATION, found, None
    known = None if found.parsed is None else found.parsed.committed
    if not isinstance(known, models.Amount) or known.unit != pending.actual.unit:
        return operation, answer, None
    return GET_RESERVATION, found, known.amount


# -- how it ended ------------------------------------------------------------------------------------------------------
class _How(NamedTuple):
    """How an answer was reached.

    Attributes:
        policy: Of the attempts.
        sent: Requests sent.
        is_kept: Whether the journal holds the record.
        goes_on: Whether the caller goes on with it while its outcome is unknown.
        recovered: Whether it comes from the journal.
        before: What was charged by a report of this section already.
        is_raised: Whether the caller raises what the settlement says.
    """

    policy: RetryPolicy
    sent: int
    is_kept: bool
    goes_on: bool
    recovered: bool
    before: int
    is_raised: bool


def _settled(
    pending: Pending, operation: Operation[Any], answer: Answer[Any], verdict: Verdict, how: _How
) -> Flow[Settlement]:
    is_kept = how.is_kept
    if verdict is Verdict.DONE:
        yield from Forget(pending)
        settlement, outcome = charged(pending, answer, how.sent, before=how.before), "settled"
        if settlement.uncovered is not None:
            yield from Notify("charged less than the actual", **_uncovered(pending, settlement))
    else:
        error = error_of(operation, answer, asked=pending.actual if pending.by_event else None)
        goes_on = how.goes_on and verdict not in _REFUSED and verdict is not _STOPPED
        if verdict in _REFUSED:
            yield from Forget(pending, {"status": answer.status, "code": answer.code, "message": str(error)})
            is_kept, outcome = False, "rejected"
        else:
            outcome = "stopped" if verdict is _STOPPED else "pending"
            outcome = outcome if is_kept or goes_on else "unsettled"
        settlement = Settlement(
            State.UNSETTLED,
            via=pending.via,
            attempts=how.sent,
            error=error,
            is_kept=is_kept,
            goes_on=goes_on,
            is_refused=verdict in _REFUSED or verdict is _STOPPED,
            prospect=_prospect(verdict, how.policy, is_kept=is_kept),
            headers=answer.headers,
        )
        yield from Notify(
            "refused"
            if how.is_raised and isinstance(error, Denied)
            else _event_of(verdict, is_kept=is_kept or goes_on),
            is_told=how.is_raised,
            reservation_id=pending.reservation_id,
            via=pending.via,
            amount=pending.actual.amount,
            unit=str(pending.actual.unit),
            verdict=verdict.value,
            reason=str(error),
        )
    yield from Tell(
        SettlementDetails(
            pending.reservation_id,
            pending.actual,
            outcome,
            via=pending.via,
            charged=settlement.charged,
            uncovered=settlement.uncovered,
            attempts=how.sent,
            recovered=how.recovered,
            error=settlement.error,
        )
    )
    return settlement


def _uncovered(pending: Pending, settlement: Settlement) -> dict[str, Any]:
    charged, uncovered = _count(settlement.charged), _count(settlement.uncovered)
    return {
        "reservation_id": pending.reservation_id,
        "via": pending.via,
        "actual": charged + uncovered,
        "charged": charged,
        "uncovered": uncovered,
        "unit": str(pending.actual.unit),
        "reason": "the budgets had no more",
    }


def _count(amount: models.Amount | None) -> int:
    return 0 if amount is None else amount.amount


def _missing(actual: models.Amount, taken: models.Amount) -> models.Amount | None:
    """Return the part of *actual* that an authority has not taken, or None."""
    missing = actual.amount - taken.amount if actual.unit == taken.unit else 0
    return models.Amount(unit=actual.unit, amount=missing) if missing > 0 else None


def _event_of(verdict: Verdict, *, is_kept: bool) -> str:
    if verdict in _REFUSED:
        return "settlement rejected"
    if not is_kept:
        return "settlement failed"
    return "settlement stopped" if verdict is _STOPPED else "settlement pending"


def _prospect(verdict: Verdict, policy: RetryPolicy, *, is_kept: bool) -> str:
    """Return what becomes of a spend that is not settled, in words."""
    if verdict is _STOPPED:
        return "it is kept for the next run, with a key that the authority accepts (set CYCLES_API_KEY)"
    if not is_kept:
        return "it is tried again in the background, and at exit"
    if policy.is_off:
        return "it is tried again at exit and at the next start, for retries are turned off"
    return "it is tried again in the background, at exit and at the next start"


def pending_error(settlement: Settlement) -> SettlementPending:
    """Return the error that says that the journal holds an unsettled spend."""
    error = settlement.error
    kept = "kept in the journal" if settlement.is_kept else "kept in memory"
    return SettlementPending(
        f"not settled yet, and {kept}: {error}; {settlement.prospect}; do not charge it again",
        status=None if error is None else error.status,
        code=None if error is None else error.code,
        request_id=None if error is None else error.request_id,
        trace_id=None if error is None else error.trace_id,
    )


def charged(pending: Pending, answer: Answer[Any], attempts: int, *, before: int = 0) -> Settlement:
    """Return the settlement that a successful *answer* is: to a commit, to an event, or to the look at a reservation.

    *before* was charged by a report of the same section.
    """
    response: Any = answer.parsed
    if isinstance(response, models.ReservationDetail):
        known = pending.actual if isinstance(response.committed, Unset) else response.committed
        return Settlement(
            State.COMMITTED,
            via=pending.via,
            attempts=attempts,
            charged=known,
            uncovered=_missing(pending.actual, known),
            headers=answer.headers,
        )
    # An event says what it charged only when that is less than the actual.
    taken = pending.actual if isinstance(response.charged, Unset) else response.charged
    uncovered = _missing(pending.actual, taken)
    released = response.released if isinstance(response, models.CommitResponse) else UNSET
    if not is_rest(released, pending.terms.estimate, taken):
        released = UNSET  # it is only shown, and it can't be true
    if before:
        taken = models.Amount(unit=taken.unit, amount=taken.amount + before)
    return Settlement(
        State.COMMITTED,
        via=pending.via,
        attempts=attempts,
        charged=taken,
        uncovered=uncovered,
        released=None if isinstance(released, Unset) else released,
        balances=() if isinstance(response.balances, Unset) else tuple(response.balances),
        headers=answer.headers,
        evidence=reference(getattr(response, "cycles_evidence", UNSET)),
    )


# -- any process, from the record --------------------------------------------------------------------------------------
class Recovery:
    """How far a recovery has come.

    Args:
        deadline: Monotonic seconds at which it ends, or None.
        patience: Seconds that bound one request when there is a deadline.
        aside: Keys of records that this run does not try again; the recovery adds to them.
        overridden: Keys of records whose floor was overridden in this run: each is, once. None: a floor holds.

    Attributes:
        settled, rejected, pending: Records by what became of them.
        is_paused: The authority can't be used now; what is left is for later.
        is_stopped: The key is refused: nothing can be settled with it.
        again_in: Seconds until the earliest floor is over, of those that were found; or None.
        failures: Answers in a row that could not be used.
    """

    __slots__ = (
        "again_in",
        "aside",
        "deadline",
        "failures",
        "is_paused",
        "is_stopped",
        "overridden",
        "patience",
        "pending",
        "rejected",
        "settled",
    )

    def __init__(
        self,
        deadline: float | None = None,
        *,
        patience: float = 10.0,
        aside: set[str] | None = None,
        overridden: set[str] | None = None,
    ) -> None:
        self.deadline: Final = deadline
        self.patience: Final = patience
        self.overridden: Final = overridden
        self.aside: Final[set[str]] = set() if aside is None else aside
        self.settled = self.rejected = self.pending = self.failures = 0
        self.is_paused = self.is_stopped = False
        self.again_in: float | None = None

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
            self.is_stopped = error is not None and error.status == 401
            return False
        self.failures += 1
        throttled = error is not None and error.retry_after is not None
        self.is_paused = throttled or self.failures >= _PATIENCE
        return True

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
    settlement, verdict = yield from _charge(pending, NO_RETRY, claim, is_kept=True, recovered=True, timeout=timeout)
    if verdict is Verdict.DONE:
        recovery.settled += 1
        recovery.failures = 0
    elif verdict in _REFUSED:
        recovery.rejected += 1
        recovery.failures = 0
    elif verdict is _STOPPED:
        recovery.aside.add(pending.key)
        recovery.is_stopped = settlement.error is not None and settlement.error.status == 401
    else:
        recovery.pending += 1
        recovery.failures += 1
        error = settlement.error
        assert error is not None  # noqa: S101 - types
        if error.retry_after is not None:
            recovery.waits(min(error.retry_after, LONGEST_FLOOR))
        recovery.is_paused = verdict is Verdict.THROTTLED or recovery.failures >= _PATIENCE
