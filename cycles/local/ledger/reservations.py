"""The algebra of budgets and reservations: pure functions over values (authority.md §1, §3).

No clock, no randomness, no sqlite: `now_ms` and new ids are handed in, and `Books` says where the rows are. Bodies are
JSON objects that were validated before; what is returned is the response body. Every function reads and decides before
it writes, so a `Refusal` has changed nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from cycles.local.ledger import events
from cycles.local.ledger.bodies import amount_body, balance_body
from cycles.local.ledger.charging import put_all, spend
from cycles.local.ledger.idempotency import (
    DEFAULT_GRACE_MS,
    EVENT_KEPT_MS,
    EXTEND_KEPT_MS,
    KEPT_MS,
    digest_of,
    final_replay,
    replayed_body,
)
from cycles.local.ledger.scopes import budgets_on, event_gate, reserve_gate, scopes_of
from cycles.local.ledger.values import Budget, Hold, Refusal, Replay, Tenant

if TYPE_CHECKING:
    from cycles.local.ledger.values import Books

Body = dict[str, Any]

SWEPT_AT_ONCE: Final = 1000
"""Holds that one sweep expires at most."""

_DENY_INSTEAD_OF: Final = {"NOT_FOUND": "BUDGET_NOT_FOUND"}
_STAYS_AN_ERROR: Final = frozenset({"UNIT_MISMATCH", "INTERNAL_ERROR"})


# -- reserve, decide, event --------------------------------------------------------------------------------------------
def reserve(books: Books, tenant: str, body: Body, *, now_ms: int, new_id: str) -> Body:
    """Hold an estimate in every budget on the subject's way, or, for a dry run, say whether it could be."""
    scope, key, digest = f"reserve:{tenant}", body["idempotency_key"], digest_of(body)
    replayed = replayed_body(books, scope, key, digest, now_ms)
    if replayed is not None:
        return replayed
    if body.get("dry_run"):
        answer = _dry_run(books, tenant, body)
        books.put_replay(scope, key, Replay(now_ms + KEPT_MS, digest, answer))
        if books.notices is not None:
            books.notices += events.denied(tenant, body, answer, now_ms)
        return answer
    settings = _open_tenant(books, tenant)
    unit, estimate = body["estimate"]["unit"], body["estimate"]["amount"]
    affected = scopes_of(body["subject"])
    budgets = budgets_on(books, affected, unit, reserve_gate(estimate))
    after = [
        evolve(row, reserved=row.reserved + estimate, remaining=row.remaining - estimate, updated_at_ms=now_ms)
        for row in budgets
    ]
    ttl_ms = min(body.get("ttl_ms", settings.default_ttl_ms), settings.max_ttl_ms)
    hold = Hold(
        reservation_id=new_id,
        tenant=tenant,
        subject=body["subject"],
        action=body["action"],
        unit=unit,
        estimate=estimate,
        affected=affected,
        budgeted=tuple(row.scope_path for row in budgets),
        idempotency_key=key,
        overage_policy=body.get("overage_policy", settings.overage_policy),
        created_at_ms=now_ms,
        expires_at_ms=now_ms + ttl_ms,
        grace_ms=body.get("grace_period_ms", DEFAULT_GRACE_MS),
        max_extensions=settings.max_extensions,
        metadata=body.get("metadata"),
    )
    put_all(books, after)
    books.put_hold(hold)
    caps = _caps(budgets, affected)
    answer = {
        "decision": "ALLOW_WITH_CAPS" if caps else "ALLOW",
        "reservation_id": new_id,
        "affected_scopes": list(affected),
        "expires_at_ms": hold.expires_at_ms,
        "remaining_ttl_ms": ttl_ms,
        "scope_path": affected[-1],
        "reserved": amount_body(unit, estimate),
        **caps,
        "balances": [balance_body(row) for row in after],
    }
    books.put_replay(scope, key, Replay(max(now_ms + KEPT_MS, hold.deadline_ms), digest, answer, new_id))
    if books.notices is not None:
        books.notices += events.moved(tenant, budgets, after, now_ms)
    return answer


def decide(books: Books, tenant: str, body: Body, *, now_ms: int) -> Body:
    """Say whether the estimate could be reserved now; nothing is held."""
    scope, key, digest = f"decide:{tenant}", body["idempotency_key"], digest_of(body)
    replayed = replayed_body(books, scope, key, digest, now_ms)
    if replayed is not None:
        return replayed
    affected, _, reason, caps = _evaluated(books, tenant, body)
    answer = {**_decision(reason, caps), "affected_scopes": list(affected)}
    books.put_replay(scope, key, Replay(now_ms + KEPT_MS, digest, answer))
    if books.notices is not None:
        books.notices += events.denied(tenant, body, answer, now_ms)
    return answer


def _dry_run(books: Books, tenant: str, body: Body) -> Body:
    affected, budgets, reason, caps = _evaluated(books, tenant, body)
    answer = {**_decision(reason, caps), "affected_scopes": list(affected), "scope_path": affected[-1]}
    if reason is None:
        answer |= {"reserved": dict(body["estimate"]), "balances": [balance_body(row) for row in budgets]}
    return answer


def _evaluated(books: Books, tenant: str, body: Body) -> tuple[tuple[str, ...], list[Budget], str | None, Body]:
    """Return (affected scopes, budgets, reason of a DENY, caps) of what reserve would do; the same gates, read only."""
    affected = scopes_of(body["subject"])
    unit, estimate = body["estimate"]["unit"], body["estimate"]["amount"]
    try:
        _open_tenant(books, tenant)
        budgets = budgets_on(books, affected, unit, reserve_gate(estimate))
    except Refusal as refusal:
        if refusal.code in _STAYS_AN_ERROR:
            raise
        return affected, [], _DENY_INSTEAD_OF.get(refusal.code, refusal.code), {}
    return affected, budgets, None, _caps(budgets, affected)


def _decision(reason: str | None, caps: Body) -> Body:
    if reason is not None:
        return {"decision": "DENY", "reason_code": reason}
    return {"decision": "ALLOW_WITH_CAPS" if caps else "ALLOW", **caps}


def event(books: Books, tenant: str, body: Body, *, now_ms: int, new_id: str) -> Body:
    """Charge what was spent without a reservation; over-limit and debt are no gates (authority.md §1.8)."""
    scope, key, digest = f"event:{tenant}", body["idempotency_key"], digest_of(body)
    replayed = replayed_body(books, scope, key, digest, now_ms)
    if replayed is not None:
        return replayed
    settings = _open_tenant(books, tenant)
    unit, actual = body["actual"]["unit"], body["actual"]["amount"]
    policy = body.get("overage_policy", settings.overage_policy)
    budgets = budgets_on(books, scopes_of(body["subject"]), unit, event_gate(actual, policy))
    charged, after = spend(budgets, actual, policy)
    after = [evolve(row, updated_at_ms=now_ms) for row in after]
    put_all(books, after)
    answer: Body = {"status": "APPLIED", "event_id": new_id}
    if charged < actual:
        answer["charged"] = amount_body(unit, charged)
    answer["balances"] = [balance_body(row) for row in after]
    books.put_replay(scope, key, Replay(now_ms + EVENT_KEPT_MS, digest, answer))
    if books.notices is not None:
        books.notices += events.moved(tenant, budgets, after, now_ms)
    return answer


# -- a reservation's life ----------------------------------------------------------------------------------------------
def find(books: Books, tenant: str | None, reservation_id: str) -> Hold:
    """Return the reservation; *tenant* None is the administrator, who may see all."""
    hold = books.hold(reservation_id)
    if hold is None:
        raise Refusal(404, "NOT_FOUND", f"no reservation {reservation_id}")
    if tenant is not None and hold.tenant != tenant:
        raise Refusal(403, "FORBIDDEN", f"reservation {reservation_id} belongs to another tenant")
    return hold


def commit(books: Books, hold: Hold, body: Body, *, now_ms: int) -> Body:
    """Charge what the work really cost and give the rest of the hold back (authority.md §1.3)."""
    replayed = final_replay(hold, "COMMITTED", body)
    if replayed is not None:
        return replayed
    _open_tenant(books, hold.tenant)
    _must_be_active(hold)
    actual = body["actual"]["amount"]
    if body["actual"]["unit"] != hold.unit:
        raise Refusal(400, "UNIT_MISMATCH", f"the reservation is in {hold.unit}, not in {body['actual']['unit']}")
    _must_be_in_time(hold, hold.deadline_ms, now_ms)
    before, over = _budgeted(books, hold), actual - hold.estimate
    budgets, charged = before, actual
    if over > 0:
        if hold.overage_policy == "REJECT":
            raise Refusal(
                409,
                "BUDGET_EXCEEDED",
                f"actual {actual} is over the reserved {hold.estimate} {hold.unit}, and the overage policy is REJECT",
                {"reserved": hold.estimate, "requested": actual, "unit": hold.unit},
            )
        extra, budgets = spend(budgets, over, hold.overage_policy)
        charged = hold.estimate + extra
    unused = hold.estimate - charged if charged < hold.estimate else 0
    after = [
        evolve(
            row,
            reserved=row.reserved - hold.estimate,
            remaining=row.remaining + unused,
            spent=row.spent + hold.estimate - unused,
            updated_at_ms=now_ms,
        )
        for row in budgets
    ]
    answer: Body = {"status": "COMMITTED", "charged": amount_body(hold.unit, charged)}
    if unused:
        answer["released"] = amount_body(hold.unit, unused)
    answer["balances"] = [balance_body(row) for row in after]
    put_all(books, after)
    charge = {"charged": charged, "committed_metadata": body.get("metadata")}
    books.put_hold(_finished(hold, "COMMITTED", body, answer, now_ms, **charge))
    if books.notices is not None:
        books.notices += events.committed(hold, actual, charged, now_ms)
        books.notices += events.moved(hold.tenant, before, after, now_ms)
    return answer


def release(books: Books, hold: Hold, body: Body, *, now_ms: int) -> Body:
    """Give the whole hold back (authority.md §1.4)."""
    replayed = final_replay(hold, "RELEASED", body)
    if replayed is not None:
        return replayed
    _open_tenant(books, hold.tenant)
    _must_be_active(hold)
    _must_be_in_time(hold, hold.deadline_ms, now_ms)
    after = _given_back(books, hold, now_ms)
    answer = {
        "status": "RELEASED",
        "released": amount_body(hold.unit, hold.estimate),
        "balances": [balance_body(row) for row in after],
    }
    put_all(books, after)
    books.put_hold(_finished(hold, "RELEASED", body, answer, now_ms))
    return answer


def extend(books: Books, hold: Hold, body: Body, *, now_ms: int) -> Body:
    """Move the expiry on, from where it is (authority.md §1.5)."""
    scope, key, digest = f"extend:{hold.tenant}:{hold.reservation_id}", body["idempotency_key"], digest_of(body)
    replayed = replayed_body(books, scope, key, digest, now_ms)
    if replayed is not None:
        return replayed
    _open_tenant(books, hold.tenant)
    _must_be_active(hold)
    _must_be_in_time(hold, hold.expires_at_ms, now_ms)
    if hold.extensions >= hold.max_extensions:
        raise Refusal(
            409, "MAX_EXTENSIONS_EXCEEDED", f"the reservation was extended {hold.extensions} times, which is the most"
        )
    expires = hold.expires_at_ms + body["extend_by_ms"]
    books.put_hold(evolve(hold, expires_at_ms=expires, extensions=hold.extensions + 1))
    answer = {
        "status": "ACTIVE",
        "expires_at_ms": expires,
        "remaining_ttl_ms": expires - now_ms,
        "balances": [balance_body(row) for row in _budgeted(books, hold)],
    }
    books.put_replay(scope, key, Replay(expires + EXTEND_KEPT_MS, digest, answer, hold.reservation_id))
    return answer


def sweep(books: Books, now_ms: int, most: int = SWEPT_AT_ONCE) -> int:
    """Expire up to *most* holds whose grace is over, give their estimates back, and return how many (§1.7)."""
    late = books.overdue(now_ms, most)
    for hold in late:
        put_all(books, _given_back(books, hold, now_ms))
        books.put_hold(evolve(hold, status="EXPIRED"))
        if books.notices is not None:
            books.notices.append(events.expired(hold, now_ms))
    return len(late)


def let_go(books: Books, tenant_id: str, now_ms: int) -> None:
    """Release every live hold of a tenant that is being closed; nobody asked for it, so no key replays it."""
    for hold in books.live_holds_of(tenant_id):
        put_all(books, _given_back(books, hold, now_ms))
        books.put_hold(evolve(hold, status="RELEASED", finalized_at_ms=now_ms))


# -- rows ------------------------------------------------------------------------------------------------------------
def _caps(budgets: list[Budget], affected: tuple[str, ...]) -> Body:
    """Return the caps of the deepest derived scope, or nothing: those of its parents do not count (§1.9)."""
    deepest = budgets[-1]
    return {"caps": deepest.caps} if deepest.scope_path == affected[-1] and deepest.caps is not None else {}


def _budgeted(books: Books, hold: Hold) -> list[Budget]:
    rows = [books.budget(scope, hold.unit) for scope in hold.budgeted]
    return [row for row in rows if row is not None]


def _given_back(books: Books, hold: Hold, now_ms: int) -> list[Budget]:
    return [
        evolve(
            row,
            reserved=row.reserved - hold.estimate,
            remaining=row.remaining + hold.estimate,
            updated_at_ms=now_ms,
        )
        for row in _budgeted(books, hold)
    ]


# -- state -------------------------------------------------------------------------------------------------------------
def _open_tenant(books: Books, tenant_id: str) -> Tenant:
    tenant = books.tenant(tenant_id) or Tenant(tenant_id)
    if tenant.status == "CLOSED":
        raise Refusal(409, "TENANT_CLOSED", f"the tenant {tenant_id} is closed")
    if tenant.status not in ("ACTIVE", "SUSPENDED"):
        raise Refusal(500, "INTERNAL_ERROR", f"the tenant {tenant_id} has an unknown status")
    return tenant


def _must_be_active(hold: Hold) -> None:
    if hold.status == "EXPIRED":
        raise expired(hold)
    if hold.status != "ACTIVE":
        raise Refusal(409, "RESERVATION_FINALIZED", f"reservation {hold.reservation_id} is {hold.status} already")


def _must_be_in_time(hold: Hold, last_ms: int, now_ms: int) -> None:
    if now_ms > last_ms:
        raise expired(hold)


def expired(hold: Hold) -> Refusal:
    """Return the refusal of a reservation whose time is over."""
    return Refusal(410, "RESERVATION_EXPIRED", f"reservation {hold.reservation_id} expired at {hold.expires_at_ms} ms")


def _finished(hold: Hold, status: str, body: Body, answer: Body, now_ms: int, **charge: Any) -> Hold:
    """Return *hold* after the request *body* ended it with *answer*."""
    return evolve(
        hold,
        status=status,
        finalized_at_ms=now_ms,
        final_key=body["idempotency_key"],
        final_hash=digest_of(body),
        final_body=answer,
        **charge,
    )
