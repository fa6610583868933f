"""Tenants, as `LocalAuthority` offers them in Python."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from cycles.local.admin.access import Access
from cycles.local.admin.names import own_scope
from cycles.local.ledger import funding
from cycles.local.ledger.values import Tenant
from cycles.local.wire import validation


class Tenants(Access):
    """An operator's calls on tenants."""

    def tenant(
        self,
        tenant_id: str,
        *,
        name: str | None = None,
        status: str = "ACTIVE",
        default_ttl_ms: int = 60_000,
        max_ttl_ms: int = 3_600_000,
        max_extensions: int = 10,
        overage_policy: str = "ALLOW_IF_AVAILABLE",
        metadata: dict[str, str] | None = None,
    ) -> Tenant:
        """Create or change a tenant; each setting that you leave out gets its default, even if it had another value.

        Args:
            tenant_id: Its name in subjects and scopes.
            name: For people; None keeps the one that it has.
            status: ACTIVE; SUSPENDED, which refuses its keys; or CLOSED, for good, which releases its reservations,
                closes its budgets and revokes its keys.
            default_ttl_ms, max_ttl_ms: Milliseconds that a lease lasts when the request names no ttl, and at most.
            max_extensions: How often a reservation may be extended; 0 forbids it.
            overage_policy: The overage policy of reservations and events that name none.
            metadata: At most 32 strings by name; None keeps what there is.

        Raises:
            InvalidRequest: naming the setting, or saying that the tenant is closed.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.tenant("acme", name="Acme Inc.", max_ttl_ms=600_000)
                authority.tenant("acme", status="SUSPENDED")  # its keys are refused
            ```
        """
        own_scope(f"tenant:{tenant_id}")
        settings: dict[str, Any] = {
            "status": status,
            "default_ttl_ms": default_ttl_ms,
            "max_ttl_ms": max_ttl_ms,
            "max_extensions": max_extensions,
            "overage_policy": overage_policy,
            "name": name,
            "metadata": metadata,
        }
        with self._changing() as books:
            known = books.tenant(tenant_id) or Tenant(tenant_id)
            tenant = evolve(known, **validation.tenant_settings(settings, ""))
            return funding.set_tenant(books, tenant, now_ms=self.clock())

    def tenants(self) -> list[Tenant]:
        """Return every tenant, by id; one that has a key or a budget but no record has the default settings.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.tenant("acme", name="Acme Inc.")
                assert [tenant.name for tenant in authority.tenants()] == ["Acme Inc."]
            ```
        """
        with self._changing() as books:
            return books.tenants()
