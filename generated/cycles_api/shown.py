# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
"""Amounts, budgets and reservations as people read them: in reprs, and as the tables of notebooks.

What an authority has sent is escaped, and metadata and idempotency keys are left out: they may hold what is nobody's
business. The tables have no colours of their own, so that they are readable in the dark, too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

from .types import Unset

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .models.balance import Balance
    from .models.reservation_detail import ReservationDetail
    from .models.reservation_summary import ReservationSummary

MICROCENTS_PER_USD: Final = 10**8
LONGEST: Final = 300
"""Characters of one text that are shown."""

BALANCE: Final = ("scope", "remaining", "reserved", "spent", "debt", "allocated")
RESERVATION: Final = ("reservation", "status", "action", "scope", "reserved", "charged", "created", "expires")


# -- values ------------------------------------------------------------------------------------------------------------
def printable(value: object) -> str:
    """Return *value* as one line: what would move the cursor or turn the text around is escaped."""
    text = str(value)
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    if cut.isprintable():
        return cut
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in cut)


def money(amount: Any) -> str:
    """Return an amount, which may be negative: "$0.05", "1,200 TOKENS"."""
    unit, count = amount.unit, amount.amount
    if type(count) is not int:  # whoever made it by hand sees what it is
        return f"unit={printable(unit)!r}, amount={printable(repr(count))}"
    if unit != "USD_MICROCENTS":
        return f"{count:,} {printable(unit)}"
    sign = "-" if count < 0 else ""
    dollars, microcents = divmod(abs(count), MICROCENTS_PER_USD)
    fraction = f"{microcents:08d}".rstrip("0").ljust(2, "0")
    return f"{sign}${dollars:,}.{fraction}"


def moment(milliseconds: int) -> str:
    """Return a time of the authority, in UTC."""
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (OverflowError, ValueError, OSError):  # an int64 reaches beyond the year 9999
        return f"{milliseconds} ms"


def _is_some(amount: Any) -> bool:
    return amount is not None and not isinstance(amount, Unset) and amount.amount != 0


# -- reprs -------------------------------------------------------------------------------------------------------------
def amount_line(amount: Any) -> str:
    """Return an amount as its repr: `Amount($0.05)`."""
    return f"{type(amount).__name__}({money(amount)})"


def balance_line(row: Balance) -> str:
    """Return a budget as its repr: `Balance(tenant:acme, $3.20 of $5.00 left, $0.10 held)`."""
    allocated = "" if isinstance(row.allocated, Unset) else f" of {money(row.allocated)}"
    parts = [printable(row.scope_path), f"{money(row.remaining)}{allocated} left"]
    parts += [f"{money(row.reserved)} held"] if _is_some(row.reserved) else []
    parts += [f"{money(row.debt)} owed"] if _is_some(row.debt) else []
    parts += ["over its limit"] if row.is_over_limit is True else []
    return f"{type(row).__name__}({', '.join(parts)})"


def reservation_line(row: ReservationSummary | ReservationDetail) -> str:
    """Return a reservation as its repr: who asked for what, and what became of it."""
    held, action = money(row.reserved), f"{printable(row.action.kind)}/{printable(row.action.name)}"
    if row.status == "ACTIVE":
        became = f"{held} held until {moment(row.expires_at_ms)}"
    elif isinstance(row.committed, Unset):
        became = f"{held} was held"
    else:
        became = f"{money(row.committed)} charged of {held} held"
    parts = (printable(row.reservation_id), printable(row.status), action, printable(row.scope_path), became)
    return f"{type(row).__name__}({', '.join(parts)})"


# -- tables ------------------------------------------------------------------------------------------------------------
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
    return f"<td>{escape(printable(value))}</td>"


def balance_cells(row: Balance) -> Sequence[object]:
    """Return a budget as the cells below `BALANCE`."""
    return (row.scope_path, row.remaining, row.reserved, row.spent, row.debt, row.allocated)


def reservation_cells(row: ReservationSummary | ReservationDetail) -> Sequence[object]:
    """Return a reservation as the cells below `RESERVATION`."""
    action, created, expires = f"{row.action.kind}/{row.action.name}", row.created_at_ms, row.expires_at_ms
    status = (row.reservation_id, row.status, action, row.scope_path)
    return (*status, row.reserved, row.committed, moment(created), moment(expires))


def balance_table(row: Balance) -> str:
    """Return one budget as a notebook shows it."""
    return table(BALANCE, [balance_cells(row)])


def reservation_table(row: ReservationSummary | ReservationDetail) -> str:
    """Return one reservation as a notebook shows it."""
    return table(RESERVATION, [reservation_cells(row)])
