"""API keys, as `LocalAuthority` offers them in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cycles.errors import InvalidRequest
from cycles.local.admin.access import Access
from cycles.local.admin.names import own_scope
from cycles.local.admin.new_keys import expiry_ms, new_key, new_secret
from cycles.local.ledger import funding
from cycles.local.ledger.keys import DEFAULT_PERMISSIONS
from cycles.local.ledger.values import Refusal
from cycles.local.wire import validation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from cycles.local.ledger.keys import ApiKey


class Keys(Access):
    """An operator's calls on API keys."""

    def key(
        self,
        *,
        tenant: str,
        name: str = "",
        permissions: Sequence[str] | None = None,
        expires: datetime | timedelta | None = None,
    ) -> str:
        """Make an API key of *tenant* and return it; only its hash is kept, so this is the one time it is shown.

        Args:
            tenant: The tenant that it belongs to.
            name: For people.
            permissions: What it may do on the administration's paths, such as "budgets:write"; None: nothing there, so
                it can only spend and read balances. The runtime takes every key (docs/authority.md, Over HTTP).
            expires: When it ends: a datetime with its zone, or a timedelta from now; None: never.

        Raises:
            InvalidRequest: naming what is wrong.

        Example:
            ```python
            from datetime import timedelta

            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                secret = authority.key(tenant="acme", name="planner", expires=timedelta(days=30))
                assert secret.startswith("cyc_live_")
            ```
        """
        secret = new_secret()
        self.add_key(secret, tenant=tenant, name=name, permissions=permissions, expires=expires)
        return secret

    def add_key(
        self,
        secret: str,
        *,
        tenant: str,
        name: str = "",
        permissions: Sequence[str] | None = None,
        expires: datetime | timedelta | None = None,
    ) -> ApiKey:
        """Make *secret* an API key of *tenant*, for scripts that need a fixed one; see `key`.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                key = authority.add_key("a-key-that-the-script-knows", tenant="acme")
                assert key.tenant == "acme"
            ```
        """
        own_scope(f"tenant:{tenant}")
        if not secret or secret != secret.strip():
            raise InvalidRequest("secret: an API key has at least one character, and no space around it")
        with self._changing() as books:
            now_ms = self.clock()
            known = books.key(secret)
            made = new_key(
                secret,
                key_id=None if known is None else known.key_id,
                tenant=tenant,
                name=name,
                permissions=validation.permissions(
                    list(DEFAULT_PERMISSIONS if permissions is None else permissions), "permissions"
                ),
                created_at_ms=now_ms,
                expires_at_ms=expiry_ms(expires, now_ms),
            )
            books.put_key(made)
            return made

    def keys(self, tenant: str | None = None) -> list[ApiKey]:
        """Return the API keys of *tenant*, or of all tenants, oldest first, revoked ones included; no secrets are kept.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.key(tenant="acme", name="planner")
                assert [key.name for key in authority.keys("acme")] == ["planner"]
            ```
        """
        with self._changing() as books:
            return books.keys(tenant)

    def revoke(self, secret: str) -> None:
        """Revoke an API key; a secret that is no key of this authority is ignored.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                secret = authority.key(tenant="acme")
                authority.revoke(secret)
            ```
        """
        with self._changing() as books:
            key = books.key(secret)
            if key is not None:
                funding.revoke(books, key, now_ms=self.clock())

    def revoke_key(self, key_id: str, reason: str | None = None) -> ApiKey:
        """Revoke the API key with this id, and return it; doing so again changes nothing.

        Raises:
            InvalidRequest: when there is no such key.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.key(tenant="acme")
                (key,) = authority.keys("acme")
                assert authority.revoke_key(key.key_id, "not used any more").revoked_at_ms is not None
            ```
        """
        with self._changing() as books:
            key = books.key_named(key_id)
            if key is None:
                raise Refusal(404, "KEY_NOT_FOUND", f"key_id={key_id!r}: no such key; keys() lists them")
            return funding.revoke(books, key, now_ms=self.clock(), reason=reason)
