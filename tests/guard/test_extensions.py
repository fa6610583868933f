"""The protocol's extensions in both kinds of client: policy keys, observing, and the detail of a denial."""

from __future__ import annotations

import asyncio
import pickle

import httpx
import pytest

import cycles
from cycles import usd
from tests.support.authorities import ACTION, SCOPE, UNIT
from tests.support.net import error

KEYS: cycles.PolicyKeys = {"host": "api.example.com", "custom": {"team": "research"}}
QUOTA = {"action_kind": "k", "window": "per_run", "used": 5, "limit": 5, "scope": SCOPE, "policy_id": "p"}
DETAIL = {
    "reason_code": "ACTION_QUOTA_EXCEEDED",
    "quota_violation": QUOTA,
    "blocked_by_scope": f"{SCOPE}/agent:a",
    "blocked_by_policy": "policy-7",
    "suggested_fix": "wait for the next run",
    "budget_remaining": -3,
}


def bodies(authority, operation):
    return [seen.body for seen in authority.requests if seen.operation == operation]


# -- policy keys -------------------------------------------------------------------------------------------------------
def test_policy_keys_go_with_the_action(side, guard, authority):
    @guard(policy_keys=lambda host: {"host": host})
    @side.function
    def fetch(host):
        return host

    side.call(fetch, "api.example.com")
    with side.block(guard(policy_keys=KEYS)):
        pass
    side.call(side.client.decide, usd("0.01"), action=ACTION, policy_keys=KEYS)
    side.call(side.client.record, usd("0.01"), action=ACTION, policy_keys=KEYS)
    made = cycles.Action(
        *ACTION, policy_keys=cycles.Action.from_dict({"kind": "k", "name": "n", "policy_keys": KEYS}).policy_keys
    )
    side.call(side.client.decide, usd("0.01"), action=made)
    sent = [
        body["action"].get("policy_keys") for name in ("reserve", "decide", "event") for body in bodies(authority, name)
    ]
    assert sent == [{"host": "api.example.com"}, KEYS, KEYS, KEYS, KEYS]


def test_wrong_policy_keys_are_refused_before_anything_is_sent(side, guard, authority):
    with pytest.raises(cycles.InvalidRequest, match="the host alone"), side.block(guard(policy_keys={"host": "a:1"})):
        pass
    assert bodies(authority, "reserve") == []


# -- observing ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("amount", "decision"), [("0.10", "ALLOW"), ("1.10", "DENY")])
def test_an_observing_guard_runs_and_spends_nothing(side, guard, authority, figures, amount, decision):
    observing = guard(usd(amount), observe=True, actual=usd("0.02"))
    seen = []

    @observing
    @side.function
    def work():
        seen.append(cycles.current())
        return 7

    assert side.call(work) == 7
    with side.block(observing) as reservation:
        reservation.report(actual=usd("0.01"))
    seen.append(reservation)
    for held in seen:
        assert (held.state, held.decision, held.id, held.settlement) == ("OBSERVED", decision, None, None)
        assert (held.reason_code, held.detail is None) == (
            ("BUDGET_EXCEEDED", False) if decision == "DENY" else (None, True)
        )
    assert figures() == (0, 0, 100)
    assert {request.operation for request in authority.requests} == {"reserve"}
    if decision == "DENY":
        assert seen[0].detail.remaining == 100_000_000


def test_by_hand(side, figures):
    reservation = side.call(side.client.reserve, usd("2"), action=ACTION, observe=True)
    side.call(reservation.commit, usd("1"))
    side.call(reservation.release)
    assert (reservation.state, reservation.decision, figures()) == ("OBSERVED", "DENY", (0, 0, 100))


def test_generators_run_observed(guard, side, figures):
    if side.kind == "async":

        @guard(usd("2"), observe=True)
        async def numbers():
            yield 1
            yield 2

        async def all_of():
            return [number async for number in numbers()]

        assert side.call(all_of) == [1, 2]
    else:

        @guard(usd("2"), observe=True)
        def numbers():
            yield 1
            yield 2

        assert list(numbers()) == [1, 2]
    assert figures() == (0, 0, 100)


def test_inside_a_limit_the_limit_answers_and_is_not_drawn_on(side, guard, authority):
    decisions = []

    def observed(amount, **fields):
        return guard(usd(amount), observe=True, actual=usd("0.15"), **fields)

    def limit():
        return cycles.Limit(usd("0.20"), action=("agent.run", "a"), client=side.client)

    def run():
        with limit() as run:
            for guarded in (observed("0.15"), observed("0.25"), observed("1.50", own=True)):
                with guarded as reservation:
                    decisions.append((reservation.state, reservation.decision))
            return run.spent.amount, run.held.amount, run.sections

    async def async_run():
        async with limit() as run:
            for guarded in (observed("0.15"), observed("0.25"), observed("1.50", own=True)):
                async with guarded as reservation:
                    decisions.append((reservation.state, reservation.decision))
            return run.spent.amount, run.held.amount, run.sections

    assert side.call(run if side.kind == "sync" else async_run) == (0, 0, 0)
    assert decisions == [("OBSERVED", "ALLOW"), ("OBSERVED", "DENY"), ("OBSERVED", "DENY")]
    assert len(bodies(authority, "reserve")) == 2  # the limit's, and the one of its own
    assert authority.balance(SCOPE, UNIT).spent == 0


# -- denials -----------------------------------------------------------------------------------------------------------
def denying(code, answer):
    config = cycles.Config("http://authority.invalid", api_key="key", tenant="acme", journal_enabled=False)
    return config, httpx.MockTransport(lambda request: answer(code))


def refused_409(code):
    return httpx.Response(409, json=error(code) | {"details": {"deny_detail": DETAIL}})


def denied_200(code):
    body = {"decision": "DENY", "affected_scopes": [SCOPE], "reason_code": code, "deny_detail": DETAIL}
    return httpx.Response(200, json=body)


def reserve_both_ways(config, transport):
    with httpx.Client(transport=transport) as http, cycles.Client(config, http_client=http) as client:
        with pytest.raises(cycles.Denied) as denied:
            client.reserve(usd("0.01"), action=ACTION)
        yield denied.value, client.decide(usd("0.01"), action=ACTION)

    async def asked():
        async with (
            httpx.AsyncClient(transport=transport) as http,
            cycles.AsyncClient(config, http_client=http) as client,
        ):
            with pytest.raises(cycles.Denied) as denied:
                await client.reserve(usd("0.01"), action=ACTION)
            return denied.value, await client.decide(usd("0.01"), action=ACTION)

    yield asyncio.run(asked())


@pytest.mark.parametrize("answer", [refused_409, denied_200])
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ACTION_QUOTA_EXCEEDED", cycles.ActionQuotaExceeded),
        ("ACTION_KIND_NOT_ALLOWED", cycles.ActionKindNotAllowed),
        ("ACTION_KIND_DENIED", cycles.ActionKindDenied),
        ("POLICY_VIOLATION", cycles.Denied),
    ],
)
def test_a_denial_has_all_that_the_authority_says(answer, code, kind):
    for denied, decision in reserve_both_ways(*denying(code, answer)):
        assert type(denied) is kind
        for detail in (denied.detail, decision.detail, pickle.loads(pickle.dumps(denied)).detail):
            assert (detail.reason_code, detail.policy, detail.remaining) == ("ACTION_QUOTA_EXCEEDED", "policy-7", -3)
            assert (detail.scope, detail.suggested_fix) == (f"{SCOPE}/agent:a", "wait for the next run")
            assert detail.quota.to_dict() == QUOTA
        assert (denied.policy, denied.remaining, denied.scope) == ("policy-7", -3, f"{SCOPE}/agent:a")
        assert denied.quota.limit == 5
        assert "; wait for the next run (" in str(denied)
        assert (decision.allowed, decision.reason_code) == (False, code)
        assert "policy='policy-7'" in repr(denied.detail)


@pytest.mark.parametrize("detail", [None, "no object", {"reason_code": 7}, {}])
def test_a_detail_that_does_not_fit_is_none(detail):
    def answer(code):
        return httpx.Response(409, json=error(code) | {"details": {"deny_detail": detail}})

    for denied, decision in reserve_both_ways(*denying("ACTION_KIND_DENIED", answer)):
        assert (denied.detail, denied.quota, denied.policy, denied.remaining, decision.detail) == (None,) * 5
        assert "a policy forbids it" in str(denied)
        assert denied.details == {"deny_detail": detail}


def test_a_dry_run_has_it_too(side, guard):
    @guard(usd("2"), dry_run=True)
    @side.function
    def work():
        raise AssertionError

    assert side.call(work).detail.remaining == 100_000_000
