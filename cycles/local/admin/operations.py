"""The operations of the administration's calls on the books, each inside one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from cycles.local.admin.bodies import key_body, ledger_body, tenant_body
from cycles.local.admin.new_keys import new_key, new_secret
from cycles.local.ledger import funding, times
from cycles.local.ledger.bodies import amount_body
from cycles.local.ledger.idempotency import KEPT_MS, digest_of, replayed_body
from cycles.local.ledger.keys import DEFAULT_PERMISSIONS
from cycles.local.ledger.values import Refusal, Replay, Tenant, Terms
from cycles.local.wire.validation import invalid

if TYPE_CHECKING:
    from cycles.local.ledger.values import Budget
    from cycles.local.store.protocols import StoredBooks

Body = dict[str, Any]

KEY_LASTS_MS: Final = 90 * 86_400_000
"""The time that an API key lasts which is made over HTTP without an expiry."""

_SETTINGS: Final = {
    "name": "name",
    "status": "status",
    "metadata": "metadata",
    "parent_tenant_id": "parent_tenant_id",
    "default_commit_overage_policy": "overage_policy",
    "default_reservation_ttl_ms": "default_ttl_ms",
    "max_reservation_ttl_ms": "max_ttl_ms",
    "max_reservation_extensions": "max_extensions",
    "reservation_expiry_policy": "expiry_policy",
}
_FIGURES: Final = ("allocated", "remaining", "debt", "spent")


# -- tenants -----------------------------------------------------------------------------------------------------------
def known_tenant(books: StoredBooks, tenant_id: str) -> Tenant:
    """Return the tenant, or refuse the request when there is none."""
    found = books.known_tenant(tenant_id)
    if found is None:
        raise Refusal(404, "TENANT_NOT_FOUND", f"no tenant {tenant_id}: create it first (POST /v1/admin/tenants)")
    return found


def create_tenant(books: StoredBooks, body: Body, now_ms: int) -> tuple[int, Body]:
    """Create a tenant; the same id and name again is the one that is there, with status 200."""
    known = books.tenant(body["tenant_id"])
    if known is not None:
        shown = tenant_body(known)
        if shown["name"] != body["name"]:
            message = f"tenant_id: there is a tenant {known.tenant_id} already, named {shown['name']!r}"
            raise Refusal(409, "DUPLICATE_RESOURCE", message)
        return 200, shown
    if "parent_tenant_id" in body:
        known_tenant(books, body["parent_tenant_id"])
    tenant = Tenant(body["tenant_id"], **_settings(body))
    return 201, tenant_body(funding.set_tenant(books, tenant, now_ms=now_ms))


def change_tenant(books: StoredBooks, tenant_id: str, body: Body, now_ms: int) -> Body:
    """Change a tenant; closing it releases its holds, closes its budgets and revokes its keys."""
    known = known_tenant(books, tenant_id)
    if known.status == "CLOSED" and body.get("status", "CLOSED") != "CLOSED":
        raise invalid("status", f"the tenant {known.tenant_id} is closed for good")
    return tenant_body(funding.set_tenant(books, evolve(known, **_settings(body)), now_ms=now_ms))


def _settings(body: Body) -> dict[str, Any]:
    return {name: body[wire] for wire, name in _SETTINGS.items() if wire in body}


# -- API keys ----------------------------------------------------------------------------------------------------------
def create_key(books: StoredBooks, body: Body, now_ms: int) -> Body:
    """Make an API key; its secret is in this answer and nowhere else."""
    tenant = known_tenant(books, body["tenant_id"])
    _must_be_open(tenant)
    if tenant.status != "ACTIVE":
        raise invalid("tenant_id", f"the tenant {tenant.tenant_id} is {tenant.status}, and gets no keys")
    expires_at_ms = times.microseconds(body["expires_at"]) // 1000 if "expires_at" in body else now_ms + KEY_LASTS_MS
    if expires_at_ms <= now_ms:
        raise invalid("expires_at", "must be a time to come")
    secret = new_secret()
    key = new_key(
        secret,
        tenant=tenant.tenant_id,
        name=body["name"],
        description=body.get("description"),
        permissions=body.get("permissions", DEFAULT_PERMISSIONS),
        scope_filter=body.get("scope_filter", ()),
        metadata=body.get("metadata"),
        created_at_ms=now_ms,
        expires_at_ms=expires_at_ms,
    )
    books.put_key(key)
    return {"key_id": key.key_id, "key_secret": secret, **key_body(key, now_ms)}


def revoke_key(books: StoredBooks, key_id: str, reason: str | None, now_ms: int) -> Body:
    """Revoke a key; once."""
    key = books.key_named(key_id)
    if key is None:
        raise Refusal(404, "KEY_NOT_FOUND", f"no API key {key_id}")
    if key.revoked_at_ms is not None:
        raise Refusal(409, "KEY_REVOKED", f"the API key {key_id} was revoked at {times.iso(key.revoked_at_ms)}")
    return key_body(funding.revoke(books, key, now_ms=now_ms, reason=reason), now_ms)


# -- budgets -----------------------------------------------------------------------------------------------------------
def create_budget(books: StoredBooks, scope_path: str, tenant: str, body: Body, now_ms: int) -> Body:
    """Create a budget of *tenant*; one that is there already is left alone."""
    _must_be_open(known_tenant(books, tenant))
    unit = body["unit"]
    if books.budget(scope_path, unit) is not None:
        raise Refusal(
            409, "DUPLICATE_RESOURCE", f"there is a budget at {scope_path} in {unit} already: fund it instead"
        )
    limit = body.get("overdraft_limit")
    row = funding.set_budget(
        books,
        scope_path=scope_path,
        unit=unit,
        allocated=body["allocated"]["amount"],
        tenant=tenant.lower(),
        now_ms=now_ms,
        overdraft_limit=None if limit is None else limit["amount"],
    )
    terms = Terms(**{name: body[name] for name in vars(Terms()) if name in body})
    books.put_terms(scope_path, unit, terms)
    return ledger_body(row, terms)


def change_budget(books: StoredBooks, scope_path: str, unit: str, body: Body, now_ms: int) -> Body:
    """Change the overdraft limit and the notes of a budget."""
    limit = body.get("overdraft_limit")
    limit = None if limit is None else limit["amount"]
    row = funding.patch(books, scope_path, unit, overdraft_limit=limit, now_ms=now_ms)
    changes = {name: body[name] for name in ("commit_overage_policy", "metadata") if name in body}
    terms = evolve(books.terms(scope_path, unit), **changes)
    books.put_terms(scope_path, unit, terms)
    return ledger_body(row, terms)


def fund(books: StoredBooks, scope_path: str, tenant: str, body: Body, now_ms: int) -> Body:
    """Apply a funding operation of *tenant*, once for each of its idempotency keys."""
    unit = body["amount"]["unit"]
    _must_be_open(books.tenant(tenant))
    key, digest = body.get("idempotency_key"), digest_of({**body, "scope": scope_path})
    kept_in = f"fund:{tenant.lower()}"
    replayed = None if key is None else replayed_body(books, kept_in, key, digest, now_ms)
    if replayed is not None:
        return replayed
    before = owned(books, scope_path, unit, tenant, now_ms)
    spent = body["spent"]["amount"] if "spent" in body else None
    after = funding.fund(
        books, scope_path, unit, body["operation"], body["amount"]["amount"], now_ms=now_ms, spent=spent
    )
    answer: Body = {"operation": body["operation"]}
    for name in _FIGURES:
        for when, row in (("previous", before), ("new", after)):
            answer[f"{when}_{name}"] = amount_body(unit, getattr(row, name))
    answer |= {"is_over_limit": after.is_over_limit, "timestamp": times.iso(now_ms)}
    if key is not None:
        books.put_replay(kept_in, key, Replay(now_ms + KEPT_MS, digest, answer))
    return answer


def owned(books: StoredBooks, scope_path: str, unit: str, tenant: str | None, now_ms: int) -> Budget:
    """Return the budget as of *now_ms*; *tenant* None is the administrator, who may see all."""
    row = funding.existing(books, scope_path, unit, now_ms)
    if tenant is not None and row.tenant != tenant.lower():
        raise Refusal(403, "FORBIDDEN", f"the budget at {scope_path} belongs to another tenant")
    return row


def _must_be_open(tenant: Tenant | None) -> None:
    if tenant is not None and tenant.status == "CLOSED":
        raise Refusal(409, "TENANT_CLOSED", f"the tenant {tenant.tenant_id} is closed")
