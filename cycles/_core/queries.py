"""Single requests outside a section: decide, record, and one reservation by its id; lists are in `listings`.

Nothing here holds anything; `record` charges. Each request is a GET, or is sent again under its key, until its answer
is known or the policy says stop. Then the trouble is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cycles._core.attempts import until_known
from cycles._core.denials import detail_of, known
from cycles._core.effects import NewKey, Notify
from cycles._core.endings import pending_error
from cycles._core.operations import DECIDE, GET_RESERVATION
from cycles._core.outcomes import error_of
from cycles._core.records import Pending
from cycles._core.response_info import ResponseInfo
from cycles._core.results import Decision, reference
from cycles._core.settlements import settle
from cycles.errors import BudgetNotFound, Denied
from cycles_api import models
from cycles_api.types import UNSET

if TYPE_CHECKING:
    from cycles._core.effects import Flow
    from cycles._core.outcomes import Answer
    from cycles._core.requests import Terms
    from cycles._core.results import Settlement
    from cycles._core.retry import RetryPolicy


# -- decide ------------------------------------------------------------------------------------------------------------
def decide(terms: Terms, policy: RetryPolicy, *, key: str | None = None) -> Flow[Decision]:
    """Ask whether *terms* would be granted; a denial is a decision, not an exception.

    Raises:
        AuthorityError, AuthorityUnavailable: when the authority can't be asked.
    """
    body = models.DecisionRequest(
        idempotency_key=key if key is not None else (yield from NewKey()),
        subject=terms.subject,
        action=terms.action,
        estimate=terms.estimate,
        metadata=UNSET if terms.metadata is None else terms.metadata,
    )
    answer, _ = yield from until_known(DECIDE, {"body": body}, policy)
    decision = _decision(terms, answer)
    yield from Notify("decided", {"decision": str(decision.decision), "reason": decision.reason_code})
    return decision


def _decision(terms: Terms, answer: Answer[models.DecisionResponse]) -> Decision:
    info, response = ResponseInfo(answer.headers), answer.parsed
    if response is not None:
        after = known(response.retry_after_ms)
        return Decision(
            response.decision,
            info,
            reason_code=known(response.reason_code),
            caps=known(response.caps),
            retry_after=None if after is None else after / 1000,
            affected_scopes=tuple(known(response.affected_scopes) or ()),
            detail=detail_of(response.deny_detail),
            evidence=reference(response.cycles_evidence),
        )
    error = error_of(DECIDE, answer, asked=terms.estimate)
    if not isinstance(error, Denied):
        raise error
    # An authority that denies by an error (404: no budget) has denied all the same.
    reason = "BUDGET_NOT_FOUND" if isinstance(error, BudgetNotFound) else error.code
    return Decision(
        models.DecisionEnum.DENY,
        info,
        reason_code=reason,
        retry_after=error.retry_after,
        detail=error.detail,
        evidence=error.evidence,
    )


# -- record ------------------------------------------------------------------------------------------------------------
def record(
    terms: Terms, metrics: models.StandardMetrics | None, policy: RetryPolicy, *, key: str | None = None
) -> Flow[Settlement]:
    """Charge the estimate of *terms* by an event, without a reservation.

    Raises:
        SettlementPending: when it is not known to be charged; the journal holds it.
        Denied, AuthorityError: when the authority refuses, or, without a journal, still fails at the last attempt.
        AuthorityUnavailable: when no answer came, and no journal holds it; the charge may have been made.
    """
    pending = Pending(
        reservation_id=None,
        terms=terms,
        actual=terms.estimate,
        key=key if key is not None else (yield from NewKey()),
        metrics=metrics,
        metadata=terms.metadata,
        by_event=True,
    )
    settlement = yield from settle(pending, policy, is_raised=True)
    error = settlement.error
    if error is not None:
        if settlement.is_kept:
            raise pending_error(settlement) from error
        if not settlement.is_refused and error.status != 429:
            # A new key would be a new charge; programs that must know pass a key of their own.
            error.add_note(f"it may be charged already: record it again with idempotency_key={pending.key!r}")
        raise error
    taken = settlement.charged
    yield from Notify(
        "recorded",
        {
            "charged": None if taken is None else taken.amount,
            "unit": str(terms.estimate.unit),
            "attempts": settlement.attempts,
        },
    )
    return settlement


# -- one reservation ---------------------------------------------------------------------------------------------------
def reservation(reservation_id: str, policy: RetryPolicy) -> Flow[models.ReservationDetail]:
    """Return what the authority keeps about a reservation.

    Raises:
        ReservationExpired: when it has expired (410).
        NotFound: when there is none (404).
        AuthorityError, AuthorityUnavailable: when the authority can't be asked.
    """
    answer, _ = yield from until_known(GET_RESERVATION, {"reservation_id": reservation_id}, policy)
    if answer.parsed is None:
        raise error_of(GET_RESERVATION, answer)
    return answer.parsed
