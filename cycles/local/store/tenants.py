"""Tenants of old files, whose names could have capitals, while paths of budgets never had any.

The upgrade renames a tenant to lower case, with all that it has, when no other tenant's name differs in case only. Two
such tenants spent from the same budgets, and nobody can say which of them owns those. So both stay as they are, and
only the one in lower case spends.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from cycles.local.ledger.scopes import not_its_own

if TYPE_CHECKING:
    import sqlite3


def in_lower_case(connection: sqlite3.Connection) -> None:
    """Name every tenant in lower case that can be; inside the caller's transaction."""
    alike: dict[str, set[str]] = defaultdict(set)
    sql = "SELECT tenant_id FROM tenants UNION SELECT tenant FROM keys UNION SELECT tenant FROM holds"
    for (tenant_id,) in connection.execute(sql).fetchall():
        alike[tenant_id.lower()].add(tenant_id)
    for wanted, names in alike.items():
        if len(names) == 1 and wanted not in names:
            _rename(connection, names.pop(), wanted)


def _rename(connection: sqlite3.Connection, before: str, after: str) -> None:
    for table, column in (("tenants", "tenant_id"), ("keys", "tenant"), ("holds", "tenant")):
        connection.execute(
            f"UPDATE {table} SET {column} = ?, data = json_set(data, '$.{column}', ?) WHERE {column} = ?",  # noqa: S608
            (after, after, before),
        )
    connection.execute(
        "UPDATE tenants SET data = json_set(data, '$.parent_tenant_id', ?) "
        "WHERE json_extract(data, '$.parent_tenant_id') = ?",
        (after, before),
    )
    for operation in ("reserve", "decide", "event"):
        scopes = (f"{operation}:{after}", f"{operation}:{before}")
        connection.execute("UPDATE replays SET scope = ? WHERE scope = ?", scopes)
    connection.execute(
        "UPDATE replays SET scope = 'extend:' || :after || substr(scope, length(:before) + 8) "
        "WHERE substr(scope, 1, length(:before) + 8) = 'extend:' || :before || ':'",
        {"before": before, "after": after},
    )


def that_share(connection: sqlite3.Connection) -> list[str]:
    """Return, for people, which tenants with keys would spend from the budgets of another, by their names' case."""
    sql = "SELECT DISTINCT tenant FROM keys WHERE revoked_at_ms IS NULL AND tenant != lower(tenant) ORDER BY tenant"
    return [not_its_own(tenant_id) for (tenant_id,) in connection.execute(sql)]
