"""A closed or suspended tenant on every route: its keys are refused at the door, whatever they ask for."""

from __future__ import annotations

import httpx
import pytest

from cycles import tokens
from tests.support.authorities import ADMIN_KEY, SCOPE
from tests.support.wire import failed

ASK = {"idempotency_key": "k", "subject": {"tenant": "acme"}, "action": {"kind": "k", "name": "n"}}
ONE = {"unit": "TOKENS", "amount": 1}
RUNTIME = [
    ("GET", "/v1/reservations", None),
    ("POST", "/v1/reservations", {**ASK, "estimate": ONE}),
    ("POST", "/v1/reservations", {**ASK, "estimate": ONE, "dry_run": True}),
    ("POST", "/v1/reservations", {**ASK, "estimate": ONE, "observe_mode": "OBSERVE"}),
    ("GET", "/v1/reservations/{held}", None),
    ("POST", "/v1/reservations/{held}/commit", {"idempotency_key": "k", "actual": ONE}),
    ("POST", "/v1/reservations/{held}/release", {"idempotency_key": "k"}),
    ("POST", "/v1/reservations/{held}/extend", {"idempotency_key": "k", "extend_by_ms": 1000}),
    ("POST", "/v1/decide", {**ASK, "estimate": ONE}),
    ("POST", "/v1/events", {**ASK, "actual": ONE}),
    ("GET", "/v1/balances?tenant=acme", None),
    ("GET", "/status.json", None),
    ("GET", "/v1/nowhere", None),
]
ADMINISTRATION = [
    ("GET", "/v1/admin/budgets", None),
    ("POST", "/v1/admin/budgets", {"scope": SCOPE, "unit": "CREDITS", "allocated": {"unit": "CREDITS", "amount": 1}}),
    ("GET", f"/v1/admin/budgets/lookup?scope={SCOPE}&unit=TOKENS", None),
    ("POST", f"/v1/admin/budgets/fund?scope={SCOPE}&unit=TOKENS", {"operation": "CREDIT", "amount": ONE}),
    ("GET", "/v1/auth/introspect", None),
]


@pytest.mark.parametrize("status", ["SUSPENDED", "CLOSED"])
def test_keys_of_a_tenant_that_is_not_active(authority, status):
    """A key of the ledger, and one of this process: 401 by the runtime, 403 by the rest, and nothing moves."""
    authority.budget(SCOPE, tokens(100))
    keys = [
        authority.key(tenant="acme", permissions=["budgets:read", "budgets:write"]),
        authority.session_key(tenant="acme"),
    ]
    with httpx.Client(transport=authority.transport(), base_url="http://test") as http:
        opened = {**ASK, "idempotency_key": "before", "estimate": ONE}
        held = http.post("/v1/reservations", json=opened, headers={"X-Cycles-API-Key": keys[0]}).json()
        authority.tenant("acme", status=status)
        before = authority.balances(), authority.reservations()
        for key in keys:
            for method, path, body in RUNTIME:
                found = path.format(held=held["reservation_id"])
                answer = http.request(method, found, json=body, headers={"X-Cycles-API-Key": key})
                assert failed(answer, 401, "UNAUTHORIZED"), (method, path)
                assert "x-cycles-tenant" not in answer.headers
        for method, path, body in ADMINISTRATION:
            answer = http.request(method, path, json=body, headers={"X-Cycles-API-Key": keys[0]})
            assert failed(answer, 403, "FORBIDDEN"), (method, path)
        assert (authority.balances(), authority.reservations()) == before
        seen = http.get("/v1/reservations?tenant=acme", headers={"X-Admin-API-Key": ADMIN_KEY})
        assert [row["reservation_id"] for row in seen.json()["reservations"]] == [held["reservation_id"]]
