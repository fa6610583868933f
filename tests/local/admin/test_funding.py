"""Funding over HTTP: what it answers, its idempotency and the order of its checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cycles import tokens
from tests.support.authorities import SCOPE
from tests.support.wire import failed

from .calls import AT, BUDGETS, FUND, ISO, TENANTS, amount, budget, funding

if TYPE_CHECKING:
    import httpx


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
