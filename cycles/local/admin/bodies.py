"""Tenants, API keys and budgets as the administration's answers show them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from cycles.local.ledger.bodies import amount_body
from cycles.local.ledger.times import iso

if TYPE_CHECKING:
    from cycles.local.ledger.keys import ApiKey
    from cycles.local.ledger.values import Budget, Tenant, Terms

Body = dict[str, Any]


def tenant_body(tenant: Tenant) -> Body:
    """Return a tenant; its id stands for the name, which Python and the command line may leave out."""
    body = {
        "tenant_id": tenant.tenant_id,
        "name": tenant.name or tenant.tenant_id,
        "status": tenant.status,
        "parent_tenant_id": tenant.parent_tenant_id,
        "default_commit_overage_policy": tenant.overage_policy,
        "default_reservation_ttl_ms": tenant.default_ttl_ms,
        "max_reservation_ttl_ms": tenant.max_ttl_ms,
        "max_reservation_extensions": tenant.max_extensions,
        "reservation_expiry_policy": tenant.expiry_policy,
        "metadata": tenant.metadata,
        "created_at": iso(tenant.created_at_ms),
        "updated_at": iso(tenant.updated_at_ms or tenant.created_at_ms),
    }
    return _present(body)


def key_body(key: ApiKey, now_ms: int) -> Body:
    """Return an API key without its secret."""
    body = {
        "key_id": key.key_id,
        "tenant_id": key.tenant,
        "name": key.name or None,
        "description": key.description,
        "key_prefix": key.prefix or None,
        "permissions": list(key.permissions),
        "scope_filter": list(key.scope_filter),
        "status": key.status(now_ms),
        "metadata": key.metadata,
        "created_at": iso(key.created_at_ms),
        "expires_at": None if key.expires_at_ms is None else iso(key.expires_at_ms),
        "revoked_at": None if key.revoked_at_ms is None else iso(key.revoked_at_ms),
        "revoked_reason": key.revoked_reason,
    }
    return _present(body)


def ledger_body(budget: Budget, terms: Terms) -> Body:
    """Return a budget as the administration shows it, all its figures included.

    The period of a budget that begins anew is the present one; of another it is what was noted about it.
    """
    unit, period = budget.unit, budget.period
    dates = {} if period is None else {"period_start": iso(period.starts_ms), "period_end": iso(period.ends_ms)}
    body = {
        "ledger_id": _ledger_id(budget),
        "tenant_id": budget.tenant,
        "scope": budget.scope_path,
        "unit": unit,
        "allocated": amount_body(unit, budget.allocated),
        "remaining": amount_body(unit, budget.remaining),
        "reserved": amount_body(unit, budget.reserved),
        "spent": amount_body(unit, budget.spent),
        "debt": amount_body(unit, budget.debt),
        "overdraft_limit": amount_body(unit, budget.overdraft_limit),
        "is_over_limit": budget.is_over_limit,
        "status": budget.status,
        **vars(terms),
        **dates,
        "created_at": iso(budget.created_at_ms),
        "updated_at": iso(budget.updated_at_ms),
    }
    return _present(body)


def _ledger_id(budget: Budget) -> str:
    """Return an id made from the path and the unit, which identify a budget."""
    return f"ldg_{hashlib.sha256(f'{budget.scope_path} {budget.unit}'.encode()).hexdigest()[:32]}"


def _present(body: Body) -> Body:
    return {name: value for name, value in body.items() if value is not None}
