"""The flows around a hold: reserve, find, release and extend it. `settlements` charges it.

Each is written once, and either driver runs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from cycles._core.agreement import holds, is_id
from cycles._core.attempts import until_known
from cycles._core.denials import deny_detail_in, detail_of
from cycles._core.effects import Call, Jitter, NewKey, Notify, Now, Sleep
from cycles._core.grant import Grant
from cycles._core.lifecycle import State
from cycles._core.operations import CREATE_RESERVATION, EXTEND_RESERVATION, LIST_RESERVATIONS, RELEASE_RESERVATION
from cycles._core.outcomes import Trouble, Verdict, error_of, judge
from cycles._core.results import Settlement, reference
from cycles.amounts import spelled
from cycles.errors import (
    DENIALS,
    ActionKindDenied,
    ActionKindNotAllowed,
    BudgetClosed,
    BudgetNotFound,
    CyclesError,
    Denied,
    RateLimited,
    TenantClosed,
)
from cycles_api import models
from cycles_api.types import UNSET, Unset

if TYPE_CHECKING:
    from cycles._core.effects import Flow
    from cycles._core.outcomes import Answer
    from cycles._core.requests import Terms
    from cycles._core.retry import RetryPolicy

_FINAL_DENIALS = (BudgetClosed, BudgetNotFound, TenantClosed, ActionKindDenied, ActionKindNotAllowed)
"""Denials that waiting can't turn into a grant."""

_LEAST_PAUSE = 0.05
"""Seconds between two questions while waiting for budget: jitter may choose 0, a busy loop never."""


# -- reserve -----------------------------------------------------------------------------------------------------------
class Asking:
    """What a reserve leaves unknown when its flow is cut off, at whatever point.

    Attributes:
        unclaimed: The key of a create that may have left, and whose hold nobody has yet; None when there is none.
            Whoever takes what was granted clears it. A key that the caller chose is not noted: the caller may send
            it again.
    """

    unclaimed: str | None = None

    def claim(self, reservation_id: str | None) -> None:
        """Note that somebody has the hold *reservation_id*; None: nobody has any."""
        if reservation_id is not None:
            self.unclaimed = None


def reserve(
    terms: Terms, policy: RetryPolicy, *, key: str | None = None, wait: float = 0.0, asking: Asking | None = None
) -> Flow[Grant]:
    """Ask for a reservation, for up to *wait* seconds while it is denied or throttled (0: once).

    Raises:
        Denied: when the authority says no.
        AuthorityError, AuthorityUnavailable: when the authority can't be asked, or its answer stays unknown.
    """
    chosen = key
    key = chosen if chosen is not None else (yield from NewKey())
    started = yield from Now()
    attempt = 1
    noted = Asking() if asking is None or chosen is not None or terms.dry_run else asking
    while True:
        try:
            return (yield from _reserve_once(terms, key, noted, started + wait + policy.deadline))
        except (Denied, RateLimited) as refusal:
            left = wait - ((yield from Now()) - started)
            floor = refusal.retry_after or 0.0
            if isinstance(refusal, _FINAL_DENIALS) or left <= 0.0 or floor > left:
                raise
            if refusal.status == 200 and chosen is None:
                key = yield from NewKey()  # a DENY is a stored answer: its key would replay it
        backoff = policy.backoff(attempt, (yield from Jitter()))
        yield from Sleep(min(left, max(floor, backoff, _LEAST_PAUSE)))
        attempt += 1


def _reserve_once(terms: Terms, key: str, asking: Asking, ends: float) -> Flow[Grant]:
    """Ask once; when the answer is ambiguous, once more at once, under the same key."""
    body = terms.create_body(key)
    left = ends - (yield from Now())
    asking.unclaimed = key
    answer = yield from Call(CREATE_RESERVATION, within=left, body=body)
    maybe_held = False
    if _ambiguous(answer):
        maybe_held = answer.trouble is not Trouble.NOT_SENT
        reason = repr(answer)
        left = ends - (yield from Now())
        if left > 0.0:
            answer = yield from Call(CREATE_RESERVATION, within=left, body=body)
        yield from Notify(
            "reserve ambiguous", {"operation": "create_reservation", "reason": reason, "is_told": _ambiguous(answer)}
        )
    if not _ambiguous(answer):
        try:
            return _granted(terms, answer)
        except CyclesError:
            asking.unclaimed = None
            raise
    maybe_held = maybe_held or answer.trouble is not Trouble.NOT_SENT
    is_known, grant = not maybe_held, None
    if maybe_held and not terms.dry_run:
        left = ends - (yield from Now())
        if left > 0.0:
            is_known, grant = yield from find(key, within=left)
    if grant is not None and not holds(grant.response.reserved, terms.estimate):
        is_known, grant = False, None  # it is given back, as one is that nobody heard of
    if grant is not None:
        return grant
    if is_known:
        asking.unclaimed = None
    raise error_of(CREATE_RESERVATION, answer, asked=terms.estimate)


def _ambiguous(answer: Answer[models.ReservationCreateResponse]) -> bool:
    return judge(CREATE_RESERVATION, answer) is Verdict.AMBIGUOUS


def _granted(terms: Terms, answer: Answer[models.ReservationCreateResponse]) -> Grant:
    response = answer.parsed
    if response is None:
        raise error_of(CREATE_RESERVATION, answer, asked=terms.estimate)
    allowed = response.decision in (models.DecisionEnum.ALLOW, models.DecisionEnum.ALLOW_WITH_CAPS)
    if not (terms.dry_run or terms.observe or allowed):
        raise denial_of(response, answer, terms.estimate)
    return Grant(response, answer.headers, sent_at=answer.sent_at, received_at=answer.received_at)


def denial_of(response: Any, answer: Answer[Any], asked: models.Amount) -> Denied:
    """Return the error of a 200 that does not grant *asked*: a DENY, or a decision that this client does not know."""
    reason = None if isinstance(response.reason_code, Unset) else response.reason_code
    said = reason or f"decision {response.decision}"
    scopes = () if isinstance(response.affected_scopes, Unset) else tuple(response.affected_scopes)
    after = response.retry_after_ms
    return DENIALS.get(said, Denied)(
        f"asked for {spelled(asked.unit, asked.amount)} at {scopes[-1] if scopes else 'an unnamed scope'}: {said}",
        status=answer.status,
        code=reason,
        request_id=answer.headers.get("x-request-id"),
        trace_id=answer.headers.get("x-cycles-trace-id"),
        retry_after=None if isinstance(after, Unset) else after / 1000,
        affected_scopes=scopes,
        detail=detail_of(response.deny_detail),
        evidence=reference(response.cycles_evidence),
    )


def find(key: str, within: float | None = None) -> Flow[tuple[bool, Grant | None]]:
    """Return whether it is known what *key* made, and the live reservation if there is one that can be named."""
    answer = yield from Call(LIST_RESERVATIONS, within=within, idempotency_key=key, limit=1)
    if judge(LIST_RESERVATIONS, answer) is not Verdict.DONE or answer.parsed is None:
        return False, None
    for row in answer.parsed.reservations:
        is_ours = row.idempotency_key == key and is_id(row.reservation_id)
        if is_ours and row.status == models.ReservationStatus.ACTIVE:
            yield from Notify("reservation recovered", {"reservation_id": row.reservation_id})
            response = models.ReservationCreateResponse(
                decision=models.DecisionEnum.ALLOW,
                affected_scopes=row.affected_scopes,
                reservation_id=row.reservation_id,
                reserved=row.reserved,
                expires_at_ms=row.expires_at_ms,
                scope_path=row.scope_path,
            )
            return True, Grant(response, answer.headers, sent_at=answer.sent_at, received_at=answer.received_at)
    return True, None


# -- observe -----------------------------------------------------------------------------------------------------------
def observe(terms: Terms, policy: RetryPolicy, *, key: str | None = None, asking: Asking | None = None) -> Flow[Grant]:
    """Ask, once, what would become of a reserve; a denial is an answer, too. Nothing is held afterwards.

    An authority that does not know observe mode may have reserved: that is given back at once.

    Raises:
        AuthorityError, AuthorityUnavailable: when the authority can't be asked, or its answer stays unknown.
    """
    chosen = key
    key = chosen if chosen is not None else (yield from NewKey())
    noted = Asking() if asking is None or chosen is not None else asking
    started = yield from Now()
    try:
        grant = yield from _reserve_once(terms, key, noted, started + policy.deadline)
    except Denied as denied:
        now = yield from Now()
        return Grant(_denying(denied), {}, sent_at=now, received_at=now)
    held = grant.response.reservation_id
    if isinstance(held, Unset):
        noted.unclaimed = None
        return grant
    yield from Notify("observe mode ignored, hold given back", {"reservation_id": held})
    yield from release(held, "observed", policy)
    noted.unclaimed = None
    response = evolve(grant.response, reservation_id=UNSET, expires_at_ms=UNSET, remaining_ttl_ms=UNSET)
    return Grant(response, grant.headers, sent_at=grant.sent_at, received_at=grant.received_at)


def _denying(denied: Denied) -> models.ReservationCreateResponse:
    """Return the answer of an authority that knows observe mode, for one that refused in place of it."""
    response = models.ReservationCreateResponse(decision=models.DecisionEnum.DENY, affected_scopes=[])
    response.reason_code = "BUDGET_NOT_FOUND" if isinstance(denied, BudgetNotFound) else denied.code or UNSET
    response.deny_detail = deny_detail_in(denied.details)
    if denied.evidence is not None:
        response.cycles_evidence = models.CyclesEvidenceRef.from_dict(denied.evidence)
    return response


# -- release and extend ------------------------------------------------------------------------------------------------
def release(
    reservation_id: str, reason: str | None, policy: RetryPolicy, *, ends: float | None = None
) -> Flow[Settlement]:
    """Give the whole hold back, until *ends* at most, or as long as *policy* says: else it ends at its expiry."""
    if ends is None and policy.settle_wait is not None:
        ends = (yield from Now()) + policy.settle_wait
    reason = None if reason is None else _sendable(reason)
    body = models.ReleaseRequest(idempotency_key=(yield from NewKey()), reason=reason or UNSET)
    answer, attempts = yield from until_known(
        RELEASE_RESERVATION, {"reservation_id": reservation_id, "body": body}, policy, ends=ends
    )
    verdict, response = judge(RELEASE_RESERVATION, answer), answer.parsed
    if verdict is Verdict.DONE and response is not None:
        yield from Notify("released", {"reservation_id": reservation_id, "reason": reason})
        return Settlement(
            State.RELEASED,
            via="release",
            attempts=attempts,
            released=response.released,
            balances=() if isinstance(response.balances, Unset) else tuple(response.balances),
            headers=answer.headers,
            evidence=reference(response.cycles_evidence),
        )
    error = error_of(RELEASE_RESERVATION, answer)
    yield from Notify("release failed", {"reservation_id": reservation_id, "reason": str(error)})
    state = State.EXPIRED if verdict is Verdict.EXPIRED else State.RELEASED
    return Settlement(state, via="release", attempts=attempts, error=error, headers=answer.headers)


def _sendable(reason: str) -> str:
    """Return *reason* as the protocol takes it: at most 256 characters, none that UTF-8 can't carry."""
    return reason[:256].encode(errors="replace").decode()


def extend(reservation_id: str, extend_by_ms: int, policy: RetryPolicy) -> Flow[models.ReservationExtendResponse]:
    """Prolong the lease by *extend_by_ms* from its current expiry.

    Raises:
        CyclesError: when the authority refuses or can't be reached.
    """
    body = models.ReservationExtendRequest(idempotency_key=(yield from NewKey()), extend_by_ms=extend_by_ms)
    answer, _ = yield from until_known(EXTEND_RESERVATION, {"reservation_id": reservation_id, "body": body}, policy)
    if judge(EXTEND_RESERVATION, answer) is not Verdict.DONE or answer.parsed is None:
        raise error_of(EXTEND_RESERVATION, answer)
    return answer.parsed
