"""How a charge ended: the settlement that an answer is, and what is reported about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles._core.agreement import is_rest
from cycles._core.effects import Forget, Notify, Tell
from cycles._core.lifecycle import State
from cycles._core.outcomes import Verdict, error_of
from cycles._core.results import Settlement, SettlementDetails, reference
from cycles.errors import Denied, SettlementPending
from cycles_api import models
from cycles_api.types import UNSET, Unset

if TYPE_CHECKING:
    from cycles._core.effects import Flow
    from cycles._core.operations import Operation
    from cycles._core.outcomes import Answer
    from cycles._core.records import Pending
    from cycles._core.retry import RetryPolicy

REFUSED: Final = (Verdict.REJECTED, Verdict.EXPIRED)
"""Understood and refused: asking again can't help."""

STOPPED: Final = Verdict.UNAUTHORIZED
"""Asking again in this run can't help; in a later one it may."""


class How(NamedTuple):
    """How an answer was reached.

    Attributes:
        policy: Of the attempts.
        sent: Requests sent.
        is_kept: Whether the journal holds the record.
        goes_on: Whether the caller goes on with it while its outcome is unknown.
        recovered: Whether it comes from the journal.
        before: What was charged by a report of this section already.
        is_raised: Whether the caller raises what the settlement says.
        is_known: Whether the log has said already that this spend is pending.
    """

    policy: RetryPolicy
    sent: int
    is_kept: bool
    goes_on: bool
    recovered: bool
    before: int
    is_raised: bool
    is_known: bool = False


def settled(
    pending: Pending, operation: Operation[Any], answer: Answer[Any], verdict: Verdict, how: How
) -> Flow[Settlement]:
    """Keep or forget the record as *verdict* says, tell who wants to know, and return the settlement."""
    if verdict is Verdict.DONE:
        yield from Forget(pending)
        settlement, outcome = charged(pending, answer, how.sent, before=how.before), "settled"
        if settlement.uncovered is not None:
            yield from Notify("charged less than the actual", _uncovered(pending, settlement))
    else:
        settlement, outcome = yield from _unsettled(pending, operation, answer, verdict, how)
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


def _unsettled(
    pending: Pending, operation: Operation[Any], answer: Answer[Any], verdict: Verdict, how: How
) -> Flow[tuple[Settlement, str]]:
    """Return the settlement of an *answer* that is no success, and what `SettlementDetails` calls its outcome."""
    error = error_of(operation, answer, asked=pending.actual if pending.by_event else None)
    is_refused = verdict in REFUSED
    is_kept = how.is_kept and not is_refused
    goes_on = how.goes_on and not is_refused and verdict is not STOPPED
    if is_refused:
        yield from Forget(pending, {"status": answer.status, "code": answer.code, "message": str(error)})
        outcome = "rejected"
    elif is_kept or goes_on:
        outcome = "stopped" if verdict is STOPPED else "pending"
    else:
        outcome = "unsettled"
    is_raised_denial = how.is_raised and isinstance(error, Denied)
    yield from Notify(
        "refused" if is_raised_denial else _event_of(verdict, is_kept=is_kept or goes_on),
        {
            "is_told": how.is_raised or (how.is_known and outcome == "pending"),
            "reservation_id": pending.reservation_id,
            "via": pending.via,
            "amount": pending.actual.amount,
            "unit": str(pending.actual.unit),
            "verdict": verdict.value,
            "reason": str(error),
        },
    )
    settlement = Settlement(
        State.UNSETTLED,
        via=pending.via,
        attempts=how.sent,
        error=error,
        is_kept=is_kept,
        goes_on=goes_on,
        is_refused=is_refused or verdict is STOPPED,
        prospect=_prospect(verdict, how.policy, is_kept=is_kept),
        headers=answer.headers,
    )
    return settlement, outcome


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
    if verdict in REFUSED:
        return "settlement rejected"
    if not is_kept:
        return "settlement failed"
    return "settlement stopped" if verdict is STOPPED else "settlement pending"


def _prospect(verdict: Verdict, policy: RetryPolicy, *, is_kept: bool) -> str:
    """Say in words how a spend that is not settled goes on."""
    if verdict is STOPPED:
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
