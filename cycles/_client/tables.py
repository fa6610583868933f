"""Lists as notebooks show them: small HTML tables, in amounts that people read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles_api import shown
from cycles_api.models.balance import Balance
from cycles_api.models.reservation_summary import ReservationSummary

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_ROWS: Final = 50
"""Rows of a list that are shown."""


def rows_table(rows: Sequence[Any], *, more: bool) -> str:
    """Return the first of *rows*, which are budgets or reservations, as a table; *more* is whether others follow."""
    first = rows[:MOST_ROWS]
    note = "more rows follow" if more or len(rows) > len(first) else None
    if not first:
        return "<p>no rows</p>"
    if isinstance(first[0], Balance):
        return shown.table(shown.BALANCE, map(shown.balance_cells, first), note)
    if isinstance(first[0], ReservationSummary):
        return shown.table(shown.RESERVATION, map(shown.reservation_cells, first), note)
    return shown.table(("row",), ([row] for row in first), note)


def rows_line(kind: str, rows: Sequence[Any], *, more: bool) -> str:
    """Return the first of *rows* as text, each on a line of its own; *more* is whether others follow."""
    lines = [f"    {row!r}," for row in rows[:MOST_ROWS]]
    lines += ["    …"] if more or len(rows) > MOST_ROWS else []
    return "\n".join((f"{kind}(", *lines, ")"))
