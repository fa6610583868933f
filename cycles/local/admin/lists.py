"""The administration's lists: tenants, API keys and budgets, in pages like those of the runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cycles.local.admin.bodies import key_body, ledger_body, tenant_body
from cycles.local.ledger.renewals import as_of
from cycles.local.ledger.values import UNITS
from cycles.local.store.protocols import BudgetQuery, KeyQuery
from cycles.local.wire.paging import bad, fingerprint_of, limit_of, one_of, page_of, paged, position_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cycles.local.store.protocols import StoredBooks
    from cycles.local.wire.paging import Body, Parameters

_FLAGS: Final = {"true": True, "false": False}


def tenants(books: StoredBooks, parameters: Parameters) -> Body:
    """Return a page of tenants by their ids."""
    limit = limit_of(parameters)
    status = one_of(parameters, "status", "ACTIVE", "SUSPENDED", "CLOSED")
    fingerprint = fingerprint_of("tenants", status)
    position = position_of(parameters, fingerprint, str, str)
    start = "" if position is None else position[0]
    found = [each for each in books.tenants() if each.tenant_id > start and status in ("", each.status)]
    page, after = page_of(found, limit, tenant_body, lambda each: (each.tenant_id, ""))
    return paged("tenants", page, fingerprint, after)


def keys(books: StoredBooks, parameters: Parameters, now_ms: int) -> Body:
    """Return a page of API keys, newest first."""
    limit = limit_of(parameters)
    status = one_of(parameters, "status", "ACTIVE", "REVOKED", "EXPIRED")
    query = KeyQuery(parameters.get("tenant_id"), status)
    fingerprint = fingerprint_of("keys", query)
    found = books.find_keys(query, position_of(parameters, fingerprint, int, str), limit + 1, now_ms)
    page, after = page_of(found, limit, lambda key: key_body(key, now_ms), lambda key: (key.created_at_ms, key.key_id))
    return paged("keys", page, fingerprint, after)


def ledgers(
    books: StoredBooks, parameters: Parameters, tenant: str | None, allowed: Sequence[str], now_ms: int
) -> Body:
    """Return a page of budgets by scope path and unit.

    Args:
        books: The ledger.
        parameters: scope_prefix, unit, status, over_limit, has_debt, limit, cursor.
        tenant: Whose budgets; None: everybody's.
        allowed: Scopes that the asking key is confined to; none: it is not.
        now_ms: The time; a budget that begins anew is shown as of it.
    """
    limit = limit_of(parameters)
    query = BudgetQuery(
        tenant=None if tenant is None else tenant.lower(),
        unit=one_of(parameters, "unit", *UNITS) or None,
        status=one_of(parameters, "status", "ACTIVE", "FROZEN", "CLOSED") or None,
        is_over_limit=_flag(parameters, "over_limit"),
        has_debt=_flag(parameters, "has_debt"),
        prefix=parameters.get("scope_prefix", "").lower(),
        within=tuple(allowed),
    )
    fingerprint = fingerprint_of("ledgers", query)
    found = books.find_ledgers(query, position_of(parameters, fingerprint, str, str), limit + 1)
    page, after = page_of(
        found,
        limit,
        lambda pair: ledger_body(as_of(pair[0], now_ms), pair[1]),
        lambda pair: (pair[0].scope_path, pair[0].unit),
    )
    return paged("ledgers", page, fingerprint, after)


def _flag(parameters: Parameters, name: str) -> bool | None:
    value = parameters.get(name)
    if value is None:
        return None
    if value.lower() not in _FLAGS:
        raise bad(name, value, "true or false")
    return _FLAGS[value.lower()]
