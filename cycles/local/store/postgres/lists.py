"""The SQL of lists in PostgreSQL: conditions, order, and the position where a page begins.

The names of columns are literals of this package, and every value is bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles.local.store.postgres.values import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cycles.local.store.protocols import BudgetQuery, EventQuery, HoldQuery, KeyQuery

BUDGET_COLUMNS: Final = (
    "b.scope_path, b.unit, b.tenant, b.status, b.allocated, b.remaining, b.reserved, b.spent, b.debt, "
    "b.overdraft_limit, b.is_over_limit, b.created_at_ms, b.updated_at_ms, b.rest"
)
"""The columns of a budget, of the table or part of a query that is called b."""


class Selection(NamedTuple):
    """A query and the values in it."""

    sql: str
    bound: tuple[Any, ...]


class _Conditions:
    """Terms that every row of a list fulfils, and the values that they compare with."""

    __slots__ = ("bound", "terms")

    def __init__(self) -> None:
        self.terms: Final[list[str]] = []
        self.bound: Final[list[Any]] = []

    def add(self, term: str, *bound: Any) -> None:
        self.terms.append(term)
        self.bound.extend(plain(value) if isinstance(value, str) else value for value in bound)

    def add_levels(self, levels: Iterable[tuple[str, str]]) -> None:
        """Let only paths through that hold all *levels* as whole segments."""
        for level, value in levels:
            segment = value.replace("/", "//")  # no value has a slash, so this one must not span two segments
            self.add("strpos('/' || scope_path || '/', %s) > 0", f"/{level}:{segment}/")

    def __str__(self) -> str:
        return " AND ".join(self.terms) or "true"


def holds(query: HoldQuery, after: tuple[int | str, str] | None, most: int) -> Selection:
    """Select the data of reservations; see `StoredBooks.find_holds`."""
    column, down = query.order_by, query.descending
    where = _Conditions()
    where.add("tenant = %s", query.tenant)
    if query.status:
        where.add("status = %s", query.status)
    if query.key is not None:
        where.add("idempotency_key = %s", query.key.encode())
    where.add_levels(query.levels)
    windows = {"created_at_ms": query.created, "expires_at_ms": query.expires, "finalized_at_ms": query.finalized}
    for name, window in windows.items():
        for sign, moment in zip((">=", "<="), window, strict=True):
            if moment is not None:
                where.add(f"{name} {sign} %s", moment)
    if after is not None:
        # By the first term an index finds its place, however far down the list that is.
        where.add(f"{column} {'<=' if down else '>='} %s", after[0])
        where.add(f"({column} <> %s OR reservation_id > %s)", *after)
    sql = (
        f"SELECT data FROM cycles_holds WHERE {where} "  # noqa: S608
        f"ORDER BY {column} {'DESC' if down else 'ASC'}, reservation_id LIMIT %s"
    )
    return Selection(sql, (*where.bound, most))


def live_holds(tenant: str | None, most: int) -> Selection:
    """Select the data of ACTIVE reservations in the order in which they end."""
    where = _Conditions()
    if tenant is not None:
        where.add("tenant = %s", tenant)
    where.add("status = 'ACTIVE'")
    sql = f"SELECT data FROM cycles_holds WHERE {where} ORDER BY deadline_ms, number LIMIT %s"  # noqa: S608
    return Selection(sql, (*where.bound, most))


def events(query: EventQuery, after: tuple[int, str] | None, most: int) -> Selection:
    """Select the data of events, newest first."""
    where = _Conditions()
    if query.tenant is not None:
        where.add("tenant = %s", query.tenant)
    if query.key is not None:
        where.add("idempotency_key = %s", query.key.encode())
    where.add_levels(query.levels)
    for sign, moment in zip((">=", "<="), query.created, strict=True):
        if moment is not None:
            where.add(f"created_at_ms {sign} %s", moment)
    if after is not None:
        where.add("(created_at_ms, event_id) < (%s, %s)", *after)
    sql = f"SELECT data FROM cycles_events WHERE {where} ORDER BY created_at_ms DESC, event_id DESC LIMIT %s"  # noqa: S608
    return Selection(sql, (*where.bound, most))


def budgets(query: BudgetQuery, after: tuple[str, str] | None, most: int) -> Selection:
    """Select budgets by scope path and unit."""
    where = _of_budgets(query, after)
    sql = f"SELECT {BUDGET_COLUMNS} FROM cycles_budgets b WHERE {where} ORDER BY scope_path, unit LIMIT %s"  # noqa: S608
    return Selection(sql, (*where.bound, most))


def ledgers(query: BudgetQuery, after: tuple[str, str] | None, most: int) -> Selection:
    """Select budgets and the data of their terms, by scope path and unit."""
    where = _of_budgets(query, after)
    sql = (
        f"SELECT {BUDGET_COLUMNS}, t.data FROM cycles_budgets b LEFT JOIN cycles_terms t USING (scope_path, unit) "  # noqa: S608
        f"WHERE {where} ORDER BY scope_path, unit LIMIT %s"
    )
    return Selection(sql, (*where.bound, most))


def _of_budgets(query: BudgetQuery, after: tuple[str, str] | None) -> _Conditions:
    where = _Conditions()
    wanted = {
        "tenant = %s": query.tenant,
        "unit = %s": query.unit,
        "status = %s": query.status,
        "is_over_limit = %s": query.is_over_limit,
        "(debt > 0) = %s": query.has_debt,
    }
    for term, value in wanted.items():
        if value is not None:
            where.add(term, value)
    where.add_levels(query.levels)
    if query.prefix:
        where.add("starts_with(scope_path, %s)", query.prefix)
    if query.within:
        within = " OR ".join(["(scope_path = %s OR starts_with(scope_path, %s))"] * len(query.within))
        where.add(f"({within})", *(value for scope in query.within for value in (scope, f"{scope}/")))
    if after is not None:
        where.add("(scope_path, unit) > (%s, %s)", *after)
    return where


def keys(query: KeyQuery, after: tuple[int, str] | None, most: int, now_ms: int) -> Selection:
    """Select the data of API keys, newest first."""
    where = _Conditions()
    if query.tenant is not None:
        where.add("tenant = %s", query.tenant)
    if query.status == "REVOKED":
        where.add("revoked_at_ms IS NOT NULL")
    elif query.status:
        where.add(
            "revoked_at_ms IS NULL AND coalesce(expires_at_ms <= %s, false) = %s", now_ms, query.status == "EXPIRED"
        )
    if after is not None:
        where.add("(created_at_ms < %s OR (created_at_ms = %s AND key_id > %s))", after[0], *after)
    sql = f"SELECT data FROM cycles_keys WHERE {where} ORDER BY created_at_ms DESC, key_id LIMIT %s"  # noqa: S608
    return Selection(sql, (*where.bound, most))
