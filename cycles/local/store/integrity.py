"""Checks of a ledger file: a quick one when it is opened, and a thorough one when somebody asks.

SQLite keeps a file whole through killed processes and lost power. These checks look for what others do to it: a copy
that ended early, a disk that lost a write, another program that wrote into it.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from itertools import repeat
from typing import TYPE_CHECKING, Final

from cycles.amounts import spelled
from cycles.local.ledger.charging import fits
from cycles.local.store import schema, tenants

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
_MOST_PROBLEMS: Final = 20

_ROWS: Final[dict[str, tuple[str, str, dict[str, type], tuple[str, ...]]]] = {
    "budgets": (
        "budget",
        "scope_path || ' in ' || unit",
        {
            **dict.fromkeys(("scope_path", "unit", "tenant", "status"), str),
            **dict.fromkeys(("allocated", "remaining", "reserved", "spent", "debt", "overdraft_limit"), int),
            "is_over_limit": bool,
        },
        ("scope_path", "unit", "tenant"),
    ),
    "holds": (
        "reservation",
        "reservation_id",
        {
            **dict.fromkeys(("reservation_id", "tenant", "unit", "idempotency_key", "overage_policy", "status"), str),
            **dict.fromkeys(("estimate", "created_at_ms", "expires_at_ms", "grace_ms", "max_extensions"), int),
            **dict.fromkeys(("affected", "budgeted"), list),
            **dict.fromkeys(("subject", "action"), dict),
        },
        ("reservation_id", "tenant", "unit", "estimate", "status", "idempotency_key", "expires_at_ms"),
    ),
    "events": (
        "event",
        "event_id",
        {
            **dict.fromkeys(("event_id", "tenant", "unit", "idempotency_key"), str),
            **dict.fromkeys(("actual", "charged", "created_at_ms"), int),
            **dict.fromkeys(("subject", "action"), dict),
            "affected": list,
        },
        ("event_id", "tenant", "unit", "idempotency_key", "charged", "created_at_ms"),
    ),
    "tenants": ("tenant", "tenant_id", {"tenant_id": str, "status": str}, ("tenant_id",)),
    "keys": ("key", "key_id", dict.fromkeys(("key_id", "key_hash", "tenant"), str), ("key_id", "key_hash", "tenant")),
}
"""Of each table: what a row is, its name, the fields that it must have, and those that are columns as well."""

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
        change = schema.change_of(books.connection)
        problems = [] if change is None else [change]
        problems += _odd_rows(books.connection)
        problems += tenants.that_share(books.connection)
        return problems or _wrong_figures(books)
    except (sqlite3.DatabaseError, ValueError, TypeError, KeyError) as error:
        return [f"it can't be read: {error}"]


def _odd_rows(connection: sqlite3.Connection) -> list[str]:
    """Return what is wrong with rows one by one: fields that are missing, or of another kind, or differ from a column.

    A row that an earlier version wrote lacks the fields that came later; those have a default, and are not money.
    """
    problems = []
    for table, (noun, name, needed, same) in _ROWS.items():
        for data, *columns in connection.execute(f"SELECT data, {', '.join((name, *same))} FROM {table}"):  # noqa: S608
            at = f"the {noun} {columns[0]}"
            try:
                values = json.loads(data)
            except ValueError:
                values = None
            if not isinstance(values, dict):
                problems.append(f"{at} is no JSON object")
                continue
            problems += [f"{at} has no {field}" for field in needed if field not in values]
            problems += [
                f"{at} has {values[field]!r} as its {field}"
                for field, kind in needed.items()
                if field in values and type(values[field]) is not kind
            ]
            problems += [
                f"{at} has two values of {field}: {values[field]!r} and {column!r}"
                for field, column in zip(same, columns[1:], strict=True)
                if field in values and values[field] != column
            ]
            if len(problems) > _MOST_PROBLEMS:
                return problems
    return problems


def _wrong_figures(books: SqliteBooks) -> list[str]:
    held: dict[tuple[str, str, int], int] = defaultdict(int)
    for (data,) in books.connection.execute("SELECT data FROM holds WHERE status = 'ACTIVE'"):
        hold = books.hold_of(data)
        for scope, renewals in zip(hold.budgeted, hold.renewals or repeat(0)):  # noqa: B905 - endless
            held[scope, hold.unit, renewals] += hold.estimate
    problems = []
    rows = [(row, "") for row in books.all_budgets()]
    rows += [(row, f" (the period before renewal {row.renewals + 1})") for row in books.all_past()]
    for row, which in rows:
        at = f"{row.scope_path} in {row.unit}{which}"
        if row.remaining != row.allocated - row.reserved - row.spent - row.debt or not fits(row):
            problems.append(f"the figures of {at} do not add up")
        in_holds = held[row.scope_path, row.unit, row.renewals]
        if row.reserved != in_holds:
            problems.append(
                f"{at} has {spelled(row.unit, row.reserved)} reserved, "
                f"and its reservations hold {spelled(row.unit, in_holds)}"
            )
    return problems


def _found(connection: sqlite3.Connection, check: str) -> str | None:
    rows = [str(text) for (text,) in connection.execute(check)]
    return None if rows == ["ok"] else "; ".join(rows)
