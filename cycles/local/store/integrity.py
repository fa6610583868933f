"""Checks of a ledger file: a quick one when it is opened, and a thorough one when somebody asks.

SQLite keeps a file whole through killed processes and lost power. These checks look for what others do to it: a copy
that ended early, a disk that lost a write, another program that wrote into it.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from cycles.local.ledger.charging import fits

if TYPE_CHECKING:
    from cycles.local.store.rows import SqliteBooks

SMALL: Final = 1024 * 1024
"""Bytes of a file that is checked as a whole when it is opened, which takes a millisecond or two."""

_OF_AN_OPERATOR: Final = ("tenants", "budgets", "keys")
_OF_REQUESTS: Final = ("holds", "replays")
_BOTH_ENDS: Final = (  # each by an index
    "holds ORDER BY rowid",
    "holds WHERE status = 'ACTIVE' ORDER BY deadline_ms",
    "replays ORDER BY keep_until_ms",
)
_CHECKS_A_TABLE: Final = sqlite3.sqlite_version_info >= (3, 33)


def damage_of(connection: sqlite3.Connection, size: int) -> str | None:
    """Return what is wrong with a ledger file of *size* bytes, or None; how long it takes is bounded.

    In a larger file it checks the tables of budgets, tenants and keys, and only both ends of reservations and replays:
    a million of them would take seconds. `problems_of` finds the rest.

    Raises:
        sqlite3.DatabaseError: when it can't even be read; a file that was cut off always ends here or in damage.
    """
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    missing = {*_OF_AN_OPERATOR, *_OF_REQUESTS} - there
    if missing:
        return f"it has no table {min(missing)}"
    if size <= SMALL:
        return _found(connection, "PRAGMA quick_check(1)")
    for table in _OF_AN_OPERATOR if _CHECKS_A_TABLE else ():
        damage = _found(connection, f"PRAGMA quick_check('{table}')")
        if damage is not None:
            return damage
    for rows in _BOTH_ENDS:
        for order in ("ASC", "DESC"):
            connection.execute(f"SELECT data FROM {rows} {order} LIMIT 1").fetchall()  # noqa: S608 - ours
    return None


def problems_of(books: SqliteBooks) -> list[str]:
    """Return everything that is wrong with a ledger, for people; see `Store.problems`."""
    try:
        damage = _found(books.connection, "PRAGMA integrity_check(20)")
        if damage is not None:
            return [damage]
        held: dict[tuple[str, str], int] = defaultdict(int)
        for (data,) in books.connection.execute("SELECT data FROM holds WHERE status = 'ACTIVE'"):
            hold = books.hold_of(data)
            for scope in hold.budgeted:
                held[scope, hold.unit] += hold.estimate
        problems = []
        for row in books.all_budgets():
            at = f"{row.scope_path} in {row.unit}"
            if row.remaining != row.allocated - row.reserved - row.spent - row.debt or not fits(row):
                problems.append(f"the figures of {at} do not add up")
            if row.reserved != held[row.scope_path, row.unit]:
                problems.append(
                    f"{at} has {row.reserved} reserved, and its reservations hold {held[row.scope_path, row.unit]}"
                )
    except (sqlite3.DatabaseError, ValueError, TypeError, KeyError) as error:
        return [f"it can't be read: {error}"]
    return problems


def _found(connection: sqlite3.Connection, check: str) -> str | None:
    rows = [str(text) for (text,) in connection.execute(check)]
    return None if rows == ["ok"] else "; ".join(rows)
