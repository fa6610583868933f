"""The administration over HTTP (docs/authority.md, Over HTTP): calls, statuses, codes, permissions, order of checks."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

import cycles
from cycles import tokens
from cycles.local import LocalAuthority
from cycles.local.server import serve
from tests.support.authorities import ADMIN_KEY, SCOPE
from tests.support.wire import Wire, failed

from .calls import AT, BUDGETS, FUND, KEYS, TENANTS, amount, budget, funding

ISO = re.compile(r"2027-01-15T08:00:0[0-9]\.[0-9]{3}Z")


def headers_hold(response: httpx.Response) -> None:
    response.read()
    assert response.headers["content-type"] == "application/json"
    assert re.fullmatch("[0-9a-f]{32}", response.headers["x-cycles-trace-id"])
    assert (response.headers["x-ratelimit-remaining"], response.headers["x-ratelimit-reset"]) == ("-1", "0")
    assert response.headers["x-request-id"]


@pytest.fixture
def asking(authority):
    """Makes clients of the administration's paths; the tests' own way of asking."""
    made = []

    def client(**headers: str) -> httpx.Client:
        hooks = {"response": [headers_hold]}
        http = httpx.Client(transport=authority.transport(), base_url="http://test", headers=headers, event_hooks=hooks)
        made.append(http)
        return http

    yield client
    for http in made:
        http.close()


@pytest.fixture
def adm(asking):
    """The administrator, and the tenant acme."""
    http = asking(**{"X-Admin-API-Key": ADMIN_KEY})
    assert http.post(TENANTS, json={"tenant_id": "acme", "name": "Acme"}).status_code == 201
    return http


@pytest.fixture
def keyed(adm, asking):
    """Makes clients with a fresh key of a tenant, as the administration gives it."""

    def client(*permissions: str, tenant: str = "acme", **fields: Any) -> httpx.Client:
        body = {"tenant_id": tenant, "name": "k", **fields}
        if permissions:
            body["permissions"] = list(permissions)
        return asking(**{"X-Cycles-API-Key": adm.post(KEYS, json=body).json()["key_secret"]})

    return client


# -- from nothing to a limit, on a real server -------------------------------------------------------------------------
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


# -- who may ask -------------------------------------------------------------------------------------------------------
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


# -- tenants -----------------------------------------------------------------------------------------------------------
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


# -- API keys ----------------------------------------------------------------------------------------------------------
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


# -- budgets -----------------------------------------------------------------------------------------------------------
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


# -- funding -----------------------------------------------------------------------------------------------------------
def test_what_funding_answers(adm, wire):
    assert adm.post(BUDGETS, json=budget()).status_code == 201
    assert wire.event(300).is_success
    answer = adm.post(
        f"{BUDGETS}/fund", params=FUND, json=funding("RESET_SPENT", 2000, spent=amount(5), reason="new", metadata={})
    ).json()
    assert ISO.fullmatch(answer.pop("timestamp"))
    assert answer == {
        "operation": "RESET_SPENT",
        "previous_allocated": amount(1000),
        "new_allocated": amount(2000),
        "previous_remaining": amount(700),
        "new_remaining": amount(1995),
        "previous_debt": amount(0),
        "new_debt": amount(0),
        "previous_spent": amount(300),
        "new_spent": amount(5),
        "is_over_limit": False,
    }


def test_funding_is_exact_beyond_doubles(adm):
    assert adm.post(BUDGETS, json=budget(allocated=amount(2**53))).status_code == 201
    answer = adm.post(f"{BUDGETS}/fund", params=FUND, json=funding(number=2**53 + 1)).json()
    assert answer["new_allocated"]["amount"] == 2**54 + 1
    too_much = adm.post(f"{BUDGETS}/fund", params=FUND, json=funding(number=2**63 - 1))
    assert failed(too_much, 400, "INVALID_REQUEST")
    assert "int64" in too_much.json()["message"]


def test_replay_of_funding(adm, authority, clock):
    assert adm.post(BUDGETS, json=budget()).status_code == 201
    asked = funding(idempotency_key="K")
    first = adm.post(f"{BUDGETS}/fund", params=FUND, json=asked)
    clock.now += 5_000
    again = adm.post(f"{BUDGETS}/fund", params=FUND, json={**asked, "reason": None})
    assert (again.status_code, again.content) == (200, first.content)
    assert authority.balance(SCOPE, "TOKENS").allocated == 1100
    for other in (funding(number=101, idempotency_key="K"), funding("DEBIT", idempotency_key="K")):
        assert failed(adm.post(f"{BUDGETS}/fund", params=FUND, json=other), 409, "IDEMPOTENCY_MISMATCH")
    for _ in range(2):
        assert adm.post(f"{BUDGETS}/fund", params=FUND, json=funding()).is_success
    assert authority.balance(SCOPE, "TOKENS").allocated == 1300, "without a key each one counts"
    clock.now += 86_400_000
    assert adm.post(f"{BUDGETS}/fund", params=FUND, json=asked).json()["new_allocated"]["amount"] == 1400


def test_a_funding_error_is_not_kept(adm, authority):
    asked = funding("DEBIT", 500, idempotency_key="K")
    assert failed(adm.post(f"{BUDGETS}/fund", params=FUND, json=asked), 404, "BUDGET_NOT_FOUND")
    assert adm.post(BUDGETS, json=budget(allocated=amount(400))).status_code == 201
    assert failed(adm.post(f"{BUDGETS}/fund", params=FUND, json=asked), 409, "BUDGET_EXCEEDED")
    authority.fund(SCOPE, "CREDIT", tokens(100))
    assert adm.post(f"{BUDGETS}/fund", params=FUND, json=asked).json()["new_remaining"]["amount"] == 0


def test_one_funding_key_of_two_tenants(adm, keyed):
    """A funding key belongs to its tenant: the second one funds its own budget with it, and sees its own figures."""
    adm.post(TENANTS, json={"tenant_id": "other", "name": "n"})
    for tenant in ("acme", "other"):
        assert adm.post(BUDGETS, json=budget(tenant_id=tenant, scope=f"tenant:{tenant}")).status_code == 201
    asked = funding(idempotency_key="K")
    mine, theirs = keyed("budgets:write"), keyed("budgets:write", tenant="other")
    first = mine.post(f"{BUDGETS}/fund", params=AT, json=asked)
    assert first.is_success
    at = {"scope": "tenant:other", "unit": "TOKENS"}
    assert adm.post(f"{BUDGETS}/fund", params={**at, "tenant_id": "other"}, json=asked).is_success
    again = theirs.post(f"{BUDGETS}/fund", params=at, json=asked)
    assert again.json()["new_allocated"]["amount"] == 1100, "it was funded once, with this key"
    changed = theirs.post(f"{BUDGETS}/fund", params=at, json=funding(number=101, idempotency_key="K"))
    assert failed(changed, 409, "IDEMPOTENCY_MISMATCH")
    assert failed(theirs.post(f"{BUDGETS}/fund", params=AT, json=funding(idempotency_key="L")), 403, "FORBIDDEN")
    assert adm.post(f"{BUDGETS}/fund", params=FUND, json=asked).content == first.content


def test_order_of_checks_of_funding(adm, authority, asking, keyed):
    """Each request has everything wrong that comes later in the order; the first wins, and is then put right."""
    path = f"{BUDGETS}/fund"
    adm.post(TENANTS, json={"tenant_id": "other", "name": "n"})
    adm.post(TENANTS, json={"tenant_id": "gone-1", "name": "n"})
    adm.patch(f"{TENANTS}/gone-1", json={"status": "CLOSED"})
    params: dict[str, str] = {"scope": f"{SCOPE}/agent:a", "unit": "TOKENS"}
    body = funding("DEBIT", 5000, spent=amount(1), idempotency_key="K")
    body["amount"]["unit"] = "CREDITS"

    def asked(**headers: str) -> httpx.Response:
        return adm.post(path, params=params, json=body, headers=headers)

    assert failed(asked(**{"X-Admin-API-Key": "wrong"}), 401, "UNAUTHORIZED")
    assert failed(keyed().post(path, params=params, content=b"{"), 403, "INSUFFICIENT_PERMISSIONS")
    assert failed(asked(**{"X-Idempotency-Key": "other"}), 400, "INVALID_REQUEST")
    assert failed(asked(), 400, "UNIT_MISMATCH")
    body["amount"]["unit"] = "TOKENS"
    assert "spent" in asked().json()["message"]
    del body["spent"]
    assert "tenant_id" in asked().json()["message"]
    params["tenant_id"] = "gone-1"
    assert failed(asked(), 409, "TENANT_CLOSED")
    params["tenant_id"] = "other"
    assert failed(asked(), 404, "BUDGET_NOT_FOUND")
    authority.budget(f"{SCOPE}/agent:a", tokens(100))
    authority.freeze(f"{SCOPE}/agent:a", "TOKENS")
    assert failed(asked(), 403, "FORBIDDEN")
    params["tenant_id"] = "acme"
    assert failed(asked(), 409, "BUDGET_FROZEN")
    authority.unfreeze(f"{SCOPE}/agent:a", "TOKENS")
    assert failed(asked(), 409, "BUDGET_EXCEEDED")
    authority.fund(f"{SCOPE}/agent:a", "CREDIT", tokens(5000))
    first = asked()
    assert first.is_success
    # a replay comes before everything that the ledger says, though after the closed tenant
    authority.close_budget(f"{SCOPE}/agent:a", "TOKENS")
    assert asked().content == first.content
    body["amount"]["amount"] = 1
    assert failed(asked(), 409, "IDEMPOTENCY_MISMATCH")
    body["idempotency_key"] = "L"
    assert failed(asked(), 409, "BUDGET_CLOSED")
    authority.tenant("acme", status="CLOSED")
    assert failed(asked(), 409, "TENANT_CLOSED")


# -- lists -------------------------------------------------------------------------------------------------------------
def everything(http: httpx.Client, path: str, name: str, **params: Any) -> list[dict[str, Any]]:
    """Every row of every page of two."""
    found: list[dict[str, Any]] = []
    while True:
        page = http.get(path, params={"limit": 2, **params}).json()
        assert len(page[name]) <= 2
        found += page[name]
        assert page["has_more"] == ("next_cursor" in page)
        if not page["has_more"]:
            return found
        params["cursor"] = page["next_cursor"]


def test_pages(adm, authority, clock):
    for number in range(5):
        clock.now += number % 2
        assert adm.post(TENANTS, json={"tenant_id": f"tenant-{number}", "name": "n"}).status_code == 201
        assert adm.post(KEYS, json={"tenant_id": f"tenant-{number}", "name": "k"}).status_code == 201
        authority.budget(f"tenant:tenant-{number}", tokens(number))
    ids = ["acme", *(f"tenant-{number}" for number in range(5))]
    assert [row["tenant_id"] for row in everything(adm, TENANTS, "tenants")] == ids
    keys = everything(adm, KEYS, "keys")
    assert len({key["key_id"] for key in keys}) == 5
    assert [key["created_at"] for key in keys] == sorted((key["created_at"] for key in keys), reverse=True)
    assert [row["scope"] for row in everything(adm, BUDGETS, "ledgers")] == [f"tenant:{each}" for each in ids[1:]]
    cursor = adm.get(KEYS, params={"limit": 2}).json()["next_cursor"]
    for path, params in (
        (KEYS, {"cursor": cursor, "status": "ACTIVE"}),
        (TENANTS, {"cursor": cursor}),
        (BUDGETS, {"cursor": "garbage"}),
        (KEYS, {"limit": "0"}),
        (TENANTS, {"limit": "201"}),
        (TENANTS, {"status": "active"}),
        (KEYS, {"status": "x"}),
        (BUDGETS, {"status": "x"}),
        (BUDGETS, {"unit": "x"}),
        (BUDGETS, {"over_limit": "perhaps"}),
    ):
        response = adm.get(path, params=params)
        assert failed(response, 400, "INVALID_REQUEST")
        assert next(iter(params)) in response.json()["message"]


def test_filters_of_lists(adm, authority, wire, clock):
    authority.budget(SCOPE, tokens(10), overdraft_limit=tokens(5))
    authority.budget(f"{SCOPE}/agent:a", tokens(10))
    authority.budget(f"{SCOPE}/agent:b", tokens(10))
    authority.budget("tenant:acme2", tokens(10))
    authority.budget(SCOPE, cycles.credits(1))
    authority.freeze(f"{SCOPE}/agent:b", "TOKENS")
    wire.event(12, overage_policy="ALLOW_WITH_OVERDRAFT")
    wire.event(11, subject={"tenant": "acme", "agent": "a"}, overage_policy="ALLOW_IF_AVAILABLE")

    def shown(**params: Any) -> list[str]:
        return [f"{row['scope']} {row['unit'][0]}" for row in everything(adm, BUDGETS, "ledgers", **params)]

    assert shown(tenant_id="acme2") == ["tenant:acme2 T"]
    assert shown(scope_prefix="tenant:Acme/") == [f"{SCOPE}/agent:a T", f"{SCOPE}/agent:b T"]
    assert shown(unit="CREDITS") == [f"{SCOPE} C"]
    assert shown(status="FROZEN") == [f"{SCOPE}/agent:b T"]
    assert shown(has_debt="true") == [f"{SCOPE} T"]
    assert shown(over_limit="true") == [f"{SCOPE} T", f"{SCOPE}/agent:a T"]
    assert len(shown(over_limit="false", has_debt="false")) == 3
    adm.patch(f"{TENANTS}/acme", json={"status": "SUSPENDED"})
    assert [row["tenant_id"] for row in everything(adm, TENANTS, "tenants", status="SUSPENDED")] == ["acme"]
    authority.revoke(wire.secret)
    authority.key(tenant="acme2", name="short", expires=timedelta(seconds=1))
    authority.key(tenant="acme2", name="long")
    clock.now += 1_000
    assert [row["name"] for row in everything(adm, KEYS, "keys", status="ACTIVE")] == ["long"]
    assert [row["name"] for row in everything(adm, KEYS, "keys", status="EXPIRED")] == ["short"]
    assert len(everything(adm, KEYS, "keys", status="REVOKED")) == 1
    assert len(everything(adm, KEYS, "keys", tenant_id="acme2")) == 2


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
