"""Who is asking the authority, and the headers of its answers (docs/authority.md)."""

from __future__ import annotations

import httpx
import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from tests.support.authorities import ADMIN_KEY, SCOPE
from tests.support.wire import Wire, failed

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


# -- closed tenants (worked row 41) ------------------------------------------------------------------------------------
def test_closed_and_suspended_tenants(wire, authority):
    authority.budget(SCOPE, tokens(100))
    held = wire.reserve(40)
    authority.tenant("acme", status="SUSPENDED")
    response = wire.reserve(1)
    assert failed(response, 401, "UNAUTHORIZED")
    assert response.json()["message"].startswith("TENANT_SUSPENDED")
    assert "x-cycles-tenant" not in response.headers
    authority.tenant("acme")
    assert wire.reserve(1).is_success
    authority.tenant("acme", status="CLOSED")
    assert wire.reserve(1).json()["message"].startswith("KEY_REVOKED")
    assert authority.balance(SCOPE, "TOKENS").reserved == 0
    wire.http.headers["X-Admin-API-Key"] = ADMIN_KEY
    assert failed(wire.release(held), 409, "TENANT_CLOSED")
    del wire.http.headers["X-Admin-API-Key"]
    wire.http.headers["X-Cycles-API-Key"] = authority.key(tenant="acme")
    for response in (wire.get("/v1/reservations"), wire.reserve(1)):
        assert failed(response, 401, "UNAUTHORIZED")
        assert response.json()["message"].startswith("TENANT_CLOSED"), "a key that was made afterwards, too"


# -- who is asking -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/v1/balances", "/v1/nowhere", "/", "/v1/reservations", "/actuator/env"])
def test_the_key_comes_first(wire, path):
    del wire.http.headers["X-Cycles-API-Key"]
    response = httpx.Client(transport=wire.authority.transport()).get(f"http://test{path}")
    assert failed(response, 401, "UNAUTHORIZED")
    assert response.json()["message"] == "Missing API key"
    assert failed(wire.http.get(path, headers={"X-Cycles-API-Key": " "}), 401, "UNAUTHORIZED")
    response = wire.http.post(path, content=b"{", headers={"X-Cycles-API-Key": "cyc_live_nobody"})
    assert failed(response, 401, "UNAUTHORIZED")
    assert response.json()["message"].startswith("KEY_NOT_FOUND")


def test_a_revoked_key(wire, authority):
    authority.revoke(wire.secret)
    authority.revoke("never issued")
    assert wire.get("/v1/balances", tenant="acme").json()["message"].startswith("KEY_REVOKED")


def test_other_tenants_are_forbidden(wire, authority):
    authority.budget(SCOPE, tokens(100))
    authority.budget("tenant:other", tokens(100))
    held = wire.reserve(10, key="K")
    wire.http.headers["X-Cycles-API-Key"] = authority.key(tenant="other")
    for response in (
        wire.reserve(10, key="K"),
        wire.decide(1),
        wire.event(1),
        wire.commit(held, 1),
        wire.release(held),
        wire.extend(held, 1),
        wire.get(f"/v1/reservations/{held.json()['reservation_id']}"),
        wire.get("/v1/reservations", tenant="acme"),
        wire.get("/v1/balances", tenant="acme"),
    ):
        assert failed(response, 403, "FORBIDDEN")
        assert response.headers["X-Cycles-Tenant"] == "other"
    wire.tenant = "Other"
    assert failed(wire.reserve(1), 403, "FORBIDDEN")
    assert wire.get("/v1/reservations").json()["reservations"] == []


def test_the_administrators_key(wire, authority):
    authority.budget(SCOPE, tokens(100))
    held = wire.reserve(10)
    path = f"/v1/reservations/{held.json()['reservation_id']}"
    del wire.http.headers["X-Cycles-API-Key"]
    wire.http.headers["X-Admin-API-Key"] = ADMIN_KEY
    response = wire.get(path)
    assert response.json()["status"] == "ACTIVE"
    assert "x-cycles-tenant" not in response.headers
    assert len(wire.get("/v1/reservations", tenant="acme").json()["reservations"]) == 1
    response = wire.get("/v1/reservations")
    assert failed(response, 400, "INVALID_REQUEST")
    text = "tenant query parameter is required when using admin key authentication"
    assert response.json()["message"] == text
    for elsewhere in (
        wire.reserve(1),
        wire.decide(1),
        wire.event(1),
        wire.commit(held, 1),
        wire.extend(held, 1),
        wire.get("/v1/balances", tenant="acme"),
    ):
        assert failed(elsewhere, 401, "UNAUTHORIZED")
    assert wire.release(held).is_success
    wire.http.headers["X-Admin-API-Key"] = "wrong"
    wire.http.headers["X-Cycles-API-Key"] = wire.secret
    assert failed(wire.get(path), 401, "UNAUTHORIZED")
    assert wire.reserve(1).is_success, "elsewhere it is ignored"


def test_without_an_administrator(clock):
    with LocalAuthority(clock=clock) as authority:
        wire = Wire(authority, clock)
        wire.http.headers["X-Admin-API-Key"] = "anything"
        assert failed(wire.get("/v1/reservations"), 401, "UNAUTHORIZED")
        assert failed(wire.get("/status.json"), 401, "UNAUTHORIZED")
        assert failed(wire.get("/v1/reservations/x"), 401, "UNAUTHORIZED")
        assert failed(wire.post("/v1/reservations/x/release", {"idempotency_key": "k"}), 401, "UNAUTHORIZED")
        assert failed(wire.get("/v1/admin/nowhere"), 401, "UNAUTHORIZED")
        assert wire.decide(1).is_success, "where the administrator has no business the header says nothing"


# -- headers -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("headers", "trace"),
    [
        ({"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, TRACE),
        ({"traceparent": f"00-{TRACE.upper()}-00F067AA0BA902B7-01", "X-Cycles-Trace-Id": "1" * 32}, TRACE),
        ({"X-Cycles-Trace-Id": "AB" * 16}, "ab" * 16),
        ({"traceparent": f"00-{'0' * 32}-00f067aa0ba902b7-01", "X-Cycles-Trace-Id": "1" * 32}, "1" * 32),
        ({"traceparent": f"00-{TRACE}-{'0' * 16}-01", "X-Cycles-Trace-Id": "1" * 32}, "1" * 32),
        ({"traceparent": f"01-{TRACE}-00f067aa0ba902b7-01"}, None),
        ({"X-Cycles-Trace-Id": "0" * 32}, None),
        ({"X-Cycles-Trace-Id": "x" * 32}, None),
        ({}, None),
    ],
)
def test_trace_ids(wire, headers, trace):
    seen = {wire.http.get("/v1/nowhere", headers=headers).headers["X-Cycles-Trace-Id"] for _ in range(2)}
    assert seen == {trace} if trace else len(seen) == 2


def test_request_ids_are_fresh(wire):
    seen = {wire.http.get("/actuator/health", headers={"X-Request-Id": "mine"}).headers["X-Request-Id"] for _ in "ab"}
    assert len(seen) == 2
    assert "mine" not in seen


def test_health_and_evidence_need_no_key(wire):
    with httpx.Client(transport=wire.authority.transport(), base_url="http://test") as http:
        for probe in ("", "/readiness", "/liveness"):
            response = http.get(f"/actuator/health{probe}")
            assert (response.status_code, response.json()) == (200, {"status": "UP"})
        assert failed(http.get(f"/v1/evidence/{'a' * 64}"), 404, "NOT_FOUND")
        for malformed in ("A", "a" * 63, "a" * 65, "A" * 64, "a" * 64 + "%0A"):
            assert failed(http.get(f"/v1/evidence/{malformed}"), 400, "INVALID_REQUEST")
        assert failed(http.get("/v1/.well-known/cycles-jwks.json"), 404, "NOT_FOUND")


def test_routes(wire):
    assert failed(wire.http.get("/v1/nowhere"), 404, "NOT_FOUND")
    assert failed(wire.http.get("/v1/reservations/"), 404, "NOT_FOUND")
    assert failed(wire.http.post("/v1/reservations/x/undo", json={}), 404, "NOT_FOUND")
    response = wire.http.delete("/v1/reservations")
    assert failed(response, 405, "INVALID_REQUEST")
    assert response.headers["Allow"] == "GET, POST"
    assert failed(wire.http.get("/v1/reservations/a%2Fcommit"), 404, "NOT_FOUND")
