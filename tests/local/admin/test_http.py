"""The administration over HTTP (docs/authority.md, Over HTTP): who may ask, its routes, and a whole script."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from cycles.local import LocalAuthority
from cycles.local.server import serve
from tests.support.authorities import ADMIN_KEY, SCOPE
from tests.support.wire import Wire, failed

from .calls import AT, BUDGETS, KEYS, TENANTS, amount, funding


def test_a_script_provisions_and_spends():
    """What users' scripts do with two servers works with this one: tenant, key, budget, reserve, fund, freeze."""
    with LocalAuthority(admin_key=ADMIN_KEY) as authority, serve(authority) as url, httpx.Client(base_url=url) as http:
        admin = {"X-Admin-API-Key": ADMIN_KEY}
        made = http.post(TENANTS, json={"tenant_id": "demo-corp", "name": "Demo"}, headers=admin)
        assert (made.status_code, made.json()["status"]) == (201, "ACTIVE")
        body = {"tenant_id": "demo-corp", "name": "agent", "permissions": ["reservations:create", "budgets:write"]}
        key = {"X-Cycles-API-Key": http.post(KEYS, json=body, headers=admin).json()["key_secret"]}
        body = {"scope": "tenant:demo-corp", "unit": "TOKENS", "allocated": amount(100)}
        made = http.post(BUDGETS, json=body, headers=key)
        assert (made.status_code, made.headers["X-Cycles-Tenant"]) == (201, "demo-corp")
        ask = {
            "idempotency_key": "1",
            "subject": {"tenant": "demo-corp"},
            "action": {"kind": "k", "name": "n"},
            "estimate": amount(150),
        }
        assert failed(http.post("/v1/reservations", json=ask, headers=key), 409, "BUDGET_EXCEEDED")
        at = {"scope": "tenant:demo-corp", "unit": "TOKENS"}
        assert http.post(f"{BUDGETS}/fund", params=at, json=funding(), headers=key).is_success
        assert http.post("/v1/reservations", json=ask, headers=key).is_success
        assert http.post(f"{BUDGETS}/freeze", params=at, headers=admin).json()["status"] == "FROZEN"
        ask["idempotency_key"] = "2"
        assert failed(http.post("/v1/reservations", json=ask, headers=key), 409, "BUDGET_FROZEN")
        assert "key_secret" not in http.get(KEYS, headers=admin).text


ADMINS_ONLY = [
    ("GET", TENANTS),
    ("POST", TENANTS),
    ("GET", f"{TENANTS}/acme"),
    ("PATCH", f"{TENANTS}/acme"),
    ("GET", KEYS),
    ("POST", KEYS),
    ("DELETE", f"{KEYS}/key_x"),
    ("PATCH", BUDGETS),
    ("POST", f"{BUDGETS}/freeze"),
    ("POST", f"{BUDGETS}/unfreeze"),
]


BOTH = [("GET", BUDGETS), ("POST", BUDGETS), ("GET", f"{BUDGETS}/lookup"), ("POST", f"{BUDGETS}/fund")]


@pytest.mark.parametrize(("method", "path"), [*ADMINS_ONLY, *BOTH, ("GET", "/v1/auth/introspect")])
def test_without_a_key_401(asking, method, path):
    for headers in ({}, {"X-Admin-API-Key": " "}, {"X-Admin-API-Key": "wrong"}):
        assert failed(asking(**headers).request(method, path, content=b"{"), 401, "UNAUTHORIZED")


@pytest.mark.parametrize(("method", "path"), ADMINS_ONLY)
def test_a_tenants_key_is_no_administrators(keyed, method, path):
    response = keyed("admin:read", "admin:write").request(method, path, content=b"{")
    assert failed(response, 401, "UNAUTHORIZED")
    assert "X-Admin-API-Key" in response.json()["message"]


def test_a_wrong_administrators_key_is_not_saved_by_a_good_tenants(keyed):
    http = keyed("budgets:read")
    assert failed(http.get(BUDGETS, headers={"X-Admin-API-Key": "wrong"}), 401, "UNAUTHORIZED")
    assert http.get(BUDGETS).is_success


@pytest.mark.parametrize(("method", "path"), [*BOTH, ("GET", "/v1/auth/introspect")])
def test_an_invalid_tenants_key_is_403_here(authority, adm, keyed, asking, clock, method, path):
    """The runtime answers 401; the reason tokens are the same."""

    def says(http: httpx.Client, token: str) -> None:
        response = http.request(method, path, content=b"{")
        assert failed(response, 403, "FORBIDDEN")
        assert response.json()["message"].startswith(token)
        assert "x-cycles-tenant" not in response.headers

    says(asking(**{"X-Cycles-API-Key": "never issued"}), "KEY_NOT_FOUND")
    moment = datetime.fromtimestamp(clock.now / 1000, UTC) + timedelta(seconds=5)
    late, good = keyed(expires_at=moment.isoformat()), keyed("budgets:read", "budgets:write")
    clock.now += 5_000
    says(late, "KEY_EXPIRED")
    assert adm.patch(f"{TENANTS}/acme", json={"status": "SUSPENDED"}).is_success
    says(good, "TENANT_SUSPENDED")
    assert adm.patch(f"{TENANTS}/acme", json={"status": "ACTIVE"}).is_success
    for key in authority.keys("acme"):
        authority.revoke_key(key.key_id)
    says(good, "KEY_REVOKED")


@pytest.mark.parametrize(("method", "path"), BOTH)
def test_permissions(keyed, method, path):
    need = "budgets:read" if method == "GET" else "budgets:write"
    for permissions in ((), ("budgets:read", "budgets:write", "admin:read", "admin:write")):
        given = [each for each in permissions if not each.endswith(need.partition(":")[2])]
        response = keyed(*given).request(method, path, content=b"{")
        assert failed(response, 403, "INSUFFICIENT_PERMISSIONS"), "before the body is looked at"
        assert need in response.json()["message"]
        assert response.headers["X-Cycles-Tenant"] == "acme"
    for enough in (need, f"admin:{need.partition(':')[2]}"):
        response = keyed(enough).request(method, path, content=b"{")
        assert response.status_code in (200, 400)


def test_lenient_permissions(clock):
    with LocalAuthority(clock=clock, lenient_permissions=True) as authority:
        wire = Wire(authority, clock)
        wire.http.event_hooks["response"].clear()
        assert wire.post(BUDGETS, {"scope": SCOPE, "unit": "TOKENS", "allocated": amount(5)}).status_code == 201
        assert wire.http.post(f"{BUDGETS}/fund", params=AT, json=funding()).is_success
        assert wire.get("/v1/auth/introspect").json()["capabilities"]["write_budgets"] is True
        assert failed(wire.http.post(f"{BUDGETS}/freeze", params=AT), 401, "UNAUTHORIZED")


def test_without_an_administrator_it_is_said(clock):
    with LocalAuthority(clock=clock) as authority, httpx.Client(transport=authority.transport()) as http:
        response = http.get(f"http://test{TENANTS}", headers={"X-Admin-API-Key": "any"})
        assert failed(response, 401, "UNAUTHORIZED")
        assert "admin_key" in response.json()["message"]
        response = http.get(f"http://test{TENANTS}")
        assert failed(response, 401, "UNAUTHORIZED")
        assert "no administrator's key" in response.json()["message"]


def test_routes(adm, keyed):
    assert failed(adm.get("/v1/admin/policies"), 404, "NOT_FOUND")
    assert failed(keyed().get("/v1/admin/"), 404, "NOT_FOUND")
    response = adm.put(BUDGETS)
    assert failed(response, 405, "INVALID_REQUEST")
    assert response.headers["Allow"] == "GET, POST, PATCH"
    assert failed(adm.post(TENANTS, content=b"{}", headers={"Content-Type": "text/plain"}), 415, "INVALID_REQUEST")


def test_introspection(adm, keyed):
    assert adm.get("/v1/auth/introspect").json() == {
        "authenticated": True,
        "auth_type": "admin",
        "permissions": ["admin:read", "admin:write"],
        "capabilities": {
            "manage_tenants": True,
            "manage_api_keys": True,
            "read_budgets": True,
            "write_budgets": True,
        },
    }
    shown = keyed("admin:read").get("/v1/auth/introspect").json()
    assert (shown["auth_type"], shown["tenant_id"], shown["permissions"]) == ("tenant", "acme", ["admin:read"])
    assert shown["capabilities"] == {
        "manage_tenants": False,
        "manage_api_keys": False,
        "read_budgets": True,
        "write_budgets": False,
    }


def test_secrets_are_in_no_error_and_no_log(adm, keyed, caplog):
    """Every way of being refused, with the key and the administrator's key in the request."""
    http = keyed()
    secret = http.headers["X-Cycles-API-Key"]
    for response in (
        http.post(BUDGETS, json={}),
        http.get(TENANTS),
        http.get(BUDGETS, headers={"X-Admin-API-Key": f"{ADMIN_KEY}x"}),
        http.get("/v1/admin/nowhere"),
        adm.put(KEYS),
        adm.post(KEYS, json={"tenant_id": "nobody", "name": "k"}),
    ):
        assert response.is_client_error
        for shown in (response.text, str(response.headers), caplog.text):
            assert secret not in shown
            assert ADMIN_KEY not in shown
