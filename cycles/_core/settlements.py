"""How a spend is charged, now or by a later process: docs/protocol.md, Settlement and recovery, as code.

Any of these flows can be killed after any effect. What must survive is in the `Pending` record, written before the
first request leaves. `recovery.recover` goes on from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles._core.attempts import until_known
from cycles._core.effects import Call, Clock, Notify, Now, Record
from cycles._core.endings import REFUSED, How, settled
from cycles._core.lifecycle import State
from cycles._core.operations import COMMIT_RESERVATION, CREATE_EVENT, GET_RESERVATION
from cycles._core.outcomes import Verdict, judge
from cycles._core.records import LONGEST_FLOOR, Claim, Floor
from cycles._core.results import Settlement
from cycles_api import models

if TYPE_CHECKING:
    from cycles._core.effects import Flow
    from cycles._core.operations import Operation
    from cycles._core.outcomes import Answer
    from cycles._core.records import Pending
    from cycles._core.retry import RetryPolicy

_LEAST: Final = 0.1
"""Seconds that a question about a refusal has at the least."""


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
        settlement, _ = yield from charge(
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


def charge(
    pending: Pending,
    policy: RetryPolicy,
    claim: Claim,
    *,
    is_kept: bool,
    goes_on: bool = False,
    recovered: bool = False,
    is_raised: bool = False,
    is_known: bool = False,
    timeout: float | None = None,
    lease_ends_ms: int | None = None,
    ends: float | None = None,
) -> Flow[tuple[Settlement, Verdict]]:
    """Charge *pending* under a *claim* that the caller gives up."""
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
            if recovered and pending.key == pending.reported_key:
                return (yield from _rest_later(pending, taken, claim, sent)), verdict
            before, pending, happened = taken, pending.rest(taken), "report charged already"
        elif verdict is Verdict.EXPIRED and not pending.by_event:
            pending, happened = pending.as_event(), "hold expired"
        else:
            how = How(
                policy,
                sent,
                is_kept=is_kept,
                goes_on=goes_on,
                recovered=recovered,
                before=before,
                is_raised=is_raised,
                is_known=is_known,
            )
            settlement = yield from settled(pending, operation, answer, verdict, how)
            return settlement, verdict
        is_kept = yield from Record(pending, claim)  # the switch is kept before the event leaves
        yield from Notify(happened, {"reservation_id": pending.reservation_id})


def _rest_later(pending: Pending, taken: int, claim: Claim, sent: int) -> Flow[Settlement]:
    """Leave the rest of a report, of which *taken* is charged, for an hour: its section was taken for dead, and lived.

    If it lives still, its end overwrites this record and charges the rest itself. An event of ours would come on top of
    that, and nobody could ask for it.
    """
    now = yield from Clock()
    later = pending.rest(taken).not_before(Floor(now, now + round(LONGEST_FLOOR * 1000)))
    yield from Record(later, claim)
    yield from Notify("report charged already", {"reservation_id": pending.reservation_id})
    return Settlement(State.UNSETTLED, via=later.via, attempts=sent, is_kept=True)


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
        if judge(probe, probed) not in REFUSED:
            return probe, probed, None  # the very same charge, replayed; or not known
        if probed.code != "IDEMPOTENCY_MISMATCH":
            return operation, answer, None
    found = yield from Call(GET_RESERVATION, reservation_id=pending.reservation_id, **bounds)
    if judge(GET_RESERVATION, found) not in (*REFUSED, Verdict.DONE):
        return GET_RESERVATION, found, None
    known = None if found.parsed is None else found.parsed.committed
    if not isinstance(known, models.Amount) or known.unit != pending.actual.unit:
        return operation, answer, None
    return GET_RESERVATION, found, known.amount
