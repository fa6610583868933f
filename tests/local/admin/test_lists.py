"""Lists of the administration: pages and filters."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import cycles
from cycles import tokens
from tests.support.authorities import SCOPE
from tests.support.wire import failed

from .calls import BUDGETS, KEYS, TENANTS

if TYPE_CHECKING:
    import httpx


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
