"""The six runtime events that a server would publish about its ledger, and the notices from which they are made.

The ledger adds a notice wherever it writes rows, so a replay, which writes none, adds none. Notices are published after
their transaction has committed, or never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cycles.local.ledger.values import Budget, Hold

Body = dict[str, Any]


class Notice(NamedTuple):
    """The content of a runtime event whose transaction may still be undone."""

    type: str
    tenant: str
    scope: str
    at_ms: int
    data: Body


class Origin(NamedTuple):
    """The request behind a transaction; `actor` is "api_key" or "admin"."""

    actor: str
    request_id: str
    trace_id: str


@frozen
class RuntimeEvent:
    """Something that happened in the ledger.

    Attributes:
        event_id: "evt_" and 16 hex digits.
        type: reservation.denied, .commit_overage or .expired; budget.exhausted, .over_limit_entered or .debt_incurred.
        category: "reservation" or "budget".
        timestamp: By the authority's clock, in UTC.
        tenant_id: The tenant whose ledger changed.
        scope: The scope path that the event is about.
        source: Always "cycles.local".
        actor: {"type": "api_key"}, "admin", or "system" for an expiry.
        data: Figures, by the protocol's names.
        request_id, trace_id: Of the request; None for an expiry.

    Example:
        ```python
        from cycles import usd
        from cycles.local import LocalAuthority

        authority = LocalAuthority()
        authority.budget("tenant:acme", usd("1.00"))
        with authority.client(tenant="acme") as client:
            client.decide(usd("50"), action=("tool.search", "web"))
        for event in authority.events:
            print(event.type, event.scope)
        ```
    """

    event_id: str
    type: str
    category: str
    timestamp: datetime
    tenant_id: str
    scope: str
    source: str
    actor: dict[str, str]
    data: dict[str, Any]
    request_id: str | None
    trace_id: str | None


def denied(tenant: str, body: Body, answer: Body, at_ms: int) -> list[Notice]:
    """Return the notice of a decide or a dry run that answered DENY; the 409 of a live reserve gives none."""
    if answer["decision"] != "DENY":
        return []
    data = {
        "reason_code": answer["reason_code"],
        "estimate": dict(body["estimate"]),
        "subject": body["subject"],
        "action": body["action"],
        "dry_run": bool(body.get("dry_run")) or body.get("observe_mode") == "OBSERVE",
    }
    return [Notice("reservation.denied", tenant, answer["affected_scopes"][-1], at_ms, data)]


def committed(hold: Hold, actual: int, charged: int, at_ms: int) -> list[Notice]:
    """Return the notice of a commit that asked for more than was reserved, even when less was charged."""
    if actual <= hold.estimate:
        return []
    data = {
        "reservation_id": hold.reservation_id,
        "unit": hold.unit,
        "estimate": hold.estimate,
        "actual": actual,
        "charged": charged,
    }
    return [Notice("reservation.commit_overage", hold.tenant, hold.affected[-1], at_ms, data)]


def expired(hold: Hold, at_ms: int) -> Notice:
    """Return the notice of a hold that expired."""
    data = {
        "reservation_id": hold.reservation_id,
        "unit": hold.unit,
        "released": hold.estimate,
        "expires_at_ms": hold.expires_at_ms,
    }
    return Notice("reservation.expired", hold.tenant, hold.affected[-1], at_ms, data)


def moved(tenant: str, before: Iterable[Budget], after: Iterable[Budget], at_ms: int) -> list[Notice]:
    """Return the notices of budgets that a reserve, a commit or an event changed, tenant first."""
    return [
        Notice(kind, tenant, new.scope_path, at_ms, {"unit": new.unit, **data})
        for old, new in zip(before, after, strict=True)
        for kind, data in _steps(old, new)
    ]


def _steps(old: Budget, new: Budget) -> list[tuple[str, Body]]:
    steps: list[tuple[str, Body]] = []
    if old.remaining > 0 and new.remaining == 0:  # below zero is debt, not exhaustion
        figures = {"allocated": new.allocated, "reserved": new.reserved, "spent": new.spent}
        steps.append(("budget.exhausted", {"remaining": 0, **figures}))
    if new.is_over_limit and not old.is_over_limit:
        facts = {"debt": new.debt, "overdraft_limit": new.overdraft_limit, "is_over_limit": True}
        steps.append(("budget.over_limit_entered", facts))
    if new.debt > old.debt:
        facts = {"debt_incurred": new.debt - old.debt, "debt": new.debt, "overdraft_limit": new.overdraft_limit}
        steps.append(("budget.debt_incurred", facts))
    return steps
