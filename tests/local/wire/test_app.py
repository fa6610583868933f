"""The wire: worked rows over httpx, errors, headers, order of checks. Every response is held to the document."""

from __future__ import annotations

import json

import httpx
import pytest

import cycles
from cycles import tokens, usd
from cycles.local import LocalAuthority
from cycles.local.wire.messages import MAX_BODY
from cycles.local.wire.validation import MAX_DEPTH
from tests.support.authorities import ADMIN_KEY, SCOPE
from tests.support.wire import Wire, failed

UNKNOWN = "/v1/reservations/no-such-id"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def balance(response: httpx.Response, at: int = 0) -> dict:
    shown = response.json()["balances"][at]
    return {name: value["amount"] for name, value in shown.items() if isinstance(value, dict)}


# -- worked rows -------------------------------------------------------------------------------------------------------
def test_01_reserve(wire, authority):
    authority.budget(SCOPE, tokens(1000))
    body = wire.reserve(500).json()
    assert body["decision"] == "ALLOW"
    assert body["remaining_ttl_ms"] == 60_000
    assert body["expires_at_ms"] == wire.clock.now + 60_000
    assert body["reserved"] == {"unit": "TOKENS", "amount": 500}
    assert body["scope_path"] == SCOPE
    assert body["affected_scopes"] == [SCOPE]
    assert body["balances"][0]["scope"] == SCOPE
    figures = {"remaining": 500, "reserved": 500, "spent": 0, "allocated": 1000}
    assert balance(wire.get("/v1/balances", tenant="acme")) == figures


@pytest.mark.parametrize(("actual", "released"), [(300, 200), (500, None), (0, 500)])
def test_02_03_04_commit(wire, authority, actual, released):
    authority.budget(SCOPE, tokens(1000))
    response = wire.commit(wire.reserve(500), actual)
    assert f'"status":"COMMITTED","charged":{{"unit":"TOKENS","amount":{actual}}}' in response.text
    assert response.json().get("released") == (None if released is None else {"unit": "TOKENS", "amount": released})
    assert balance(response)["spent"] == actual


def test_05_reject(wire, authority):
    authority.budget(SCOPE, tokens(1000))
    held = wire.reserve(500, overage_policy="REJECT")
    assert failed(wire.commit(held, 501), 409, "BUDGET_EXCEEDED")
    assert wire.get(f"/v1/reservations/{held.json()['reservation_id']}").json()["status"] == "ACTIVE"


def test_19_release(wire, authority):
    authority.budget(SCOPE, tokens(1000))
    response = wire.release(wire.reserve(400), reason="not needed")
    assert response.json()["released"]["amount"] == 400
    assert balance(response) == {"remaining": 1000, "reserved": 0, "spent": 0, "allocated": 1000}


def test_22_23_refusals_name_the_scope_and_move_nothing(wire, authority):
    authority.budget(SCOPE, tokens(1000))
    authority.budget(f"{SCOPE}/agent:a", tokens(10))
    response = wire.reserve(50, subject={"tenant": "acme", "agent": "A"})
    assert failed(response, 409, "BUDGET_EXCEEDED")
    details = response.json()["details"]
    assert details.pop("deny_detail")["blocked_by_scope"] == f"{SCOPE}/agent:a"
    assert details == {"scope": f"{SCOPE}/agent:a", "remaining": 10, "requested": 50, "unit": "TOKENS"}
    assert authority.balance(SCOPE, "TOKENS").reserved == 0
    authority.freeze(f"{SCOPE}/agent:a", "TOKENS")
    authority.fund(SCOPE, "DEBIT", tokens(990))
    assert failed(wire.reserve(50, subject={"tenant": "acme", "agent": "A"}), 409, "BUDGET_EXCEEDED")


def test_24_beyond_doubles(wire, authority):
    authority.budget(SCOPE, tokens(9007199254741003))
    response = wire.commit(wire.reserve(9007199254740993), 9007199254740993)
    assert balance(response)["remaining"] == 10
    authority.budget(SCOPE, tokens(2**63 - 1))
    held = wire.reserve(2**63 - 1 - 9007199254740993)
    assert held.json()["reserved"]["amount"] == 2**63 - 1 - 9007199254740993


def test_25_26_unit_mismatch(wire, authority):
    authority.budget(f"{SCOPE}/agent:a", usd(1))
    authority.budget(f"{SCOPE}/agent:a", cycles.credits(1))
    for ask in (wire.reserve, wire.decide, wire.event):
        response = ask(50, subject={"tenant": "acme", "agent": "a"})
        assert failed(response, 400, "UNIT_MISMATCH")
        assert response.json()["details"] == {
            "scope": f"{SCOPE}/agent:a",
            "requested_unit": "TOKENS",
            "expected_units": ["USD_MICROCENTS", "CREDITS"],
        }


def test_27_no_budget(wire):
    response = wire.reserve(1, subject={"tenant": "acme", "agent": "a"})
    assert failed(response, 404, "NOT_FOUND")
    assert response.json()["message"] == "Budget not found for provided scope: tenant:acme/agent:a"
    hint = wire.reserve(1, subject={"agent": "a"}).json()["message"]
    assert hint.startswith("Budget not found for provided scope: agent:a ")
    denied = wire.decide(1).json()
    assert denied.pop("deny_detail")["reason_code"] == "BUDGET_NOT_FOUND"
    assert denied == {"decision": "DENY", "reason_code": "BUDGET_NOT_FOUND", "affected_scopes": [SCOPE]}


def test_28_unbudgeted_leaf(wire, authority):
    authority.budget(SCOPE, tokens(100))
    body = wire.reserve(50, subject={"tenant": "acme", "agent": "a"}).json()
    assert body["affected_scopes"] == [SCOPE, f"{SCOPE}/agent:a"]
    assert [row["scope_path"] for row in body["balances"]] == [SCOPE]


def test_30_expiry(wire, authority):
    authority.budget(SCOPE, tokens(1000))
    held = wire.reserve(400, ttl_ms=10_000, grace_period_ms=5_000)
    path = f"/v1/reservations/{held.json()['reservation_id']}"
    wire.clock.now += 10_000
    assert wire.extend(held, 1).json()["remaining_ttl_ms"] == 1
    wire.clock.now += 2
    assert failed(wire.extend(held, 1000), 410, "RESERVATION_EXPIRED")
    wire.clock.now += 4_999
    assert wire.get(path).json()["status"] == "ACTIVE"
    wire.clock.now += 1
    for late in (wire.get(path), wire.commit(held, 1), wire.release(held), wire.extend(held, 1)):
        assert failed(late, 410, "RESERVATION_EXPIRED")
    assert balance(wire.get("/v1/balances", tenant="acme"))["reserved"] == 0
    (row,) = wire.get("/v1/reservations", status="EXPIRED").json()["reservations"]
    assert "finalized_at_ms" not in row


def test_what_expired_can_be_reserved_at_once(wire, authority):
    """Nobody has to look or to sweep before: the request that needs the funds gives them back itself."""
    authority.budget(SCOPE, tokens(100))
    wire.reserve(100, ttl_ms=1_000, grace_period_ms=0)
    wire.clock.now += 1_000
    assert failed(wire.reserve(100), 409, "BUDGET_EXCEEDED")
    wire.clock.now += 1
    assert wire.reserve(100).is_success


@pytest.mark.parametrize("look", ["detail", "list", "balances", "decide"])
def test_what_expired_is_seen_at_once(wire, authority, look):
    """The first to look after the deadline sees it, whoever that is: reading expires what is overdue."""
    authority.budget(SCOPE, tokens(100))
    held = wire.reserve(100, ttl_ms=1_000, grace_period_ms=0)
    wire.clock.now += 1_001
    if look == "detail":
        assert failed(wire.get(f"/v1/reservations/{held.json()['reservation_id']}"), 410, "RESERVATION_EXPIRED")
    elif look == "list":
        assert wire.get("/v1/reservations").json()["reservations"][0]["status"] == "EXPIRED"
    elif look == "balances":
        assert balance(wire.get("/v1/balances", tenant="acme"))["reserved"] == 0
    else:
        assert wire.decide(100).json()["decision"] == "ALLOW"


def test_32_33_reserve_replay(wire, authority):
    assert failed(wire.reserve(400, key="K"), 404, "NOT_FOUND")
    authority.budget(SCOPE, tokens(1000))
    first = wire.reserve(400, key="K")
    wire.clock.now += 1_000
    wire.reserve(100)
    again = wire.reserve(400, key="K", grace_period_ms=5_000, dry_run=False, metadata=None)
    assert again.json() == first.json() | {"remaining_ttl_ms": 59_000}
    assert list(again.json()) == list(first.json())
    for other in ({"amount": 401}, {"amount": 400, "dry_run": True}, {"amount": 400, "ttl_ms": 60_000}):
        assert failed(wire.reserve(other.pop("amount"), key="K", **other), 409, "IDEMPOTENCY_MISMATCH")
    wire.clock.now += 100_000
    assert wire.reserve(400, key="K").json()["remaining_ttl_ms"] == 0


def test_34_commit_replay(wire, authority):
    authority.budget(SCOPE, tokens(1000))
    held = wire.reserve(400)
    first = wire.commit(held, 300, key="c", metadata={"b": 1, "a": 2})
    wire.reserve(10)
    assert wire.commit(held, 300, key="c", metadata={"a": 2, "b": 1}).content == first.content
    assert failed(wire.commit(held, 301, key="c"), 409, "IDEMPOTENCY_MISMATCH")
    assert failed(wire.commit(held, 300, key="d"), 409, "RESERVATION_FINALIZED")
    assert failed(wire.release(held, key="c"), 409, "RESERVATION_FINALIZED")
    assert failed(wire.extend(held, 1), 409, "RESERVATION_FINALIZED")


def test_events_are_201_and_replay_as_201(wire, authority):
    authority.budget(SCOPE, tokens(100))
    first = wire.event(150, key="e", metrics={"tokens_input": 1, "custom": {"free": None}}, client_time_ms=1)
    assert first.status_code == 201
    assert first.json()["charged"]["amount"] == 100
    assert first.json()["balances"][0]["is_over_limit"] is True
    again = wire.event(150, key="e", metrics={"tokens_input": 1, "custom": {"free": None}}, client_time_ms=1)
    assert (again.status_code, again.content) == (201, first.content)


def test_decide_and_dry_run(wire, authority):
    authority.budget(SCOPE, tokens(100))
    before = authority.balances()
    assert wire.decide(100, key="d").json() == {"decision": "ALLOW", "affected_scopes": [SCOPE]}
    dry = wire.reserve(100, dry_run=True).json()
    assert sorted(dry) == ["affected_scopes", "balances", "decision", "reserved", "scope_path"]
    denied = wire.reserve(101, dry_run=True, key="r").json()
    assert denied == {
        "decision": "DENY",
        "reason_code": "BUDGET_EXCEEDED",
        "deny_detail": {
            "reason_code": "BUDGET_EXCEEDED",
            "blocked_by_scope": SCOPE,
            "suggested_fix": "ask for at most 100 TOKENS, wait until reservations end, or have this budget raised",
            "budget_remaining": 100,
        },
        "affected_scopes": [SCOPE],
        "scope_path": SCOPE,
    }
    assert authority.balances() == before
    authority.fund(SCOPE, "CREDIT", tokens(1000))
    assert wire.reserve(101, dry_run=True, key="r").json() == denied, "a DENY is a success: it is kept"


def test_caps_of_the_deepest_scope(wire, authority):
    caps = {"max_tokens": 5, "tool_allowlist": ["web"]}
    authority.budget(SCOPE, tokens(100), caps=caps)
    for response in (wire.reserve(1), wire.reserve(1, dry_run=True), wire.decide(1)):
        assert (response.json()["decision"], response.json()["caps"]) == ("ALLOW_WITH_CAPS", caps)
    assert "caps" not in wire.reserve(1, subject={"tenant": "acme", "agent": "a"}).json()
    assert "caps" not in wire.decide(101).json()


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


# -- bodies ------------------------------------------------------------------------------------------------------------
OK = {"subject": {"tenant": "acme"}, "action": {"kind": "k", "name": "n"}, "estimate": {"unit": "TOKENS", "amount": 1}}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "x" * 257}, "idempotency_key"),
        ({"idempotency_key": None}, "idempotency_key"),
        ({"idempotency_key": 7}, "idempotency_key"),
        ({"surprise": 1}, "surprise"),
        ({"subject": {}}, "subject"),
        ({"subject": {"tenant": None}}, "subject"),
        ({"subject": {"dimensions": {"a": "b"}}}, "subject"),
        ({"subject": {"tenant": ""}}, "subject.tenant"),
        ({"subject": {"tenant": "a b"}}, "subject.tenant"),
        ({"subject": {"tenant": "a/agent:x"}}, "subject.tenant"),
        ({"subject": {"tenant": "a\n"}}, "subject.tenant"),
        ({"subject": {"tenant": "a" * 129}}, "subject.tenant"),
        ({"subject": {"tenant": "acme", "team": "x"}}, "subject.team"),
        ({"subject": {"tenant": "acme", "dimensions": {str(n): "" for n in range(17)}}}, "subject.dimensions"),
        ({"subject": {"tenant": "acme", "dimensions": {"a": "x" * 257}}}, "subject.dimensions.a"),
        ({"subject": {"tenant": "acme", "dimensions": {"a": 1}}}, "subject.dimensions.a"),
        ({"subject": "acme"}, "subject"),
        ({"action": {"kind": "k"}}, "action.name"),
        ({"action": {"kind": " ", "name": "n"}}, "action.kind"),
        ({"action": {"kind": "k" * 65, "name": "n"}}, "action.kind"),
        ({"action": {"kind": "k", "name": "n" * 257}}, "action.name"),
        ({"action": {"kind": "k", "name": "n", "tags": ["t"] * 11}}, "action.tags"),
        ({"action": {"kind": "k", "name": "n", "tags": ["t", "t" * 65]}}, "action.tags[1]"),
        ({"action": {"kind": "k", "name": "n", "tags": "t"}}, "action.tags"),
        ({"estimate": {"unit": "TOKENS", "amount": -1}}, "estimate.amount"),
        ({"estimate": {"unit": "TOKENS", "amount": 2**63}}, "estimate.amount"),
        ({"estimate": {"unit": "TOKENS", "amount": 1.5}}, "estimate.amount"),
        ({"estimate": {"unit": "TOKENS", "amount": "1"}}, "estimate.amount"),
        ({"estimate": {"unit": "TOKENS", "amount": True}}, "estimate.amount"),
        ({"estimate": {"unit": "tokens", "amount": 1}}, "estimate.unit"),
        ({"estimate": {"unit": 0, "amount": 1}}, "estimate.unit"),
        ({"estimate": {"amount": 1}}, "estimate.unit"),
        ({"estimate": {"unit": "TOKENS", "amount": 1, "x": 1}}, "estimate.x"),
        ({"estimate": None}, "estimate"),
        ({"ttl_ms": 999}, "ttl_ms"),
        ({"ttl_ms": 86_400_001}, "ttl_ms"),
        ({"ttl_ms": "5000"}, "ttl_ms"),
        ({"grace_period_ms": -1}, "grace_period_ms"),
        ({"grace_period_ms": 60_001}, "grace_period_ms"),
        ({"overage_policy": "ALLOW"}, "overage_policy"),
        ({"dry_run": "true"}, "dry_run"),
        ({"dry_run": 0}, "dry_run"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_a_bad_field_is_named(wire, authority, change, field):
    authority.budget(SCOPE, tokens(100))
    response = wire.post("/v1/reservations", {"idempotency_key": "k", **OK, **change})
    assert failed(response, 400, "INVALID_REQUEST")
    assert response.json()["message"].startswith(f"Validation failed: {field}: ")
    assert wire.post("/v1/reservations", {"idempotency_key": "k", **OK}).is_success, "an error leaves the key free"


@pytest.mark.parametrize(
    ("step", "body", "field"),
    [
        ("commit", {"idempotency_key": "k"}, "actual"),
        ("commit", {"idempotency_key": "k", "actual": OK["estimate"], "metrics": {"tokens": 1}}, "metrics.tokens"),
        (
            "commit",
            {"idempotency_key": "k", "actual": OK["estimate"], "metrics": {"latency_ms": -1}},
            "metrics.latency_ms",
        ),
        (
            "commit",
            {"idempotency_key": "k", "actual": OK["estimate"], "metrics": {"model_version": "x" * 129}},
            "metrics.model_version",
        ),
        ("commit", {"idempotency_key": "k", "actual": OK["estimate"], "metrics": {"custom": 1}}, "metrics.custom"),
        ("release", {"idempotency_key": "k", "reason": "x" * 257}, "reason"),
        ("release", {}, "idempotency_key"),
        ("extend", {"idempotency_key": "k"}, "extend_by_ms"),
        ("extend", {"idempotency_key": "k", "extend_by_ms": 0}, "extend_by_ms"),
        ("extend", {"idempotency_key": "k", "extend_by_ms": 86_400_001}, "extend_by_ms"),
    ],
)
def test_a_bad_field_of_a_step_is_named(wire, step, body, field):
    response = wire.post(f"{UNKNOWN}/{step}", body)
    assert failed(response, 400, "INVALID_REQUEST")
    assert response.json()["message"].startswith(f"Validation failed: {field}: ")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"[]",
        b"null",
        b"{",
        b"{} x",
        b'{"metadata": {"x": NaN}, REST}',
        b'{"metadata": {"x": 1e999}, REST}',
        b'{"metadata": {"x": "\\ud800"}, REST}',
        b'{"metadata": {"\\udc00": 1}, REST}',
        b"\xff{}",
        b"\xef\xbb\xbf{}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a":' + b"1" * 5000 + b"}",
    ],
)
def test_what_is_no_json_object_is_refused(wire, content):
    rest = json.dumps({"idempotency_key": "k", **OK}).encode()
    content = content.replace(b"REST}", rest[1:])
    response = wire.http.post("/v1/decide", content=content, headers={"Content-Type": "application/json"})
    assert failed(response, 400, "INVALID_REQUEST")
    assert response.json()["message"].startswith("the body ")


def test_depth_is_bounded_so_that_what_is_kept_can_be_shown(wire, authority):
    authority.budget(SCOPE, tokens(100))

    def nested(levels: int) -> httpx.Response:
        inner = '{"a":' * (levels - 3) + "[1]" + "}" * (levels - 3)
        rest = json.dumps({"idempotency_key": "k", **OK})[:-1]
        content = f'{rest},"metadata":{{"text":"{"{" * 200}","x":{inner}}}}}'
        return wire.http.post("/v1/reservations", content=content, headers={"Content-Type": "application/json"})

    assert failed(nested(MAX_DEPTH + 1), 400, "INVALID_REQUEST")
    assert nested(MAX_DEPTH).is_success
    assert wire.get("/v1/reservations", include="metadata").is_success


def test_content_types_and_sizes(wire, authority):
    authority.budget(SCOPE, tokens(100))
    body = json.dumps({"idempotency_key": "k", **OK}).encode()
    for kind, status in {"text/plain": 415, "application/json; charset=utf-8": 200, "Application/JSON": 200}.items():
        assert wire.http.post("/v1/decide", content=body, headers={"Content-Type": kind}).status_code == status
    large = wire.post("/v1/decide", {"idempotency_key": "k", **OK, "metadata": {"x": "x" * MAX_BODY}})
    assert failed(large, 413, "INVALID_REQUEST")


def test_unicode_and_odd_json_survive(wire, authority):
    authority.budget(SCOPE, tokens(100))
    metadata = {"ключ": "✓\x00\U0001f600", "big": 2**80, "null": None, "list": [None, {"a": None}], "float": 0.1}
    held = wire.reserve(1, metadata=metadata, key="schlüssel")
    assert wire.get(f"/v1/reservations/{held.json()['reservation_id']}").json()["metadata"] == metadata


# -- order of checks ---------------------------------------------------------------------------------------------------
def test_order_of_checks_before_the_ledger(wire, authority):
    """Each request has several things wrong with it; the first in the order wins, and is then put right."""
    own = authority.key(tenant="acme")
    headers = {"X-Cycles-API-Key": "wrong", "X-Idempotency-Key": "other", "Content-Type": "application/json"}
    body: dict = {"idempotency_key": "k", **OK, "subject": {"tenant": "other"}, "ttl_ms": 1}

    def asked(content: bytes | None = None) -> httpx.Response:
        return wire.http.post("/v1/reservations", content=content or json.dumps(body), headers=headers)

    assert failed(asked(b"{"), 401, "UNAUTHORIZED")
    headers["X-Cycles-API-Key"] = own
    assert "no JSON" in asked(b"{").json()["message"]
    assert "ttl_ms" in asked().json()["message"]
    body["ttl_ms"] = 1000
    body["subject"] = {"dimensions": {"a": "b"}}
    assert "subject" in asked().json()["message"]
    body["subject"] = {"tenant": "other"}
    assert "X-Idempotency-Key" in asked().json()["message"]
    headers["X-Idempotency-Key"] = "k"
    assert failed(asked(), 403, "FORBIDDEN")
    body["subject"] = {"tenant": "acme"}
    assert failed(asked(), 404, "NOT_FOUND")


def test_order_of_checks_on_a_reservation(wire, authority):
    authority.budget(SCOPE, tokens(100))
    authority.budget("tenant:other", tokens(100))
    held = wire.reserve(10).json()["reservation_id"]
    other = authority.key(tenant="other")

    def asked(path: str, body: dict, header: str, secret: str = wire.secret) -> httpx.Response:
        return wire.post(path, body, **{"X-Idempotency-Key": header, "X-Cycles-API-Key": secret})

    good = {"idempotency_key": "k", "actual": OK["estimate"]}
    too_long = f"/v1/reservations/{'x' * 129}/commit"
    assert "actual" in asked(too_long, {"idempotency_key": "k"}, "other").json()["message"]
    assert "reservation_id" in asked(too_long, good, "other").json()["message"]
    assert "X-Idempotency-Key" in asked(f"{UNKNOWN}/commit", good, "other").json()["message"]
    assert failed(asked(f"{UNKNOWN}/commit", good, ""), 400, "INVALID_REQUEST")
    assert failed(asked(f"/v1/reservations/{'x' * 128}/commit", good, "k"), 404, "NOT_FOUND")
    assert failed(asked(f"/v1/reservations/{held}/commit", good, "k", other), 403, "FORBIDDEN")
    wrong_unit = good | {"actual": {"unit": "CREDITS", "amount": 1}}
    response = asked(f"/v1/reservations/{held}/commit", wrong_unit, "k")
    assert failed(response, 400, "UNIT_MISMATCH")
    assert "details" not in response.json()
    assert asked(f"/v1/reservations/{held}/commit", good, "k").is_success
    # a replay is answered before state and unit, but after ownership
    assert asked(f"/v1/reservations/{held}/commit", good, "k").is_success
    assert failed(asked(f"/v1/reservations/{held}/commit", good, "k", other), 403, "FORBIDDEN")
    assert failed(asked(f"/v1/reservations/{held}/commit", wrong_unit, "k"), 409, "IDEMPOTENCY_MISMATCH")
    fresh = wrong_unit | {"idempotency_key": "k2"}
    assert failed(asked(f"/v1/reservations/{held}/commit", fresh, "k2"), 409, "RESERVATION_FINALIZED")


def test_an_unexpected_failure_is_an_answer(wire, authority, monkeypatch, caplog):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the secret of the disk")

    monkeypatch.setattr("cycles.local.ledger.estimates.decide", broken)
    response = wire.decide(1)
    assert failed(response, 500, "INTERNAL_ERROR")
    assert "secret of the disk" not in response.text
    assert "secret of the disk" in caplog.text
    assert wire.secret not in caplog.text
