"""Budgets that scopes get when they are first used, such as each workspace of acme: `tenant:acme/workspace:*`.

They are kept in the tenant's record, which every request reads anyway. A row is made by the first reserve or event that
needs it and is not refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from cycles.local.ledger import renewals
from cycles.local.ledger.values import Budget, Default, Refusal, Tenant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cycles.local.ledger.books import Books


def first_row(settings: Tenant, scope_path: str, unit: str, now_ms: int) -> Budget | None:
    """Return the row that *scope_path* begins with, by the default that names most of it; None: there is none."""
    fitting = [each for each in settings.defaults if each.unit == unit and _fits(each.pattern, scope_path)]
    if not fitting:
        return None
    return row_of(max(fitting, key=lambda each: _names(each.pattern)), scope_path, now_ms)


def row_of(default: Default, scope_path: str, now_ms: int) -> Budget:
    """Return the row that *scope_path* begins with by *default*."""
    tenant = scope_path.partition("/")[0].removeprefix("tenant:")
    row = Budget(scope_path, default.unit, default.amount, tenant, created_at_ms=now_ms, updated_at_ms=now_ms)
    if default.period is None:
        return row
    return evolve(row, period=renewals.begun(default.period, default.zone, default.amount, now_ms))


def first_rows(tenants: Iterable[Tenant], now_ms: int) -> list[Budget]:
    """Return what scopes of *tenants* begin with: rows whose paths have "*" as a value."""
    return [row_of(default, default.pattern, now_ms) for tenant in tenants for default in sorted(tenant.defaults)]


def set_default(books: Books, default: Default, *, now_ms: int, keeps: bool) -> Budget:
    """Set what scopes of a pattern begin with, and return such a row; rows that are there stay as they are.

    Args:
        books: The ledger.
        default: What to set.
        now_ms: The time.
        keeps: Whether a default that is there stays.
    """
    tenant_id = default.pattern.partition("/")[0].removeprefix("tenant:")
    known = books.tenant(tenant_id) or Tenant(tenant_id, created_at_ms=now_ms)
    if known.status == "CLOSED":
        raise Refusal(409, "TENANT_CLOSED", f"the tenant {tenant_id} is closed")
    there = next((each for each in known.defaults if each[:2] == default[:2]), None)
    if there is not None and keeps:
        return row_of(there, there.pattern, now_ms)
    row = row_of(default, default.pattern, now_ms)
    others = tuple(each for each in known.defaults if each is not there)
    books.put_tenant(evolve(known, defaults=(*others, default), updated_at_ms=now_ms))
    return row


def forget_default(books: Books, pattern: str, unit: str, *, now_ms: int) -> Budget:
    """Let scopes of *pattern* begin with nothing any more; rows that are there stay."""
    known = books.tenant(pattern.partition("/")[0].removeprefix("tenant:"))
    defaults = () if known is None else known.defaults
    there = next((each for each in defaults if (each.pattern, each.unit) == (pattern, unit)), None)
    if known is None or there is None:
        raise Refusal(404, "BUDGET_NOT_FOUND", f"no default at {pattern} in {unit}")
    books.put_tenant(
        evolve(known, defaults=tuple(each for each in defaults if each is not there), updated_at_ms=now_ms)
    )
    return evolve(row_of(there, pattern, now_ms), status="CLOSED")


def _fits(pattern: str, scope_path: str) -> bool:
    wanted, found = pattern.split("/"), scope_path.split("/")
    return len(wanted) == len(found) and all(
        mine == theirs or (mine.endswith(":*") and theirs.startswith(mine[:-1]))
        for mine, theirs in zip(wanted, found, strict=True)
    )


def _names(pattern: str) -> tuple[bool, ...]:
    """Return which segments a pattern names, as a key by which the one that names a wider scope comes last."""
    return tuple(not segment.endswith(":*") for segment in pattern.split("/"))
