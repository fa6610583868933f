"""Budgets over HTTP: making, changing and freezing them, and whose they are."""

from __future__ import annotations

import pytest

from tests.support.authorities import SCOPE
from tests.support.wire import failed

from .calls import AT, BUDGETS, FUND, ISO, KEYS, TENANTS, amount, budget, funding


def test_a_budget_is_made_and_shown(adm, keyed):
    noted = {
        "commit_overage_policy": "REJECT",
        "rollover_policy": "NONE",
        "period_start": "2027-01-01T00:00:00Z",
        "period_end": "2027-02-01T00:00:00+01:00",
        "metadata": {"team": {"a": 1}},
    }
    made = adm.post(BUDGETS, json=budget(scope=f"{SCOPE}/agent:Bot.1", overdraft_limit=amount(7), **noted))
    assert made.status_code == 201
    shown = made.json()
    ledger_id = shown.pop("ledger_id")
    assert ISO.fullmatch(shown.pop("created_at"))
    assert ISO.fullmatch(shown.pop("updated_at"))
    assert shown == {
        "tenant_id": "acme",
        "scope": f"{SCOPE}/agent:bot.1",
        "unit": "TOKENS",
        "allocated": amount(1000),
        "remaining": amount(1000),
        "reserved": amount(0),
        "spent": amount(0),
        "debt": amount(0),
        "overdraft_limit": amount(7),
        "is_over_limit": False,
        "status": "ACTIVE",
        **noted,
    }
    assert failed(adm.post(BUDGETS, json=budget(scope=f"{SCOPE}/agent:bot.1")), 409, "DUPLICATE_RESOURCE")
    at = {"scope": f"{SCOPE}/agent:BOT.1", "unit": "TOKENS"}
    for http in (adm, keyed("budgets:read")):
        assert http.get(f"{BUDGETS}/lookup", params=at).json() == made.json()
    second = adm.post(BUDGETS, json=budget(scope=at["scope"], unit="CREDITS", allocated=amount(1, "CREDITS"))).json()
    assert second["ledger_id"] != ledger_id
    assert failed(adm.get(f"{BUDGETS}/lookup", params={**at, "unit": "RISK_POINTS"}), 404, "BUDGET_NOT_FOUND")


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"scope": "agent:a"}, "INVALID_REQUEST", "scope"),
        ({"scope": "tenant:acme/agent:a/app:b"}, "INVALID_REQUEST", "scope"),
        ({"scope": "tenant:acme/agent:*"}, "INVALID_REQUEST", "scope"),
        ({"scope": "tenant:acme/agent:_a"}, "INVALID_REQUEST", "scope"),
        ({"scope": "tenant:acme/agent:a."}, "INVALID_REQUEST", "scope"),
        ({"scope": "tenant:other"}, "INVALID_REQUEST", "scope"),
        ({"scope": "tenant:Acme"}, "INVALID_REQUEST", "scope"),
        ({"unit": "tokens"}, "INVALID_REQUEST", "unit"),
        ({"allocated": amount(1, "CREDITS")}, "UNIT_MISMATCH", "allocated"),
        ({"overdraft_limit": amount(1, "CREDITS")}, "UNIT_MISMATCH", "overdraft_limit"),
        ({"allocated": {"unit": "TOKENS", "amount": -1}}, "INVALID_REQUEST", "allocated.amount"),
        ({"allocated": 5}, "INVALID_REQUEST", "allocated"),
        ({"commit_overage_policy": "ALLOW"}, "INVALID_REQUEST", "commit_overage_policy"),
        ({"rollover_policy": "none"}, "INVALID_REQUEST", "rollover_policy"),
        ({"period_start": "2027-01-01"}, "INVALID_REQUEST", "period_start"),
        ({"period_end": 5}, "INVALID_REQUEST", "period_end"),
        (
            {"period_start": "2027-01-01T00:00:00Z", "period_end": "2027-01-01T00:30:00+01:00"},
            "INVALID_REQUEST",
            "period_end",
        ),
        ({"surprise": 1}, "INVALID_REQUEST", "surprise"),
        ({"tenant_id": None}, "INVALID_REQUEST", "tenant_id"),
    ],
)
def test_a_bad_budget(adm, authority, change, code, field):
    response = adm.post(BUDGETS, json=budget(**change))
    assert failed(response, 400, code)
    message = response.json()["message"]
    assert message.startswith(f"Validation failed: {field}: " if code == "INVALID_REQUEST" else f"{field} ")
    assert authority.balances() == []


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (TENANTS, {"name": "n"}, "tenant_id"),
        (TENANTS, {"tenant_id": "ab", "name": "n"}, "tenant_id"),
        (TENANTS, {"tenant_id": "Acme-2", "name": "n"}, "tenant_id"),
        (TENANTS, {"tenant_id": "acme-2", "name": " "}, "name"),
        (TENANTS, {"tenant_id": "acme-2", "name": "n" * 257}, "name"),
        (TENANTS, {"tenant_id": "acme-2", "name": "n", "metadata": {"a": 1}}, "metadata.a"),
        (TENANTS, {"tenant_id": "acme-2", "name": "n", "metadata": dict.fromkeys(map(str, range(33)), "")}, "metadata"),
        (
            TENANTS,
            {"tenant_id": "acme-2", "name": "n", "default_reservation_ttl_ms": 999},
            "default_reservation_ttl_ms",
        ),
        (TENANTS, {"tenant_id": "acme-2", "name": "n", "max_reservation_extensions": -1}, "max_reservation_extensions"),
        (TENANTS, {"tenant_id": "acme-2", "name": "n", "status": "ACTIVE"}, "status"),
        (KEYS, {"tenant_id": "acme"}, "name"),
        (KEYS, {"tenant_id": "acme", "name": "k", "permissions": ["budgets:read", "budgets:burn"]}, "permissions[1]"),
        (KEYS, {"tenant_id": "acme", "name": "k", "permissions": "budgets:read"}, "permissions"),
        (KEYS, {"tenant_id": "acme", "name": "k", "scope_filter": [1]}, "scope_filter[0]"),
        (KEYS, {"tenant_id": "acme", "name": "k", "expires_at": "soon"}, "expires_at"),
        (KEYS, {"tenant_id": "acme", "name": "k", "expires_at": "9999-12-31T23:59:59-23:59"}, "expires_at"),
        (KEYS, {"tenant_id": "acme", "name": "k", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        (f"{BUDGETS}/fund", funding("BURN"), "operation"),
        (f"{BUDGETS}/fund", funding(number=-1), "amount.amount"),
        (f"{BUDGETS}/fund", funding(reason="x" * 513), "reason"),
        (f"{BUDGETS}/fund", funding(idempotency_key=""), "idempotency_key"),
        (f"{BUDGETS}/freeze", {"reason": 5}, "reason"),
    ],
)
def test_a_bad_field_is_named(adm, path, body, field):
    response = adm.post(path, json=body, params=FUND)
    assert failed(response, 400, "INVALID_REQUEST")
    assert response.json()["message"].startswith(f"Validation failed: {field}: ")


def test_whose_budget_it_is(adm, keyed):
    http = keyed("budgets:write", "budgets:read")
    response = http.post(BUDGETS, json=budget())
    assert failed(response, 400, "INVALID_REQUEST")
    assert "tenant_id" in response.json()["message"]
    mine = budget()
    del mine["tenant_id"]
    assert failed(http.post(BUDGETS, json={**mine, "scope": "tenant:other"}), 400, "INVALID_REQUEST")
    assert http.post(BUDGETS, json=mine).status_code == 201
    assert failed(adm.post(BUDGETS, json=budget(tenant_id="nobody", scope="tenant:nobody")), 404, "TENANT_NOT_FOUND")
    adm.post(TENANTS, json={"tenant_id": "other", "name": "n"})
    assert adm.post(BUDGETS, json=budget(tenant_id="other", scope="tenant:other")).status_code == 201
    assert failed(http.get(BUDGETS, params={"tenant_id": "other"}), 403, "FORBIDDEN")
    at = {"scope": "tenant:other", "unit": "TOKENS"}
    assert failed(http.get(f"{BUDGETS}/lookup", params=at), 403, "FORBIDDEN")
    assert failed(http.post(f"{BUDGETS}/fund", params=at, json=funding()), 403, "FORBIDDEN")
    assert [row["scope"] for row in http.get(BUDGETS).json()["ledgers"]] == [SCOPE]
    assert len(adm.get(BUDGETS).json()["ledgers"]) == 2


def test_a_scope_filter_confines_a_key(adm, keyed):
    for scope in (SCOPE, f"{SCOPE}/agent:a", f"{SCOPE}/agent:a/toolset:t", f"{SCOPE}/agent:ab"):
        assert adm.post(BUDGETS, json=budget(scope=scope)).status_code == 201
    http = keyed("admin:read", "admin:write", scope_filter=[f"{SCOPE}/agent:A/*"])
    shown = [row["scope"] for row in http.get(BUDGETS).json()["ledgers"]]
    assert shown == [f"{SCOPE}/agent:a", f"{SCOPE}/agent:a/toolset:t"]
    for scope, status in {SCOPE: 403, f"{SCOPE}/agent:ab": 403, f"{SCOPE}/agent:a/toolset:t": 200}.items():
        at = {"scope": scope, "unit": "TOKENS"}
        assert http.get(f"{BUDGETS}/lookup", params=at).status_code == status
        assert http.post(f"{BUDGETS}/fund", params=at, json=funding()).status_code == status


def test_g2_patching_a_budget(adm, wire):
    assert adm.post(BUDGETS, json=budget(overdraft_limit=amount(100), metadata={"a": 1})).status_code == 201
    assert wire.event(1050, overage_policy="ALLOW_WITH_OVERDRAFT").is_success
    adm.post(f"{BUDGETS}/fund", params=FUND, json=funding())
    assert wire.reserve(1).is_success
    changed = adm.patch(BUDGETS, params=AT, json={"overdraft_limit": amount(40), "commit_overage_policy": "REJECT"})
    assert changed.json()["is_over_limit"] is True
    assert (changed.json()["commit_overage_policy"], changed.json()["metadata"]) == ("REJECT", {"a": 1})
    assert failed(wire.reserve(1), 409, "OVERDRAFT_LIMIT_EXCEEDED")
    assert adm.patch(BUDGETS, params=AT, json={"metadata": {}}).json()["is_over_limit"] is True
    assert adm.patch(BUDGETS, params=AT, json={"overdraft_limit": amount(50)}).json()["is_over_limit"] is False
    assert wire.reserve(1).is_success
    assert failed(adm.patch(BUDGETS, params=AT, json={"overdraft_limit": amount(1, "CREDITS")}), 400, "UNIT_MISMATCH")
    assert failed(adm.patch(BUDGETS, params={**AT, "unit": "CREDITS"}, json={}), 404, "BUDGET_NOT_FOUND")
    assert failed(adm.patch(BUDGETS, params=AT, json={"status": "CLOSED"}), 400, "INVALID_REQUEST")


def test_g1_a_patch_opens_a_capped_budget(adm, wire):
    assert adm.post(BUDGETS, json=budget()).status_code == 201
    assert wire.event(1001).json()["balances"][0]["is_over_limit"] is True
    assert adm.patch(BUDGETS, params=AT, json={"metadata": {}}).json()["is_over_limit"] is False
    assert wire.reserve(0).is_success


def test_freezing(adm, wire):
    assert adm.post(BUDGETS, json=budget()).status_code == 201
    held = wire.reserve(10)
    assert adm.post(f"{BUDGETS}/freeze", params=AT, json={"reason": "why"}).json()["status"] == "FROZEN"
    assert failed(adm.post(f"{BUDGETS}/freeze", params=AT), 409, "INVALID_REQUEST")
    assert failed(wire.reserve(1), 409, "BUDGET_FROZEN")
    assert wire.commit(held, 10).is_success
    assert failed(adm.post(f"{BUDGETS}/fund", params=FUND, json=funding()), 409, "BUDGET_FROZEN")
    assert adm.post(f"{BUDGETS}/unfreeze", params=AT).json()["status"] == "ACTIVE"
    assert failed(adm.post(f"{BUDGETS}/unfreeze", params=AT), 409, "INVALID_REQUEST")
    assert failed(adm.post(f"{BUDGETS}/freeze", params={**AT, "unit": "CREDITS"}), 404, "BUDGET_NOT_FOUND")
    for wrong in ({"unit": "TOKENS"}, {"scope": SCOPE}, {**AT, "unit": "x"}, {**AT, "scope": "x"}):
        assert failed(adm.post(f"{BUDGETS}/freeze", params=wrong), 400, "INVALID_REQUEST")
