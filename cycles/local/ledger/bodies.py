"""Amounts, balances and reservations as the protocol's answers show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cycles.local.ledger.values import Budget, Hold

Body = dict[str, Any]


def balance_body(budget: Budget) -> Body:
    """Return a balance."""
    unit = budget.unit
    body: Body = {
        "scope": budget.scope_path.rpartition("/")[2],
        "scope_path": budget.scope_path,
        "remaining": amount_body(unit, budget.remaining),
        "reserved": amount_body(unit, budget.reserved),
        "spent": amount_body(unit, budget.spent),
        "allocated": amount_body(unit, budget.allocated),
    }
    if budget.debt:
        body["debt"] = amount_body(unit, budget.debt)
    if budget.overdraft_limit:
        body["overdraft_limit"] = amount_body(unit, budget.overdraft_limit)
    if budget.is_over_limit:
        body["is_over_limit"] = True
    return body


def hold_body(hold: Hold, *, include: frozenset[str]) -> Body:
    """Return a reservation, as in lists and in its details; *include* names the metadata maps to add."""
    body: Body = {
        "reservation_id": hold.reservation_id,
        "status": hold.status,
        "idempotency_key": hold.idempotency_key,
        "subject": hold.subject,
        "action": hold.action,
        "reserved": amount_body(hold.unit, hold.estimate),
        "created_at_ms": hold.created_at_ms,
        "expires_at_ms": hold.expires_at_ms,
    }
    if hold.finalized_at_ms is not None:
        body["finalized_at_ms"] = hold.finalized_at_ms
    body |= {"scope_path": hold.affected[-1], "affected_scopes": list(hold.affected)}
    if hold.charged is not None:
        body["committed"] = amount_body(hold.unit, hold.charged)
    if "metadata" in include and hold.metadata is not None:
        body["metadata"] = hold.metadata
    if "committed_metadata" in include and hold.committed_metadata is not None:
        body["committed_metadata"] = hold.committed_metadata
    return body


def amount_body(unit: str, amount: int) -> Body:
    return {"unit": unit, "amount": amount}
