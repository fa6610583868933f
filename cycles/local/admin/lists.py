"""The administration's lists: tenants, API keys and budgets (authority.md §5), paged like the runtime's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles.local.ledger.bodies import key_body, ledger_body, tenant_body
from cycles.local.ledger.values import UNITS, Terms
from cycles.local.store.lists import bad, fingerprint_of, limit_of, paged, position_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cycles.local.store.lists import Parameters
    from cycles.local.store.rows import SqliteBooks

Body = dict[str, Any]

_LEDGERS: Final = (
    "SELECT scope_path, unit, budgets.data, terms.data FROM budgets LEFT JOIN terms USING (scope_path, unit)"
)
_FLAGS: Final = {"true": True, "false": False}


def tenants(books: SqliteBooks, parameters: Parameters) -> Body:
    """Return a page of tenants by their ids."""
    limit = limit_of(parameters)
    status = _one_of(parameters, "status", "ACTIVE", "SUSPENDED", "CLOSED")
    fingerprint = fingerprint_of("tenants", status)
    position = position_of(parameters, fingerprint, str, str)
    after = "" if position is None else position[0]
    found = [each for each in books.tenants() if each.tenant_id > after and status in ("", each.status)]
    rows = [(each.tenant_id, "", each) for each in found[: limit + 1]]
    return paged("tenants", [tenant_body(each) for _, _, each in rows[:limit]], rows, limit, fingerprint)


def keys(books: SqliteBooks, parameters: Parameters, now_ms: int) -> Body:
    """Return a page of API keys, newest first."""
    limit = limit_of(parameters)
    status = _one_of(parameters, "status", "ACTIVE", "REVOKED", "EXPIRED")
    tenant = parameters.get("tenant_id", "")
    where: list[str] = ["1"]
    bound: list[Any] = []
    if tenant:
        where.append("tenant = ?")
        bound.append(tenant)
    fingerprint = fingerprint_of("keys", tenant, status)
    if status == "REVOKED":
        where.append("revoked_at_ms IS NOT NULL")
    elif status:
        where.append(f"revoked_at_ms IS NULL AND coalesce(expires_at_ms <= ?, 0) = {int(status == 'EXPIRED')}")
        bound.append(now_ms)
    position = position_of(parameters, fingerprint, int, str)
    if position is not None:
        where.append("(created_at_ms < ? OR (created_at_ms = ? AND key_id > ?))")
        bound += [position[0], *position]
    rows = books.connection.execute(
        f"SELECT created_at_ms, key_id, data FROM keys WHERE {' AND '.join(where)} "  # noqa: S608 - all are ours
        "ORDER BY created_at_ms DESC, key_id LIMIT ?",
        (*bound, limit + 1),
    ).fetchall()
    page = [key_body(books.key_of(data), now_ms) for _, _, data in rows[:limit]]
    return paged("keys", page, rows, limit, fingerprint)


def ledgers(books: SqliteBooks, parameters: Parameters, tenant: str | None, allowed: Sequence[str] = ()) -> Body:
    """Return a page of budgets by scope path and unit.

    Args:
        books: The ledger.
        parameters: scope_prefix, unit, status, over_limit, has_debt, limit, cursor.
        tenant: Whose; None: everybody's.
        allowed: Scopes that the asking key is confined to; none: it is not.
    """
    limit = limit_of(parameters)
    where, bound = _filters(parameters, tenant)
    if allowed:
        where.append(f"({' OR '.join(['(scope_path = ? OR substr(scope_path, 1, length(?)) = ?)'] * len(allowed))})")
        bound += [value for scope in allowed for value in (scope, f"{scope}/", f"{scope}/")]
    fingerprint = fingerprint_of("ledgers", where, bound)
    position = position_of(parameters, fingerprint, str, str)
    if position is not None:
        where.append("(scope_path, unit) > (?, ?)")
        bound += position
    rows = books.connection.execute(
        f"{_LEDGERS} WHERE {' AND '.join(where)} ORDER BY scope_path, unit LIMIT ?",
        (*bound, limit + 1),
    ).fetchall()
    page = [
        ledger_body(books.budget_of(data), Terms() if noted is None else books.terms_of(noted))
        for _, _, data, noted in rows[:limit]
    ]
    return paged("ledgers", page, rows, limit, fingerprint)


def _filters(parameters: Parameters, tenant: str | None) -> tuple[list[str], list[Any]]:
    where: list[str] = ["1"]
    bound: list[Any] = []
    wanted: list[tuple[str, Any]] = [
        ("tenant = ?", None if tenant is None else tenant.lower()),
        ("unit = ?", _one_of(parameters, "unit", *UNITS) or None),
        (
            "json_extract(budgets.data, '$.status') = ?",
            _one_of(parameters, "status", "ACTIVE", "FROZEN", "CLOSED") or None,
        ),
        ("json_extract(budgets.data, '$.is_over_limit') = ?", _flag(parameters, "over_limit")),
        ("(json_extract(budgets.data, '$.debt') > 0) = ?", _flag(parameters, "has_debt")),
    ]
    for condition, value in wanted:
        if value is not None:
            where.append(condition)
            bound.append(value)
    prefix = parameters.get("scope_prefix", "").lower()
    if prefix:
        where.append("substr(scope_path, 1, length(?)) = ?")
        bound += [prefix, prefix]
    return where, bound


def _one_of(parameters: Parameters, name: str, *known: str) -> str:
    value = parameters.get(name, "")
    if value and value not in known:
        raise bad(name, value, f"one of {', '.join(known)}")
    return value


def _flag(parameters: Parameters, name: str) -> bool | None:
    value = parameters.get(name, "")
    if value and value.lower() not in _FLAGS:
        raise bad(name, value, "true or false")
    return _FLAGS.get(value.lower())
