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
        status: str | None = None,
        default_ttl_ms: int | None = None,
        max_ttl_ms: int | None = None,
        max_extensions: int | None = None,
        overage_policy: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Tenant:
        """Create or change a tenant; a setting that you leave out stays as it is, or is the default of a new tenant.

        Args:
            tenant_id: Its name in subjects and scopes.
            name: For people; none by default.
            status: ACTIVE, the default; SUSPENDED, which refuses its keys; or CLOSED, for good, which releases its
                reservations, closes its budgets and revokes its keys.
            default_ttl_ms, max_ttl_ms: Milliseconds that a lease lasts when the request names no ttl, and at most;
                60,000 and 3,600,000 by default.
            max_extensions: How often a reservation may be extended, 10 by default; 0 forbids it.
            overage_policy: The overage policy of reservations and events that name none, ALLOW_IF_AVAILABLE by default.
            metadata: At most 32 strings by name; none by default.

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
        given: dict[str, Any] = {
            "status": status,
            "default_ttl_ms": default_ttl_ms,
            "max_ttl_ms": max_ttl_ms,
            "max_extensions": max_extensions,
            "overage_policy": overage_policy,
        }
        with self._changing() as books:
            known = books.tenant(tenant_id) or Tenant(tenant_id)
            settings = {field: getattr(known, field) if value is None else value for field, value in given.items()}
            read = validation.tenant_settings(settings | {"name": name, "metadata": metadata}, "")
            tenant = evolve(known, **read)
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
