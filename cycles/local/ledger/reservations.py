"""A reservation's hold and its budgets, and the checks that the operations on it share."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from cycles.local.ledger import renewals
from cycles.local.ledger.values import Budget, Hold, Refusal, Tenant, changed

if TYPE_CHECKING:
    from cycles.local.ledger.books import Books


def find(books: Books, tenant: str | None, reservation_id: str) -> Hold:
    """Return the reservation; *tenant* None is the administrator, who may see all."""
    hold = books.hold(reservation_id)
    if hold is None:
        raise Refusal(404, "NOT_FOUND", f"no reservation {reservation_id}")
    if tenant is not None and hold.tenant != tenant:
        raise Refusal(403, "FORBIDDEN", f"reservation {reservation_id} belongs to another tenant")
    return hold


def budgeted(books: Books, hold: Hold) -> list[Budget]:
    """Return the budgets that *hold* draws on, tenant first, each in the period in which it was made."""
    rows = [renewals.charged_by(books, hold, scope, number) for number, scope in enumerate(hold.budgeted)]
    return [row for row in rows if row is not None]


def given_back(books: Books, hold: Hold, now_ms: int) -> list[Budget]:
    """Return the budgets of *hold* as they are once they have its whole estimate back; writes nothing."""
    return [
        changed(
            row,
            reserved=row.reserved - hold.estimate,
            remaining=row.remaining + hold.estimate,
            updated_at_ms=now_ms,
        )
        for row in budgeted(books, hold)
    ]


# -- checks ----------------------------------------------------------------------------------------------------------
def open_tenant(books: Books, tenant_id: str) -> Tenant:
    """Return the tenant, one without a record with the default settings; refuse a closed one."""
    tenant = books.tenant(tenant_id) or _unrecorded(tenant_id)
    if tenant.status == "CLOSED":
        raise Refusal(409, "TENANT_CLOSED", f"the tenant {tenant_id} is closed")
    if tenant.status not in ("ACTIVE", "SUSPENDED"):
        raise Refusal(500, "INTERNAL_ERROR", f"the tenant {tenant_id} has an unknown status")
    return tenant


@lru_cache(256)
def _unrecorded(tenant_id: str) -> Tenant:
    """Return a tenant with the default settings."""
    return Tenant(tenant_id)


def must_be_active(hold: Hold) -> None:
    """Refuse a hold that was settled or has expired."""
    if hold.status == "EXPIRED":
        raise expired(hold)
    if hold.status != "ACTIVE":
        raise Refusal(409, "RESERVATION_FINALIZED", f"reservation {hold.reservation_id} is {hold.status} already")


def must_be_in_time(hold: Hold, last_ms: int, now_ms: int) -> None:
    """Refuse a request that comes after *last_ms*, swept or not."""
    if now_ms > last_ms:
        raise expired(hold)


def expired(hold: Hold) -> Refusal:
    """Return the refusal of a reservation that has expired."""
    return Refusal(410, "RESERVATION_EXPIRED", f"reservation {hold.reservation_id} expired at {hold.expires_at_ms} ms")
