"""Spending that no hold covers, by overage policy, and the check that every figure of a budget fits int64."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cycles.amounts import spelled
from cycles.local.ledger import renewals
from cycles.local.ledger.values import INT64_MAX, INT64_MIN, Budget, Refusal, changed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cycles.local.ledger.books import Books


def spend(budgets: list[Budget], wanted: int, policy: str) -> tuple[int, list[Budget]]:
    """Take up to *wanted* out of what remains, by *policy*; return what was taken, and the budgets after it.

    Nobody pays more than the poorest budget that may not owe can give; what was not covered marks those budgets.
    """
    if policy == "REJECT":  # an event, whose gate has checked that every budget has enough
        return wanted, [changed(row, remaining=row.remaining - wanted, spent=row.spent + wanted) for row in budgets]
    owing = policy == "ALLOW_WITH_OVERDRAFT"
    taken = min([wanted, *(max(row.remaining, 0) for row in budgets if not (owing and row.overdraft_limit > 0))])
    for row in budgets:
        deficit = taken - max(row.remaining, 0)
        may_owe = owing and row.overdraft_limit > 0
        # A scope below zero is looked at even when nothing is taken: its debt may be past a limit that was lowered.
        if may_owe and row.remaining < taken and row.debt + deficit > row.overdraft_limit:
            raise Refusal(
                409,
                "OVERDRAFT_LIMIT_EXCEEDED",
                f"{row.scope_path} would owe {spelled(row.unit, row.debt + deficit)}, "
                f"and may owe {spelled(row.unit, row.overdraft_limit)}",
                {
                    "scope": row.scope_path,
                    "remaining": row.remaining,
                    "unit": row.unit,
                    "overdraft_limit": row.overdraft_limit,
                    "debt": row.debt,
                },
            )
    after = []
    for row in budgets:
        funded = min(taken, max(row.remaining, 0))
        capping = not (owing and row.overdraft_limit > 0)
        short_of_all = taken < wanted and capping and row.remaining < wanted
        after.append(
            changed(
                row,
                remaining=row.remaining - taken,
                spent=row.spent + funded,
                debt=row.debt + taken - funded,
                is_over_limit=row.is_over_limit or short_of_all,
            )
        )
    return taken, after


def fits(row: Budget) -> bool:
    """Whether every figure of *row* is what the protocol can say."""
    figures = (row.allocated, row.reserved, row.spent, row.debt, row.overdraft_limit)
    return min(figures) >= 0 and max(figures) <= INT64_MAX and INT64_MIN <= row.remaining <= INT64_MAX


def put_all(books: Books, budgets: Iterable[Budget]) -> None:
    """Write budgets, all of them or none: every figure must fit int64."""
    rows = list(budgets)
    for row in rows:
        if not fits(row):
            raise Refusal(500, "INTERNAL_ERROR", f"the figures of {row.scope_path} would not fit int64")
    for row in rows:
        renewals.put(books, row)
