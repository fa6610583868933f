"""API keys: what the ledger keeps of one, and what a key may do."""

from __future__ import annotations

import hashlib
from typing import Any, Final, NamedTuple

from attrs import field, frozen

DEFAULT_PERMISSIONS: Final = (
    "reservations:create",
    "reservations:commit",
    "reservations:release",
    "reservations:extend",
    "reservations:list",
    "balances:read",
)
"""The permissions of a key that is made without naming any: it may spend, but not fund."""

PERMISSIONS: Final = (
    *DEFAULT_PERMISSIONS,
    *(f"{what}:{how}" for what in ("admin", "budgets", "policies", "webhooks", "events") for how in ("read", "write")),
)
"""The permissions that a key can be given. The administration's paths check those of budgets and admin only."""


@frozen(slots=False)
class ApiKey:
    """An API key, of which only the hash and the first characters are kept.

    Example:
        ```python
        from cycles import usd
        from cycles.local import LocalAuthority

        authority = LocalAuthority()
        authority.budget("tenant:acme", usd("1.00"))
        authority.key(tenant="acme")  # the secret, which is shown once
        for key in authority.keys("acme"):
            print(key.key_id, key.status)
        ```
    """

    key_id: str
    key_hash: str = field(repr=False)
    tenant: str
    name: str = ""
    prefix: str = ""  # empty where it would give too much of the secret away
    permissions: tuple[str, ...] = field(default=DEFAULT_PERMISSIONS, converter=tuple)
    scope_filter: tuple[str, ...] = field(default=(), converter=tuple)
    description: str | None = None
    metadata: dict[str, Any] | None = None
    created_at_ms: int = 0
    expires_at_ms: int | None = None
    revoked_at_ms: int | None = None
    revoked_reason: str | None = None

    def status(self, now_ms: int) -> str:
        """Return ACTIVE, REVOKED or EXPIRED.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.key(tenant="acme")
                (key,) = authority.keys("acme")
                assert key.status(now_ms=authority.clock()) == "ACTIVE"
            ```
        """
        if self.revoked_at_ms is not None:
            return "REVOKED"
        return "EXPIRED" if is_over(self.expires_at_ms, now_ms) else "ACTIVE"

    def may(self, permission: str) -> bool:
        """Whether the key has *permission*: `admin:read` stands for every `*:read`, `admin:write` for every write.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.key(tenant="acme", permissions=["admin:read"])
                (key,) = authority.keys("acme")
                assert key.may("budgets:read")
                assert not key.may("budgets:write")
            ```
        """
        return permission in self.permissions or f"admin:{permission.rpartition(':')[2]}" in self.permissions


class Credential(NamedTuple):
    """The part of an API key that every request is checked against."""

    tenant: str
    expires_at_ms: int | None
    revoked_at_ms: int | None
    tenant_status: str | None  # None: the tenant has no record


def is_over(expires_at_ms: int | None, now_ms: int) -> bool:
    """Whether a key that ends at *expires_at_ms* (None: never) has expired."""
    return expires_at_ms is not None and now_ms >= expires_at_ms


def key_hash(secret: str) -> str:
    """Return the hash that is kept of an API key; its 192 random bits can't be guessed from a plain hash."""
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
