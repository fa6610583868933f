"""Tenants and API keys over HTTP: their calls, and what closing a tenant does."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from cycles import tokens
from tests.support.authorities import SCOPE
from tests.support.postgres import on_sqlite
from tests.support.wire import failed

from .calls import AT, BUDGETS, FUND, ISO, KEYS, TENANTS, amount, budget, funding


def test_tenants(adm):
    made = adm.post(
        TENANTS,
        json={
            "tenant_id": "child-1",
            "name": "Child",
            "parent_tenant_id": "acme",
            "metadata": {"plan": "free"},
            "max_reservation_ttl_ms": 5000,
            "reservation_expiry_policy": "AUTO_RELEASE",
        },
    )
    assert made.status_code == 201
    shown = made.json()
    assert ISO.fullmatch(shown.pop("created_at"))
    assert ISO.fullmatch(shown.pop("updated_at"))
    assert shown == {
        "tenant_id": "child-1",
        "name": "Child",
        "status": "ACTIVE",
        "parent_tenant_id": "acme",
        "metadata": {"plan": "free"},
        "default_commit_overage_policy": "ALLOW_IF_AVAILABLE",
        "default_reservation_ttl_ms": 60_000,
        "max_reservation_ttl_ms": 5000,
        "max_reservation_extensions": 10,
        "reservation_expiry_policy": "AUTO_RELEASE",
    }
    again = adm.post(TENANTS, json={"tenant_id": "child-1", "name": "Child", "max_reservation_ttl_ms": 9000})
    assert (again.status_code, again.json()) == (200, made.json())
    other = adm.post(TENANTS, json={"tenant_id": "child-1", "name": "Other"})
    assert failed(other, 409, "DUPLICATE_RESOURCE")
    assert adm.get(f"{TENANTS}/child-1").json() == made.json()
    assert failed(adm.get(f"{TENANTS}/nobody"), 404, "TENANT_NOT_FOUND")
    assert failed(adm.patch(f"{TENANTS}/nobody", json={}), 404, "TENANT_NOT_FOUND")
    orphan = {"tenant_id": "child-2", "name": "n", "parent_tenant_id": "nobody"}
    assert failed(adm.post(TENANTS, json=orphan), 404, "TENANT_NOT_FOUND")


def test_settings_of_a_tenant_act_at_once(adm, wire, clock):
    assert adm.post(BUDGETS, json=budget()).status_code == 201
    clock.now += 1_000
    changed = adm.patch(
        f"{TENANTS}/acme", json={"default_reservation_ttl_ms": 7000, "max_reservation_extensions": 0, "metadata": {}}
    ).json()
    assert (changed["name"], changed["default_reservation_ttl_ms"], changed["metadata"]) == ("Acme", 7000, {})
    assert changed["created_at"] < changed["updated_at"]
    held = wire.reserve(1)
    assert held.json()["remaining_ttl_ms"] == 7000
    assert failed(wire.extend(held, 1), 409, "MAX_EXTENSIONS_EXCEEDED")
    assert adm.patch(f"{TENANTS}/acme", json={"status": "SUSPENDED"}).json()["status"] == "SUSPENDED"
    assert wire.reserve(1).json()["message"].startswith("TENANT_SUSPENDED")
    assert adm.patch(f"{TENANTS}/acme", json={"status": "ACTIVE", "name": "New"}).json()["name"] == "New"
    assert wire.reserve(1).is_success


def test_g4_41_closing_a_tenant(authority, adm, wire, keyed, clock):
    """Funds go back once, in the same transaction: a sweep later finds nothing to give back."""
    assert adm.post(BUDGETS, json=budget()).status_code == 201
    assert adm.post(BUDGETS, json=budget(scope=f"{SCOPE}/agent:a")).status_code == 201
    assert adm.post(f"{BUDGETS}/freeze", params={**AT, "scope": f"{SCOPE}/agent:a"}).is_success
    live, done = wire.reserve(400), wire.reserve(100)
    assert wire.commit(done, 60).is_success
    http = keyed("budgets:read", "budgets:write")
    closed = adm.patch(f"{TENANTS}/acme", json={"status": "CLOSED"})
    assert closed.json()["status"] == "CLOSED"
    for shown in adm.get(BUDGETS).json()["ledgers"]:
        assert (shown["status"], shown["reserved"]["amount"]) == ("CLOSED", 0)
    row = authority.balance(SCOPE, "TOKENS")
    assert (row.allocated, row.remaining, row.spent) == (1000, 940, 60)
    assert {key["status"] for key in adm.get(KEYS).json()["keys"]} == {"REVOKED"}
    clock.now += 10_000_000
    assert authority.sweep() == 0
    assert authority.balance(SCOPE, "TOKENS").remaining == 940
    # row 41 over HTTP: keys are refused before the ledger is asked, the administrator by the ledger
    for response in (wire.reserve(1), wire.commit(live, 1), wire.event(1), wire.get("/v1/balances", tenant="acme")):
        assert failed(response, 401, "UNAUTHORIZED")
    step = f"/v1/reservations/{live.json()['reservation_id']}/release"
    assert failed(adm.post(step, json={"idempotency_key": "k"}), 409, "TENANT_CLOSED")
    assert failed(http.get(BUDGETS), 403, "FORBIDDEN")
    assert failed(adm.post(f"{BUDGETS}/fund", params=FUND, json=funding()), 409, "TENANT_CLOSED")
    assert failed(adm.post(BUDGETS, json=budget(unit="CREDITS", allocated=amount(1, "CREDITS"))), 409, "TENANT_CLOSED")
    assert failed(adm.patch(BUDGETS, params=AT, json={}), 409, "BUDGET_CLOSED")
    for step in ("freeze", "unfreeze"):
        assert failed(adm.post(f"{BUDGETS}/{step}", params=AT), 409, "BUDGET_CLOSED")
    assert failed(adm.post(KEYS, json={"tenant_id": "acme", "name": "k"}), 409, "TENANT_CLOSED")
    # for good, and closing again changes nothing
    for status in ("ACTIVE", "SUSPENDED"):
        assert failed(adm.patch(f"{TENANTS}/acme", json={"status": status}), 400, "INVALID_REQUEST")
    again = adm.patch(f"{TENANTS}/acme", json={"status": "CLOSED"})
    assert (again.status_code, again.json()) == (200, closed.json())


@on_sqlite
def test_a_key_is_shown_once(adm, authority, clock, tmp_path):
    made = adm.post(KEYS, json={"tenant_id": "acme", "name": "agent", "description": "d", "metadata": {"a": [1]}})
    assert made.status_code == 201
    shown = made.json()
    secret = shown.pop("key_secret")
    assert re.fullmatch(r"cyc_live_[A-Za-z0-9_-]{32}", secret)
    assert shown["key_prefix"] == secret[:14]
    assert shown["key_id"].startswith("key_")
    assert shown["permissions"] == [
        *(f"reservations:{what}" for what in ("create", "commit", "release", "extend", "list")),
        "balances:read",
    ]
    lasts = datetime.fromisoformat(shown["expires_at"]) - datetime.fromisoformat(shown["created_at"])
    assert lasts == timedelta(days=90)
    assert adm.get(KEYS).json() == {"keys": [shown], "has_more": False}
    with authority.store.reading() as books:
        assert secret not in "\n".join(books.connection.iterdump())


def test_revoking_a_key_by_its_id(adm, keyed):
    http = keyed()
    (key,) = adm.get(KEYS, params={"tenant_id": "acme"}).json()["keys"]
    revoked = adm.delete(f"{KEYS}/{key['key_id']}", params={"reason": "leaked"})
    assert (revoked.status_code, revoked.json()["status"]) == (200, "REVOKED")
    assert revoked.json()["revoked_reason"] == "leaked"
    assert failed(adm.delete(f"{KEYS}/{key['key_id']}"), 409, "KEY_REVOKED")
    assert failed(adm.delete(f"{KEYS}/key_nobody"), 404, "KEY_NOT_FOUND")
    assert failed(adm.delete(f"{KEYS}/{key['key_id']}", params={"reason": "x" * 513}), 400, "INVALID_REQUEST")
    assert http.get("/v1/balances?tenant=acme").json()["message"].startswith("KEY_REVOKED")


def test_keys_of_tenants_that_are_not_there(adm, authority):
    assert failed(adm.post(KEYS, json={"tenant_id": "nobody", "name": "k"}), 404, "TENANT_NOT_FOUND")
    authority.budget("tenant:implied", tokens(1))
    assert adm.post(KEYS, json={"tenant_id": "implied", "name": "k"}).status_code == 201
    adm.patch(f"{TENANTS}/acme", json={"status": "SUSPENDED"})
    assert failed(adm.post(KEYS, json={"tenant_id": "acme", "name": "k"}), 400, "INVALID_REQUEST")
