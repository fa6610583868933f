"""An operator's changes to budgets, tenants and API keys, as pure functions over values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from cycles.amounts import spelled
from cycles.local.ledger import leases, renewals
from cycles.local.ledger.charging import fits
from cycles.local.ledger.values import Budget, Refusal

if TYPE_CHECKING:
    from cycles.local.ledger.books import Books
    from cycles.local.ledger.keys import ApiKey
    from cycles.local.ledger.values import Tenant


def set_budget(
    books: Books,
    *,
    scope_path: str,
    unit: str,
    allocated: int,
    tenant: str,
    now_ms: int,
    overdraft_limit: int | None = None,
    caps: dict[str, Any] | None = None,
    period: str | None = None,
    zone: str | None = None,
) -> Budget:
    """Create a budget, or set the allocation of the one that is there, also of its periods to come.

    Setting keeps what was spent, is held and is owed, as RESET does. None leaves the overdraft limit, the caps, the
    period or its zone alone.
    """
    row = books.budget(scope_path, unit)
    if row is None:
        row = Budget(scope_path, unit, allocated, tenant, created_at_ms=now_ms, updated_at_ms=now_ms)
    else:
        row = renewals.as_of(row, now_ms)
        _must_take_funds(row)
        row = _recomputed(row, allocated=allocated, updated_at_ms=now_ms)
    row = evolve(row, period=renewals.period_of(row, period, zone, amount=allocated, now_ms=now_ms))
    if overdraft_limit is not None:
        row = _recomputed(row, overdraft_limit=overdraft_limit)
    if caps is not None:
        row = evolve(row, caps=caps or None)
    return _put(books, row)


def fund(
    books: Books, scope_path: str, unit: str, operation: str, amount: int, *, now_ms: int, spent: int | None = None
) -> Budget:
    """Apply CREDIT, DEBIT, RESET, RESET_SPENT or REPAY_DEBT of *amount*; *spent* goes with RESET_SPENT only.

    Every one of them recomputes `is_over_limit`, so that even a CREDIT of 0 opens a capped budget again. What RESET and
    RESET_SPENT set, periods to come begin with, too; the others are about the present one.
    """
    row = existing(books, scope_path, unit, now_ms)
    _must_take_funds(row)
    if spent is not None and operation != "RESET_SPENT":
        raise Refusal(400, "INVALID_REQUEST", f"spent goes with RESET_SPENT, not with {operation}")
    changes: dict[str, int]
    if operation == "CREDIT":
        changes = {"allocated": row.allocated + amount}
    elif operation == "DEBIT":
        if row.remaining < amount:
            raise Refusal(
                409,
                "BUDGET_EXCEEDED",
                f"{scope_path} has {spelled(unit, row.remaining)} left, less than {spelled(unit, amount)}",
            )
        changes = {"allocated": row.allocated - amount}
    elif operation == "RESET":
        changes = {"allocated": amount}
    elif operation == "RESET_SPENT":
        changes = {"allocated": amount, "spent": spent or 0}
    elif operation == "REPAY_DEBT":
        repaid = min(amount, row.debt)  # what is left over becomes allocation
        changes = {"debt": row.debt - repaid, "allocated": row.allocated + amount - repaid}
    else:
        raise Refusal(400, "INVALID_REQUEST", f"operation {operation!r} is not known")
    if row.period is not None and operation in ("RESET", "RESET_SPENT"):
        row = evolve(row, period=row.period._replace(amount=amount))
    return _put(books, _recomputed(row, **changes, updated_at_ms=now_ms))


def patch(books: Books, scope_path: str, unit: str, *, overdraft_limit: int | None, now_ms: int) -> Budget:
    """Set the overdraft limit, unless None, and recompute `is_over_limit` in any case."""
    row = existing(books, scope_path, unit, now_ms)
    if row.status == "CLOSED":
        raise Refusal(409, "BUDGET_CLOSED", f"the budget at {scope_path} in {unit} is closed")
    limit = row.overdraft_limit if overdraft_limit is None else overdraft_limit
    return _put(books, _recomputed(row, overdraft_limit=limit, updated_at_ms=now_ms))


def set_status(books: Books, scope_path: str, unit: str, status: str, *, now_ms: int) -> Budget:
    """Freeze (FROZEN), unfreeze (ACTIVE) or close (CLOSED, for good) a budget."""
    row = existing(books, scope_path, unit, now_ms)
    if row.status == "CLOSED":
        raise Refusal(409, "BUDGET_CLOSED", f"the budget at {scope_path} in {unit} is closed")
    if row.status == status:
        raise Refusal(409, "INVALID_REQUEST", f"the budget at {scope_path} in {unit} is {status} already")
    return _put(books, evolve(row, status=status, updated_at_ms=now_ms))


def existing(books: Books, scope_path: str, unit: str, now_ms: int) -> Budget:
    """Return the budget as of *now_ms*."""
    row = books.budget(scope_path, unit)
    if row is None:
        raise Refusal(404, "BUDGET_NOT_FOUND", f"no budget at {scope_path} in {unit}")
    return renewals.as_of(row, now_ms)


def set_tenant(books: Books, tenant: Tenant, *, now_ms: int) -> Tenant:
    """Create or change a tenant; a closed one stays as it is.

    Closing releases what is held, closes every budget and revokes every key, all at once: a hold that outlived its
    tenant would be given back twice.
    """
    known = books.tenant(tenant.tenant_id)
    if known is not None and known.status == "CLOSED":
        if tenant.status != "CLOSED":
            raise Refusal(409, "TENANT_CLOSED", f"the tenant {tenant.tenant_id} is closed for good")
        return known
    tenant = evolve(tenant, created_at_ms=now_ms if known is None else known.created_at_ms, updated_at_ms=now_ms)
    if tenant.status == "CLOSED":
        leases.release_all(books, tenant.tenant_id, now_ms)
        for row in books.budgets_of(tenant.tenant_id):
            books.put_budget(evolve(row, status="CLOSED", updated_at_ms=now_ms))
        for key in books.keys(tenant.tenant_id):
            revoke(books, key, now_ms=now_ms, reason="the tenant was closed")
    books.put_tenant(tenant)
    return tenant


def revoke(books: Books, key: ApiKey, *, now_ms: int, reason: str | None = None) -> ApiKey:
    """Revoke an API key; one that was revoked before stays as it is."""
    if key.revoked_at_ms is None:
        key = evolve(key, revoked_at_ms=now_ms, revoked_reason=reason)
        books.put_key(key)
    return key


def _recomputed(row: Budget, **changes: Any) -> Budget:
    row = evolve(row, **changes)
    remaining = row.allocated - row.reserved - row.spent - row.debt
    return evolve(row, remaining=remaining, is_over_limit=row.debt > row.overdraft_limit)


def _must_take_funds(row: Budget) -> None:
    if row.status != "ACTIVE":
        raise Refusal(
            409, f"BUDGET_{row.status}", f"the budget at {row.scope_path} in {row.unit} is {row.status.lower()}"
        )


def _put(books: Books, row: Budget) -> Budget:
    if not fits(row):
        raise Refusal(400, "INVALID_REQUEST", f"the figures of {row.scope_path} would not fit int64")
    renewals.put(books, row)
    return row
