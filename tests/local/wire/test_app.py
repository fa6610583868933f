"""The wire: worked rows over httpx, errors, headers, order of checks. Every response is held to the document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import cycles
from cycles import tokens, usd
from tests.support.authorities import SCOPE
from tests.support.wire import failed

if TYPE_CHECKING:
    import httpx


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
