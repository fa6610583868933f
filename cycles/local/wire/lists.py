"""Lists of reservations and balances: filters, windows, order and cursors (authority.md §4.8, §4.9)."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles.local.ledger import times
from cycles.local.ledger.bodies import balance_body, hold_body
from cycles.local.ledger.values import INT64_MAX, LEVELS, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles.local.store.rows import SqliteBooks

MAX_LIMIT: Final = 200
DEFAULT_LIMIT: Final = 50
MAX_KEY: Final = 256

_STATUSES: Final = ("ACTIVE", "COMMITTED", "RELEASED", "EXPIRED")
_WINDOWS: Final = {"": "created_at_ms", "expires_": "expires_at_ms", "finalized_": "finalized_at_ms"}
_SORTS: Final = {
    "reservation_id": "reservation_id",
    "tenant": "tenant",
    "scope_path": "scope_path",
    "status": "status",
    "reserved": "estimate",
    "created_at_ms": "created_at_ms",
    "expires_at_ms": "expires_at_ms",
}
_NUMBERS: Final = frozenset({"estimate", "created_at_ms", "expires_at_ms"})
_MAPS: Final = frozenset({"metadata", "committed_metadata", "evidence"})
_LIMIT: Final = re.compile(r"[0-9]{1,9}")

Parameters = dict[str, str]


def bad(name: str, value: str, allowed: str) -> Refusal:
    return Refusal(400, "INVALID_REQUEST", f"{name}={value!r}: give {allowed}")


# -- parameters --------------------------------------------------------------------------------------------------------
def limit_of(parameters: Parameters) -> int:
    text = parameters.get("limit", "")
    if not text:
        return DEFAULT_LIMIT
    if not _LIMIT.fullmatch(text) or not 1 <= int(text) <= MAX_LIMIT:
        raise bad("limit", text, f"a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _moment(name: str, parameters: Parameters, *, up: bool) -> int | None:
    """Return a time in milliseconds, rounded so that the window stays inclusive and exact."""
    text = parameters.get(name, "").strip()
    if not text:
        return None
    try:
        moment = times.microseconds(text)
    except ValueError:
        raise bad(
            name, text, "a time with its zone, such as 2026-01-31T12:00:00Z (a plus sign is written %2B)"
        ) from None
    return -(-moment // 1000) if up else moment // 1000


def _window(prefix: str, parameters: Parameters) -> tuple[int | None, int | None]:
    low = _moment(f"{prefix}from", parameters, up=True)
    high = _moment(f"{prefix}to", parameters, up=False)
    if low is not None and high is not None and low > high:
        raise bad(f"{prefix}from", parameters[f"{prefix}from"], f"a time that is not after {prefix}to")
    return low, high


class _Order(NamedTuple):
    column: str
    descending: bool


def _order(parameters: Parameters) -> _Order:
    by, direction = parameters.get("sort_by", ""), parameters.get("sort_dir", "")
    column = _SORTS.get((by or "created_at_ms").lower())
    if column is None:
        raise bad("sort_by", by, f"one of {', '.join(_SORTS)}")
    if direction.lower() not in ("", "asc", "desc"):
        raise bad("sort_dir", direction, "asc or desc")
    return _Order(column, direction.lower() != "asc")


# -- cursors -----------------------------------------------------------------------------------------------------------
def fingerprint_of(*terms: object) -> str:
    """Return what binds a cursor to its list: another order, filter or window is another list."""
    return hashlib.sha256(json.dumps(terms).encode()).hexdigest()[:16]


def _cursor(fingerprint: str, position: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps([fingerprint, *position]).encode()).decode().rstrip("=")


def position_of(parameters: Parameters, fingerprint: str, *kinds: type) -> list[Any] | None:
    """Return where a cursor goes on, or None at the start."""
    text = parameters.get("cursor", "")
    if not text:
        return None
    try:
        found = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        bound, *position = found
    except (ValueError, TypeError, RecursionError):
        bound, position = None, []
    if bound != fingerprint or [type(part) for part in position] != list(kinds) or not all(map(_bindable, position)):
        raise bad("cursor", text, "the next_cursor of a list with the same filters and order, or none")
    return list(position)


def _bindable(part: int | str) -> bool:
    """Return whether *part* may be a column's value: one from a forged cursor need not fit into SQLite."""
    return part.isascii() if isinstance(part, str) else abs(part) <= INT64_MAX


# -- lists -------------------------------------------------------------------------------------------------------------
def reservations(books: SqliteBooks, tenant: str, parameters: Parameters) -> dict[str, Any]:
    """Return a page of *tenant*'s reservations; newest first unless asked otherwise."""
    limit, order = limit_of(parameters), _order(parameters)
    where, bound = _filters(tenant, parameters)
    column, down = order
    fingerprint = fingerprint_of("reservations", column, down, where, bound)
    position = position_of(parameters, fingerprint, int if column in _NUMBERS else str, str)
    if position is not None:
        # The first term is what an index can go to, however far down the list.
        where.append(f"{column} {'<=' if down else '>='} ? AND ({column} != ? OR reservation_id > ?)")
        bound += [position[0], *position]
    # The names of columns come from the tables above, every value is bound.
    rows = books.connection.execute(
        f"SELECT {column}, reservation_id, data FROM {_source(parameters)} WHERE {' AND '.join(where)} "  # noqa: S608
        f"ORDER BY {column} {'DESC' if down else 'ASC'}, reservation_id LIMIT ?",
        (*bound, limit + 1),
    ).fetchall()
    include = _MAPS & {token.strip().lower() for token in parameters.get("include", "").split(",")}
    page = [hold_body(books.hold_of(data), include=include) for _, _, data in rows[:limit]]
    return paged("reservations", page, rows, limit, fingerprint)


def _source(parameters: Parameters) -> str:
    """Return where a list is read from, with its index.

    SQLite would choose the one that has the right order, and go through all that a tenant ever had for the few that
    are meant: those with a key, or the live ones, which are few among all that is kept.
    """
    if parameters.get("idempotency_key"):
        return "holds INDEXED BY holds_by_key"
    return "holds INDEXED BY holds_by_deadline" if parameters.get("status") == "ACTIVE" else "holds"


def _filters(tenant: str, parameters: Parameters) -> tuple[list[str], list[Any]]:
    where: list[str] = ["tenant = ?"]
    bound: list[Any] = [tenant]
    status, key = parameters.get("status", ""), parameters.get("idempotency_key", "")
    if status:
        if status not in _STATUSES:
            raise bad("status", status, f"one of {', '.join(_STATUSES)}")
        where.append(f"status = '{status}'")  # one of the four; in the text, for the index of the ACTIVE ones
    if key:
        if len(key) > MAX_KEY:
            raise bad("idempotency_key", key, f"a key of at most {MAX_KEY} characters")
        where.append("idempotency_key = ?")
        bound.append(key)
    _segments({level: parameters[level] for level in LEVELS[1:] if parameters.get(level)}, where, bound)
    for prefix, column in _WINDOWS.items():
        for sign, moment in zip((">=", "<="), _window(prefix, parameters), strict=True):
            if moment is not None:
                where.append(f"{column} {sign} ?")
                bound.append(moment)
    return where, bound


def _segments(levels: Mapping[str, str], where: list[str], bound: list[Any]) -> None:
    """Let only paths through that hold all *levels* as whole segments."""
    for level, value in levels.items():
        where.append("instr('/' || scope_path || '/', ?) > 0")
        segment = value.lower().replace("/", "//")  # no value holds a slash, so one must not reach over two segments
        bound.append(f"/{level}:{segment}/")


def balances(books: SqliteBooks, tenant: str, parameters: Parameters) -> dict[str, Any]:
    """Return a page of *tenant*'s balances, by scope path and unit; children are always among them."""
    levels: dict[str, str] = {level: parameters[level] for level in LEVELS if level in parameters}
    if not levels:
        raise Refusal(400, "INVALID_REQUEST", f"name at least one of {', '.join(LEVELS)}, for example tenant={tenant}")
    if parameters.get("include_children", "").lower() not in ("", "true", "false"):
        raise bad("include_children", parameters["include_children"], "true or false")
    limit = limit_of(parameters)
    where, bound = ["tenant = ?"], [tenant.lower()]
    _segments(levels, where, bound)
    fingerprint = fingerprint_of("balances", where, bound)
    position = position_of(parameters, fingerprint, str, str)
    if position is not None:
        where.append("(scope_path, unit) > (?, ?)")
        bound += position
    rows = books.connection.execute(
        f"SELECT scope_path, unit, data FROM budgets WHERE {' AND '.join(where)} "  # noqa: S608 - see above
        "ORDER BY scope_path, unit LIMIT ?",
        (*bound, limit + 1),
    ).fetchall()
    page = [balance_body(books.budget_of(data)) for _, _, data in rows[:limit]]
    return paged("balances", page, rows, limit, fingerprint)


def paged(
    name: str, page: list[dict[str, Any]], rows: list[tuple[Any, ...]], limit: int, fingerprint: str
) -> dict[str, Any]:
    if len(rows) <= limit:
        return {name: page, "has_more": False}
    return {name: page, "has_more": True, "next_cursor": _cursor(fingerprint, list(rows[limit - 1][:2]))}
