"""The SQL of lists in SQLite: conditions, order, and the position where a page begins.

The names of columns are literals of this package, and every value is bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from cycles.local.store.protocols import BudgetQuery, EventQuery, HoldQuery, KeyQuery

_LEDGERS: Final = "SELECT budgets.data, terms.data FROM budgets LEFT JOIN terms USING (scope_path, unit)"


class _Conditions:
    """Terms that every row of a list fulfils, and the values that they compare with."""

    __slots__ = ("bound", "terms")

    def __init__(self) -> None:
        self.terms: Final[list[str]] = []
        self.bound: Final[list[Any]] = []

    def add(self, term: str, *bound: Any) -> None:
        self.terms.append(term)
        self.bound.extend(bound)

    def add_levels(self, levels: Iterable[tuple[str, str]]) -> None:
        """Let only paths through that hold all *levels* as whole segments."""
        for level, value in levels:
            segment = value.replace("/", "//")  # no value has a slash, so this one must not span two segments
            self.add("instr('/' || scope_path || '/', ?) > 0", f"/{level}:{segment}/")

    def __str__(self) -> str:
        return " AND ".join(self.terms) or "1"


def holds(
    connection: sqlite3.Connection, query: HoldQuery, after: tuple[int | str, str] | None, most: int
) -> Iterator[tuple[str]]:
    """Return the data of reservations; see `StoredBooks.find_holds`."""
    column, down = query.order_by, query.descending
    where = _Conditions()
    where.add("tenant = ?", query.tenant)
    if query.status == "ACTIVE":
        where.add("status = 'ACTIVE'")  # in the text, or SQLite could not use the index of these
    elif query.status:
        where.add("status = ?", query.status)
    if query.key is not None:
        where.add("idempotency_key = ?", query.key)
    where.add_levels(query.levels)
    windows = {"created_at_ms": query.created, "expires_at_ms": query.expires, "finalized_at_ms": query.finalized}
    for name, window in windows.items():
        for sign, moment in zip((">=", "<="), window, strict=True):
            if moment is not None:
                where.add(f"{name} {sign} ?", moment)
    if after is not None:
        # By the first term an index finds its place, however far down the list that is.
        where.add(f"{column} {'<=' if down else '>='} ?", after[0])
        where.add(f"({column} != ? OR reservation_id > ?)", *after)
    return connection.execute(
        f"SELECT data FROM {_source(query)} WHERE {where} "  # noqa: S608
        f"ORDER BY {column} {'DESC' if down else 'ASC'}, reservation_id LIMIT ?",
        (*where.bound, most),
    )


def _source(query: HoldQuery) -> str:
    """Return the table that a list is read from, and its index.

    SQLite would choose the index that has the right order, and go through all that a tenant ever had for the few that
    are wanted: those with a key, or the live ones.
    """
    if query.key is not None:
        return "holds INDEXED BY holds_by_key"
    return "holds INDEXED BY holds_by_deadline" if query.status == "ACTIVE" else "holds"


def live_holds(connection: sqlite3.Connection, tenant: str | None, most: int) -> list[tuple[str]]:
    """Return the data of ACTIVE reservations in the order in which they end."""
    where = _Conditions()
    if tenant is not None:
        where.add("tenant = ?", tenant)
    where.add("status = 'ACTIVE'")
    return connection.execute(
        f"SELECT data FROM holds WHERE {where} ORDER BY deadline_ms LIMIT ?",  # noqa: S608
        (*where.bound, most),
    ).fetchall()


def events(
    connection: sqlite3.Connection, query: EventQuery, after: tuple[int, str] | None, most: int
) -> Iterator[tuple[str]]:
    """Return the data of events, newest first."""
    where = _Conditions()
    if query.tenant is not None:
        where.add("tenant = ?", query.tenant)
    if query.key is not None:
        where.add("idempotency_key = ?", query.key)
    where.add_levels(query.levels)
    for sign, moment in zip((">=", "<="), query.created, strict=True):
        if moment is not None:
            where.add(f"created_at_ms {sign} ?", moment)
    if after is not None:
        where.add("(created_at_ms, event_id) < (?, ?)", *after)
    return connection.execute(
        f"SELECT data FROM events WHERE {where} ORDER BY created_at_ms DESC, event_id DESC LIMIT ?",  # noqa: S608
        (*where.bound, most),
    )


def budgets(
    connection: sqlite3.Connection, query: BudgetQuery, after: tuple[str, str] | None, most: int
) -> list[tuple[str]]:
    """Return the data of budgets by scope path and unit."""
    where = _of_budgets(query, after)
    return connection.execute(
        f"SELECT data FROM budgets WHERE {where} ORDER BY scope_path, unit LIMIT ?",  # noqa: S608
        (*where.bound, most),
    ).fetchall()


def ledgers(
    connection: sqlite3.Connection, query: BudgetQuery, after: tuple[str, str] | None, most: int
) -> Iterator[tuple[str, str | None]]:
    """Return the data of budgets and of their terms, by scope path and unit."""
    where = _of_budgets(query, after)
    return connection.execute(f"{_LEDGERS} WHERE {where} ORDER BY scope_path, unit LIMIT ?", (*where.bound, most))


def _of_budgets(query: BudgetQuery, after: tuple[str, str] | None) -> _Conditions:
    where = _Conditions()
    wanted = {
        "tenant = ?": query.tenant,
        "unit = ?": query.unit,
        "json_extract(budgets.data, '$.status') = ?": query.status,
        "json_extract(budgets.data, '$.is_over_limit') = ?": query.is_over_limit,
        "(json_extract(budgets.data, '$.debt') > 0) = ?": query.has_debt,
    }
    for term, value in wanted.items():
        if value is not None:
            where.add(term, value)
    where.add_levels(query.levels)
    if query.prefix:
        where.add("substr(scope_path, 1, length(?)) = ?", query.prefix, query.prefix)
    if query.within:
        within = " OR ".join(["(scope_path = ? OR substr(scope_path, 1, length(?)) = ?)"] * len(query.within))
        where.add(f"({within})", *(value for scope in query.within for value in (scope, f"{scope}/", f"{scope}/")))
    if after is not None:
        where.add("(scope_path, unit) > (?, ?)", *after)
    return where


def keys(
    connection: sqlite3.Connection, query: KeyQuery, after: tuple[int, str] | None, most: int, now_ms: int
) -> Iterator[tuple[str]]:
    """Return the data of API keys, newest first."""
    where = _Conditions()
    if query.tenant is not None:
        where.add("tenant = ?", query.tenant)
    if query.status == "REVOKED":
        where.add("revoked_at_ms IS NOT NULL")
    elif query.status:
        is_expired = int(query.status == "EXPIRED")
        where.add(f"revoked_at_ms IS NULL AND coalesce(expires_at_ms <= ?, 0) = {is_expired}", now_ms)
    if after is not None:
        where.add("(created_at_ms < ? OR (created_at_ms = ? AND key_id > ?))", after[0], *after)
    return connection.execute(
        f"SELECT data FROM keys WHERE {where} ORDER BY created_at_ms DESC, key_id LIMIT ?",  # noqa: S608
        (*where.bound, most),
    )
