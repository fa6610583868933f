"""Authentication: the API keys of tenants, and the key of the administrator."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from cycles.local.ledger.keys import is_over, key_hash
from cycles.local.ledger.scopes import not_its_own
from cycles.local.ledger.values import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local.ledger.keys import Credential
    from cycles.local.wire.messages import Request

NO_ADMINISTRATOR = (
    "this authority has no administrator's key, so nobody is its administrator over HTTP: "
    "start it with one (LocalAuthority(admin_key=...), cycles serve --admin-key)"
)


def is_administrator(request: Request, admin_hash: str | None) -> bool:
    """Whether the request has the administrator's key; a wrong one is refused at once, whatever else was sent."""
    given = request.headers.get("x-admin-api-key", "").strip()
    if not given:
        return False
    if admin_hash is None:
        raise Refusal(401, "UNAUTHORIZED", f"INVALID_KEY: {NO_ADMINISTRATOR}")
    if not hmac.compare_digest(key_hash(given), admin_hash):
        raise Refusal(401, "UNAUTHORIZED", "INVALID_KEY: X-Admin-API-Key is not the administrator's")
    return True


def tenant_key(request: Request) -> str:
    """Return the API key that was sent."""
    secret = request.headers.get("x-cycles-api-key", "").strip()
    if not secret:
        raise Refusal(401, "UNAUTHORIZED", "Missing API key")
    return secret


def trouble_with(found: Credential, clock: Callable[[], int]) -> str | None:
    """Return why a key is not good now, or None."""
    if found.revoked_at_ms is not None:
        return "KEY_REVOKED: this API key was revoked"
    if found.expires_at_ms is not None and is_over(found.expires_at_ms, clock()):
        return "KEY_EXPIRED: this API key has expired; ask for a new one"
    if found.tenant_status in ("SUSPENDED", "CLOSED"):
        return f"TENANT_{found.tenant_status}: the tenant {found.tenant} is {found.tenant_status}"
    return None


def admitted(found: Credential | None, clock: Callable[[], int], status: int) -> Credential:
    """Return the credential of a key that is good now, or refuse it with *status* (the administration's is 403)."""
    reason: str | None = "KEY_NOT_FOUND: this authority did not issue that API key"
    if found is not None:
        reason = trouble_with(found, clock)
    if found is None or reason is not None:
        raise Refusal(status, "UNAUTHORIZED" if status == 401 else "FORBIDDEN", reason or "")
    return found


def must_own_budgets(tenant: str) -> None:
    """Refuse a tenant of an earlier version's file whose name differs from another's in case: the budgets are not its.

    What it holds it may still settle, so that nothing is lost.
    """
    if tenant != tenant.lower():
        raise Refusal(403, "FORBIDDEN", not_its_own(tenant))
