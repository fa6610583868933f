"""Lists and reservations as notebooks show them: small HTML tables, in amounts that people read."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

from cycles.amounts import describe
from cycles_api.models.amount import Amount
from cycles_api.models.balance import Balance
from cycles_api.models.reservation_summary import ReservationSummary
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_ROWS: Final = 50
"""Rows of a list that a notebook shows."""

_BALANCE: Final = ("scope", "remaining", "reserved", "spent", "allocated")
_RESERVATION: Final = ("reservation", "status", "action", "scope", "reserved", "charged", "created")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], note: str | None = None) -> str:
    """Return an HTML table; None is an empty cell, and everything is escaped."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    told = "" if note is None else f"<p>{escape(note)}</p>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{told}"


def _cell(value: object) -> str:
    if value is None or isinstance(value, Unset):
        return "<td></td>"
    if hasattr(value, "unit") and hasattr(value, "amount"):
        return f'<td style="text-align: right">{escape(money(value))}</td>'
    return f"<td>{escape(str(value))}</td>"


def money(amount: Any) -> str:
    """Return an amount, or one that may be negative, as people read it."""
    return describe(Amount(unit=amount.unit, amount=amount.amount))


def rows_table(rows: Sequence[Any], *, more: bool) -> str:
    """Return the first of *rows*, which are budgets or reservations, as a table; *more* is whether others follow."""
    shown = rows[:MOST_ROWS]
    note = "more rows follow" if more or len(rows) > len(shown) else None
    if not shown:
        return "<p>no rows</p>"
    if isinstance(shown[0], Balance):
        return table(_BALANCE, map(_balance_cells, shown), note)
    if isinstance(shown[0], ReservationSummary):
        return table(_RESERVATION, map(_reservation_cells, shown), note)
    return table(("row",), ([row] for row in shown), note)


def _balance_cells(row: Balance) -> Sequence[object]:
    return (row.scope_path, row.remaining, row.reserved, row.spent, row.allocated)


def _reservation_cells(row: ReservationSummary) -> Sequence[object]:
    action = f"{row.action.kind} {row.action.name}"
    created = _moment(row.created_at_ms)
    return (row.reservation_id, row.status, action, row.scope_path, row.reserved, row.committed, created)


def _moment(milliseconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (OverflowError, ValueError, OSError):
        return f"{milliseconds} ms"
