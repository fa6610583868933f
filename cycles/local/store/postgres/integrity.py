"""What is wrong with a ledger in PostgreSQL, added up by the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles.amounts import spelled
from cycles.local.ledger.charging import fits
from cycles.local.store.encoding import Unreadable

if TYPE_CHECKING:
    from cycles.local.store.postgres.rows import PostgresBooks

_MOST_PROBLEMS: Final = 20

_FIGURES: Final = """
SELECT scope_path, unit FROM cycles_budgets
WHERE remaining::numeric <> allocated::numeric - reserved - spent - debt
   OR least(allocated, reserved, spent, debt, overdraft_limit) < 0
ORDER BY scope_path, unit LIMIT %s
"""
"""Budgets that do not add up; the table's own constraints refuse them, unless somebody dropped those."""

_HELD: Final = """
SELECT s.scope_path, h.unit, coalesce(s.renewals, 0), sum(h.estimate)
FROM cycles_holds h CROSS JOIN unnest(h.budgeted, h.renewals) AS s(scope_path, renewals)
WHERE h.status = 'ACTIVE' GROUP BY 1, 2, 3
"""
"""What live reservations hold, in each period of a budget."""

_ODD_HOLDS: Final = """
SELECT reservation_id FROM cycles_holds
WHERE status NOT IN ('ACTIVE', 'COMMITTED', 'RELEASED', 'EXPIRED') OR cardinality(budgeted) = 0
   OR (status = 'COMMITTED') <> (charged IS NOT NULL)
   OR (status IN ('COMMITTED', 'RELEASED')) <> (finalized_at_ms IS NOT NULL)
ORDER BY reservation_id LIMIT %s
"""

_COLUMNS: Final = (
    "reservation_id",
    "tenant",
    "unit",
    "estimate",
    "status",
    "expires_at_ms",
    "finalized_at_ms",
    "charged",
)


def problems_of(books: PostgresBooks) -> list[str]:
    """Return everything that is wrong with a ledger, for people; see `Store.problems`."""
    problems = [f"the figures of {scope} in {unit} do not add up" for scope, unit in _found(books, _FIGURES)]
    problems += [f"the reservation {name} has a state that there is not" for (name,) in _found(books, _ODD_HOLDS)]
    try:
        problems += _wrong_budgets(books)
        problems += _unlike_their_columns(books)
        books.tenants()
        books.keys()
    except Unreadable as error:
        problems.append(f"it can't be read: {error}")
    return problems[:_MOST_PROBLEMS]


def _wrong_budgets(books: PostgresBooks) -> list[str]:
    """Return the budgets, and periods of them that are over, whose reserved part is not what reservations hold."""
    held = {tuple(key): int(amount) for *key, amount in books.connection.execute(_HELD.encode())}
    rows = [(row, "") for row in books.all_budgets()]
    rows += [(row, f" (the period before renewal {row.renewals + 1})") for row in books.all_past()]
    problems = []
    for row, which in rows:
        at, in_holds = f"{row.scope_path} in {row.unit}{which}", held.get((row.scope_path, row.unit, row.renewals), 0)
        if row.reserved != in_holds:
            reserved = spelled(row.unit, row.reserved)
            problems.append(f"{at} has {reserved} reserved, and its reservations hold {spelled(row.unit, in_holds)}")
        if not fits(row):
            problems.append(f"the figures of {at} do not fit")
        if which and row.remaining != row.allocated - row.reserved - row.spent - row.debt:  # no constraint holds these
            problems.append(f"the figures of {at} do not add up")
    return problems


def _found(books: PostgresBooks, statement: str) -> list[tuple[Any, ...]]:
    return books.connection.execute(statement.encode(), (_MOST_PROBLEMS,)).fetchall()


def _unlike_their_columns(books: PostgresBooks) -> list[str]:
    """Return what reservations say twice, and not the same way: columns are searched by, and the rest is read."""
    problems = []
    for hold, columns in books.every_hold(_COLUMNS):
        for name, column in zip(_COLUMNS, columns, strict=True):
            value = getattr(hold, name)
            if value != column:
                problems.append(
                    f"the reservation {hold.reservation_id} has two values of {name}: {value!r} and {column!r}"
                )
        if len(problems) > _MOST_PROBLEMS:
            break
    return problems
