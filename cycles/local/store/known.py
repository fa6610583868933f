"""What one connection knows of the ledger's rows, so that a transaction need not ask for them again.

It is never a guess. A transaction that writes holds the writer's lock, and asks SQLite first whether any other
connection, of this process or another, has committed since this one did (`PRAGMA data_version`): then all is forgotten.
What the connection itself writes is known; what it undoes is forgotten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

    from cycles.local.ledger.keys import Credential
    from cycles.local.ledger.values import Budget, Hold, Tenant

MOST: Final = 1024
"""Rows of a kind that are known at most."""

LARGEST: Final = 4096
"""Characters of a row that is known at most: caps and metadata may be as large as a request."""

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class Known:
    """The rows that a connection knows.

    Attributes:
        version: Of the data, as SQLite counts what other connections commit.
        budgets: By scope path and unit; None: there is no such budget.
        tenants: By id; None: there is no record.
        holds: Live ones, by id.
        credentials: By API key; each depends on a key's row and a tenant's.
        sessions: Of session keys, by tenant; each depends on the tenant's row.
        earliest_ms: No live hold has an earlier deadline; None: that is not known.
        is_changed: Whether this transaction has written any row, and has not ended yet.
    """

    __slots__ = ("budgets", "credentials", "earliest_ms", "holds", "is_changed", "sessions", "tenants", "version")

    def __init__(self) -> None:
        self.version = 0
        self.is_changed = False
        self.budgets: Final[dict[tuple[str, str], Budget | None]] = {}
        self.tenants: Final[dict[str, Tenant | None]] = {}
        self.holds: Final[dict[str, Hold]] = {}
        self.credentials: Final[dict[str, Credential]] = {}
        self.sessions: Final[dict[str, Credential]] = {}
        self.earliest_ms: float | None = None

    def forget(self) -> None:
        """Forget everything."""
        self.budgets.clear()
        self.tenants.clear()
        self.holds.clear()
        self.forget_credentials()
        self.earliest_ms = None

    def undone(self) -> None:
        """Forget everything if the transaction wrote any row: it was undone."""
        if self.is_changed:
            self.forget()
            self.is_changed = False

    def forget_credentials(self) -> None:
        """Forget whom each key belongs to: a key's row or a tenant's has changed."""
        self.credentials.clear()
        self.sessions.clear()


def keep(rows: dict[K, V], key: K, row: V, size: int = 0) -> None:
    """Know *row*, of *size* characters, from now on, and not the oldest one when there are too many."""
    if size > LARGEST:
        rows.pop(key, None)
        return
    if len(rows) >= MOST and key not in rows:
        del rows[next(iter(rows))]
    rows[key] = row
