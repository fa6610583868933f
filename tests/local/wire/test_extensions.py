"""The protocol's extensions on the wire: observe mode, policy keys, and the detail of a denial."""

from __future__ import annotations

import pytest

from cycles import tokens, usd
from tests.local.wire.operations import rows
from tests.support.authorities import SCOPE
from tests.support.wire import failed

KEYS = {
    "host": "api.example.com",
    "recipient_domain": "example.com",
    "resource_type": "table",
    "path_prefix": "/a/",
    "custom": {f"k{number}": "v" * 256 for number in range(8)},
}


# -- observe mode ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("amount", [100, 101])
def test_observing_is_evaluated_like_a_dry_run(wire, authority, amount):
    authority.budget(SCOPE, tokens(100))
    before = rows(authority)
    observed = wire.reserve(amount, observe_mode="OBSERVE")
    dry = wire.reserve(amount, dry_run=True)
    assert observed.status_code == 200
    assert observed.json() == dry.json()
    assert "reservation_id" not in observed.json()
    assert wire.get("/v1/reservations").json()["reservations"] == []
    assert [row for row in rows(authority) if "replays" not in row] == [row for row in before if "replays" not in row]


def test_observing_is_idempotent_like_a_dry_run(wire, authority):
    authority.budget(SCOPE, tokens(100))
    denied = wire.reserve(101, observe_mode="OBSERVE", key="k")
    authority.fund(SCOPE, "CREDIT", tokens(1000))
    assert wire.reserve(101, observe_mode="OBSERVE", key="k").json() == denied.json()
    for other in ({}, {"dry_run": True}, {"observe_mode": "ENFORCE"}):
        assert failed(wire.reserve(101, key="k", **other), 409, "IDEMPOTENCY_MISMATCH")


@pytest.mark.parametrize("mode", ["ENFORCE", "DISABLED"])
def test_the_other_modes_reserve(wire, authority, mode):
    authority.budget(SCOPE, tokens(100))
    assert wire.reserve(40, observe_mode=mode).json()["reservation_id"]
    assert failed(wire.reserve(61, observe_mode=mode), 409, "BUDGET_EXCEEDED")
    assert "reservation_id" not in wire.reserve(1, observe_mode=mode, dry_run=True).json()
    assert authority.balance(SCOPE, "TOKENS").reserved == 40


def test_the_mode_is_one_of_three(wire):
    for mode in ("observe", "", True):
        assert failed(wire.reserve(1, observe_mode=mode), 400, "INVALID_REQUEST")
    assert failed(wire.decide(1, observe_mode="OBSERVE"), 400, "INVALID_REQUEST")


# -- policy keys -------------------------------------------------------------------------------------------------------
def test_policy_keys_are_kept_and_change_nothing(wire, authority):
    authority.budget(SCOPE, tokens(100))
    action = {"kind": "k", "name": "n", "policy_keys": KEYS}
    held = wire.reserve(10, action=action, key="k")
    assert wire.get(f"/v1/reservations/{held.json()['reservation_id']}").json()["action"] == action
    assert wire.get("/v1/reservations").json()["reservations"][0]["action"] == action
    assert wire.decide(10, action=action).json()["decision"] == "ALLOW"
    assert wire.event(10, action=action).status_code == 201
    assert failed(wire.reserve(10, key="k"), 409, "IDEMPOTENCY_MISMATCH")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"host": "x" * 254}, "host"),
        ({"recipient_domain": "x" * 254}, "recipient_domain"),
        ({"resource_type": "x" * 129}, "resource_type"),
        ({"path_prefix": "x" * 513}, "path_prefix"),
        ({"custom": {str(number): "" for number in range(9)}}, "custom"),
        ({"custom": {"a": "x" * 257}}, "custom.a"),
        ({"custom": {"a": 1}}, "custom.a"),
        ({"port": 1}, "port"),
    ],
)
def test_policy_keys_have_bounds(wire, change, field):
    response = wire.decide(1, action={"kind": "k", "name": "n", "policy_keys": KEYS | change})
    assert failed(response, 400, "INVALID_REQUEST")
    assert f"action.policy_keys.{field}: " in response.json()["message"]


# -- the detail of a denial --------------------------------------------------------------------------------------------
def short(authority):
    authority.budget(SCOPE, usd("0.04"))


def frozen(authority):
    short(authority)
    authority.freeze(SCOPE, "USD_MICROCENTS")


def closed(authority):
    short(authority)
    authority.close_budget(SCOPE, "USD_MICROCENTS")


def empty(authority):
    authority.budget(SCOPE, usd(0))


@pytest.mark.parametrize(
    ("make", "reason", "remaining", "fix"),
    [
        (short, "BUDGET_EXCEEDED", 4_000_000, "ask for at most $0.04"),
        (empty, "BUDGET_EXCEEDED", 0, "wait until reservations end"),
        (frozen, "BUDGET_FROZEN", 4_000_000, "unfrozen"),
        (closed, "BUDGET_CLOSED", 4_000_000, "closed for good"),
    ],
)
def test_a_denial_says_who_refused_and_what_helps(wire, authority, make, reason, remaining, fix):
    make(authority)
    answers = [
        wire.decide(5_000_000, unit="USD_MICROCENTS").json(),
        wire.reserve(5_000_000, unit="USD_MICROCENTS", dry_run=True).json(),
        wire.reserve(5_000_000, unit="USD_MICROCENTS", observe_mode="OBSERVE").json(),
    ]
    details = [answer["deny_detail"] for answer in answers]
    refused = wire.reserve(5_000_000, unit="USD_MICROCENTS")
    assert failed(refused, 409, reason)
    details.append(refused.json()["details"]["deny_detail"])
    refused = wire.event(5_000_000, unit="USD_MICROCENTS", overage_policy="REJECT")
    assert failed(refused, 409, reason)
    details.append(refused.json()["details"]["deny_detail"])
    assert all(detail == details[0] for detail in details)
    assert fix in details[0].pop("suggested_fix")
    assert details[0] == {"reason_code": reason, "blocked_by_scope": SCOPE, "budget_remaining": remaining}


def test_debt_and_limits(wire, authority):
    authority.budget(SCOPE, tokens(100), overdraft_limit=tokens(50))
    assert wire.event(120, overage_policy="ALLOW_WITH_OVERDRAFT").status_code == 201
    over = wire.event(40, overage_policy="ALLOW_WITH_OVERDRAFT")
    assert failed(over, 409, "OVERDRAFT_LIMIT_EXCEEDED")
    assert over.json()["details"]["deny_detail"]["budget_remaining"] == -20
    authority.budget(SCOPE, tokens(100), overdraft_limit=tokens(0))
    detail = wire.decide(1).json()["deny_detail"]
    assert (detail["reason_code"], detail["blocked_by_scope"]) == ("OVERDRAFT_LIMIT_EXCEEDED", SCOPE)
    assert "funded" in detail["suggested_fix"]


def test_a_commit_that_may_not_cost_more(wire, authority):
    authority.budget(SCOPE, tokens(100))
    refused = wire.commit(wire.reserve(10, overage_policy="REJECT"), 11)
    assert failed(refused, 409, "BUDGET_EXCEEDED")
    assert "at most 10 TOKENS" in refused.json()["details"]["deny_detail"]["suggested_fix"]


def test_what_is_no_denial_has_no_detail(wire, authority):
    authority.budget(SCOPE, tokens(100))
    assert "deny_detail" not in wire.decide(1).json()
    held = wire.reserve(1, key="k")
    wire.release(held)
    assert "deny_detail" not in wire.commit(held, 1).json().get("details", {})
    assert "details" not in wire.reserve(2, key="k").json()
    assert sorted(wire.reserve(1, unit="CREDITS").json()["details"]) == ["expected_units", "requested_unit", "scope"]


def test_fixes_fit_the_protocol(wire, authority):
    """Scopes of many long levels are not repeated in the text, which has at most 512 characters."""
    subject = dict.fromkeys(("workspace", "app", "workflow", "agent", "toolset"), "x" * 128) | {"tenant": "acme"}
    authority.budget(SCOPE + "".join(f"/{level}:{'x' * 128}" for level in subject if level != "tenant"), tokens(1))
    detail = wire.decide(2, subject=subject).json()["deny_detail"]
    assert len(detail["blocked_by_scope"]) > 512
    assert len(detail["suggested_fix"]) < 200
