"""Values of rows in PostgreSQL's columns, and texts that no column holds."""

from __future__ import annotations

import json
from typing import Any, Final

from cycles.local.ledger.encoding import compact
from cycles.local.ledger.values import Budget
from cycles.local.store.encoding import Unreadable, with_period

_COLUMNS: Final = frozenset(
    {
        *("scope_path", "unit", "tenant", "status", "allocated", "remaining", "reserved", "spent", "debt"),
        *("overdraft_limit", "is_over_limit", "created_at_ms", "updated_at_ms"),
    }
)


def plain(text: str) -> str:
    """Return *text* as PostgreSQL can compare it: what has a NUL character is equal to nothing that is stored."""
    return text.replace("\0", "\uffff") if "\0" in text else text


def budget_row(budget: Budget) -> tuple[Any, ...]:
    """Return the columns of a budget, in the order of the table; what has none is in the last one."""
    rest = {name: value for name, value in vars(budget).items() if name not in _COLUMNS and value}
    return (
        *(budget.scope_path, budget.unit, budget.tenant, budget.status, budget.allocated, budget.remaining),
        *(budget.reserved, budget.spent, budget.debt, budget.overdraft_limit, budget.is_over_limit),
        *(budget.created_at_ms, budget.updated_at_ms, compact(rest)),
    )


def budget_of(row: Any) -> Budget:
    """Return the budget in a row's columns (lists.BUDGET_COLUMNS)."""
    (scope_path, unit, tenant, status, allocated, remaining, reserved, spent, debt, limit, is_over, *times, rest) = row
    try:
        return Budget(
            scope_path,
            unit,
            allocated,
            tenant,
            remaining,
            reserved,
            spent,
            debt,
            limit,
            is_over,
            status,
            created_at_ms=times[0],
            updated_at_ms=times[1],
            **({} if rest == "{}" else with_period(json.loads(rest))),
        )
    except (ValueError, TypeError) as error:
        raise Unreadable(Budget, error) from None
