"""The lists of reservations and balances: query parameters in, a page out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles.local.ledger import times
from cycles.local.ledger.bodies import balance_body, hold_body
from cycles.local.ledger.renewals import as_of
from cycles.local.ledger.values import LEVELS, Refusal
from cycles.local.store.protocols import BudgetQuery, HoldQuery, Window
from cycles.local.wire.paging import bad, fingerprint_of, limit_of, one_of, page_of, paged, position_of

if TYPE_CHECKING:
    from cycles.local.ledger.values import Hold
    from cycles.local.store.protocols import Order, StoredBooks
    from cycles.local.wire.paging import Body, Parameters

MAX_KEY: Final = 256

_ORDERS: Final[dict[str, Order]] = {
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


# -- reservations ------------------------------------------------------------------------------------------------------
def reservations(books: StoredBooks, tenant: str, parameters: Parameters) -> Body:
    """Return a page of *tenant*'s reservations; newest first unless asked otherwise."""
    limit = limit_of(parameters)
    query = _hold_query(tenant, parameters)
    fingerprint = fingerprint_of("reservations", query)
    after = position_of(parameters, fingerprint, int if query.order_by in _NUMBERS else str, str)
    include = included(parameters)
    page, after = page_of(
        books.find_holds(query, after, limit + 1),
        limit,
        lambda hold: hold_body(hold, include=include),
        lambda hold: _place(hold, query),
    )
    return paged("reservations", page, fingerprint, after)


def included(parameters: Parameters) -> frozenset[str]:
    """Return which maps the rows of a list are to have."""
    return _MAPS & {token.strip().lower() for token in parameters.get("include", "").split(",")}


def _hold_query(tenant: str, parameters: Parameters) -> HoldQuery:
    order_by, descending = _order(parameters)
    status = one_of(parameters, "status", "ACTIVE", "COMMITTED", "RELEASED", "EXPIRED")
    key = parameters.get("idempotency_key")
    if key is not None and len(key) > MAX_KEY:
        raise bad("idempotency_key", key, f"a key of at most {MAX_KEY} characters")
    return HoldQuery(
        tenant=tenant,
        order_by=order_by,
        descending=descending,
        status=status,
        key=key,
        levels=tuple((level, parameters[level].lower()) for level in LEVELS[1:] if level in parameters),
        created=_window("", parameters),
        expires=_window("expires_", parameters),
        finalized=_window("finalized_", parameters),
    )


def _order(parameters: Parameters) -> tuple[Order, bool]:
    by, direction = parameters.get("sort_by", "created_at_ms"), parameters.get("sort_dir", "desc")
    order = _ORDERS.get(by.lower())
    if order is None:
        raise bad("sort_by", by, f"one of {', '.join(_ORDERS)}")
    if direction.lower() not in ("asc", "desc"):
        raise bad("sort_dir", direction, "asc or desc")
    return order, direction.lower() != "asc"


def _window(prefix: str, parameters: Parameters) -> Window:
    low = _moment(f"{prefix}from", parameters, up=True)
    high = _moment(f"{prefix}to", parameters, up=False)
    if low is not None and high is not None and low > high:
        raise bad(f"{prefix}from", parameters[f"{prefix}from"], f"a time that is not after {prefix}to")
    return Window(low, high)


def _moment(name: str, parameters: Parameters, *, up: bool) -> int | None:
    """Return a time in milliseconds, rounded so that the window stays inclusive and exact."""
    text = parameters.get(name, "")
    if not text.strip():
        return None
    try:
        moment = times.microseconds(text)
    except ValueError:
        raise bad(
            name,
            text,
            "a time with its seconds and its zone, such as 2026-01-31T12:00:00Z (a plus sign is written %2B)",
        ) from None
    return -(-moment // 1000) if up else moment // 1000


def _place(hold: Hold, query: HoldQuery) -> tuple[int | str, str]:
    """Return the position of *hold* in the list: its value in the order, and its id."""
    value: Any = hold.affected[-1] if query.order_by == "scope_path" else getattr(hold, query.order_by)
    return value, hold.reservation_id


# -- balances ----------------------------------------------------------------------------------------------------------
def balances(books: StoredBooks, tenant: str, parameters: Parameters, now_ms: int) -> Body:
    """Return a page of *tenant*'s balances as of *now_ms*, by scope path and unit; children are always among them."""
    if not any(level in parameters for level in LEVELS):
        raise Refusal(400, "INVALID_REQUEST", f"name at least one of {', '.join(LEVELS)}, for example tenant={tenant}")
    if parameters.get("include_children", "").lower() not in ("", "true", "false"):
        raise bad("include_children", parameters["include_children"], "true or false")
    limit = limit_of(parameters)
    # A level that is there and empty takes nothing: no path has an empty segment.
    levels = tuple((level, parameters[level].lower()) for level in LEVELS if level in parameters)
    query = BudgetQuery(tenant=tenant.lower(), levels=levels)
    fingerprint = fingerprint_of("balances", query)
    found = books.find_budgets(query, position_of(parameters, fingerprint, str, str), limit + 1)
    page, after = page_of(
        found, limit, lambda row: balance_body(as_of(row, now_ms)), lambda row: (row.scope_path, row.unit)
    )
    return paged("balances", page, fingerprint, after)
