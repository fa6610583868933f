"""Reserve and decide: whether every budget of a subject's scopes has room for an estimate.

Here and in the other modules of this room: `now_ms` and new ids are handed in, and `Books` holds the rows. A body is a
JSON object that was validated before; what is returned is the body of the answer. Every function reads and decides
before it writes, so a `Refusal` has changed nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles.local.ledger import notices
from cycles.local.ledger.bodies import amount_body, balance_body
from cycles.local.ledger.charging import put_all
from cycles.local.ledger.encoding import Answer
from cycles.local.ledger.idempotency import DEFAULT_GRACE_MS, KEPT_MS, digest_of, replayed_body
from cycles.local.ledger.remedies import detail_of
from cycles.local.ledger.renewals import made_in
from cycles.local.ledger.reservations import open_tenant
from cycles.local.ledger.scopes import budgets_on, reserve_gate, scopes_of
from cycles.local.ledger.values import Budget, Hold, Refusal, Replay, Tenant, changed

if TYPE_CHECKING:
    from cycles.local.ledger.books import Books

Body = dict[str, Any]

_STAYS_AN_ERROR: Final = frozenset({"UNIT_MISMATCH", "INTERNAL_ERROR"})


def reserve(books: Books, tenant: str, body: Body, *, now_ms: int, new_id: str) -> Body:
    """Hold an estimate in the budget of every scope of the subject.

    A dry run, and observe mode, only say whether it could be held.
    """
    scope, key, digest = f"reserve:{tenant}", body["idempotency_key"], digest_of(body)
    replayed = replayed_body(books, scope, key, digest, now_ms)
    if replayed is not None:
        return replayed
    if holds_nothing(body):
        answer = _dry_run(books, tenant, body, now_ms)
        books.put_replay(scope, key, Replay(now_ms + KEPT_MS, digest, answer))
        if books.notices is not None:
            books.notices += notices.denied(tenant, body, answer, now_ms)
        return answer
    settings = open_tenant(books, tenant)
    unit, estimate = body["estimate"]["unit"], body["estimate"]["amount"]
    affected = scopes_of(body["subject"])
    budgets = budgets_on(books, affected, unit, reserve_gate(estimate, now_ms), now_ms)
    after = [
        changed(row, reserved=row.reserved + estimate, remaining=row.remaining - estimate, updated_at_ms=now_ms)
        for row in budgets
    ]
    hold = _new_hold(settings, body, affected, budgets, now_ms=now_ms, new_id=new_id)
    put_all(books, after)
    books.put_hold(hold)
    answer = _granted(hold, _caps(budgets, affected), after)
    books.put_replay(scope, key, Replay(max(now_ms + KEPT_MS, hold.deadline_ms), digest, answer, new_id))
    if books.notices is not None:
        books.notices += notices.moved(tenant, budgets, after, now_ms)
    return answer


def holds_nothing(body: Body) -> bool:
    """Whether a reserve is only to be evaluated: a dry run, or observe mode."""
    return bool(body.get("dry_run")) or body.get("observe_mode") == "OBSERVE"


def _new_hold(
    settings: Tenant, body: Body, affected: tuple[str, ...], budgets: list[Budget], *, now_ms: int, new_id: str
) -> Hold:
    """Return the hold of a reserve; a lease longer than the tenant allows is shortened."""
    ttl_ms = min(body.get("ttl_ms", settings.default_ttl_ms), settings.max_ttl_ms)
    return Hold(
        reservation_id=new_id,
        tenant=settings.tenant_id,
        subject=body["subject"],
        action=body["action"],
        unit=body["estimate"]["unit"],
        estimate=body["estimate"]["amount"],
        affected=affected,
        budgeted=tuple(row.scope_path for row in budgets),
        idempotency_key=body["idempotency_key"],
        overage_policy=body.get("overage_policy", settings.overage_policy),
        created_at_ms=now_ms,
        expires_at_ms=now_ms + ttl_ms,
        grace_ms=body.get("grace_period_ms", DEFAULT_GRACE_MS),
        max_extensions=settings.max_extensions,
        metadata=body.get("metadata"),
        renewals=made_in(budgets),
    )


def _granted(hold: Hold, caps: Body, budgets: list[Budget]) -> Answer:
    return Answer(
        {
            "decision": "ALLOW_WITH_CAPS" if caps else "ALLOW",
            "reservation_id": hold.reservation_id,
            "affected_scopes": list(hold.affected),
            "expires_at_ms": hold.expires_at_ms,
            "remaining_ttl_ms": hold.expires_at_ms - hold.created_at_ms,
            "scope_path": hold.affected[-1],
            "reserved": amount_body(hold.unit, hold.estimate),
            **caps,
            "balances": [balance_body(row) for row in budgets],
        }
    )


def decide(books: Books, tenant: str, body: Body, *, now_ms: int) -> Body:
    """Say whether the estimate could be reserved now; nothing is held."""
    scope, key, digest = f"decide:{tenant}", body["idempotency_key"], digest_of(body)
    replayed = replayed_body(books, scope, key, digest, now_ms)
    if replayed is not None:
        return replayed
    affected, _, denial, caps = _evaluated(books, tenant, body, now_ms)
    answer = Answer(**_decision(denial, caps), affected_scopes=list(affected))
    books.put_replay(scope, key, Replay(now_ms + KEPT_MS, digest, answer))
    if books.notices is not None:
        books.notices += notices.denied(tenant, body, answer, now_ms)
    return answer


def _dry_run(books: Books, tenant: str, body: Body, now_ms: int) -> Body:
    affected, budgets, denial, caps = _evaluated(books, tenant, body, now_ms)
    answer = {**_decision(denial, caps), "affected_scopes": list(affected), "scope_path": affected[-1]}
    if denial is None:
        answer |= {"reserved": dict(body["estimate"]), "balances": [balance_body(row) for row in budgets]}
    return answer


def _evaluated(
    books: Books, tenant: str, body: Body, now_ms: int
) -> tuple[tuple[str, ...], list[Budget], Refusal | None, Body]:
    """Return (affected scopes, budgets, why it is a DENY, caps): the gates of reserve, read only."""
    affected = scopes_of(body["subject"])
    unit, estimate = body["estimate"]["unit"], body["estimate"]["amount"]
    try:
        open_tenant(books, tenant)
        budgets = budgets_on(books, affected, unit, reserve_gate(estimate, now_ms), now_ms)
    except Refusal as refusal:
        if refusal.code in _STAYS_AN_ERROR:
            raise
        return affected, [], refusal, {}
    return affected, budgets, None, _caps(budgets, affected)


def _decision(denial: Refusal | None, caps: Body) -> Body:
    if denial is not None:
        detail, after_ms = detail_of(denial), (denial.details or {}).get("retry_after_ms")
        later = {} if after_ms is None else {"retry_after_ms": after_ms}
        return {"decision": "DENY", "reason_code": detail["reason_code"], "deny_detail": detail, **later}
    return {"decision": "ALLOW_WITH_CAPS" if caps else "ALLOW", **caps}


def _caps(budgets: list[Budget], affected: tuple[str, ...]) -> Body:
    """Return the caps of the deepest derived scope, or nothing: the caps of its parents do not count."""
    deepest = budgets[-1]
    return {"caps": deepest.caps} if deepest.scope_path == affected[-1] and deepest.caps is not None else {}
