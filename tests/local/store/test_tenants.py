"""Tenants whose names differ in case only: none can be made, and those of earlier versions' files share no budget."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing

import httpx
import pytest

from cycles import tokens
from cycles.errors import ConfigError, InvalidRequest
from cycles.local import LocalAuthority
from tests.support.authorities import Clock
from tests.support.wire import Wire, failed

from .files import change


def test_tenants_that_differ_in_case_do_not_share_a_budget():
    with LocalAuthority() as authority:
        for call in (
            lambda: authority.tenant("ACME"),
            lambda: authority.key(tenant="Acme"),
            lambda: authority.client(tenant="ACME"),
            lambda: authority.budget("tenant:ACME", tokens(1)),
            lambda: authority.ensure_budget("tenant:ACME/agent:a", tokens(1)),
            lambda: authority.fund("tenant:ACME", "CREDIT", tokens(1)),
            lambda: authority.balance("tenant:ACME", "TOKENS"),
            lambda: LocalAuthority.from_url("local:?usd=1", tenant="ACME"),
        ):
            with pytest.raises((ConfigError, InvalidRequest), match="lower case; write acme"):
                call()
        assert authority.budget("tenant:acme/agent:Planner", tokens(1)).scope_path == "tenant:acme/agent:planner"


# -- files of version 2, where names could have capitals ---------------------------------------------------------------
SECRET = "cyc_live_of_the_tenant_with_capitals_0000"


def as_version_2(path, **renamed: str) -> None:
    """Make the file one of version 2, in which the tenants of that name are called so."""
    change(path, "DROP TABLE log_state", "DROP TABLE past_budgets", "DROP TABLE events", "PRAGMA user_version = 2")
    with closing(sqlite3.connect(path)) as connection:
        for before, after in renamed.items():
            for table, column in (("tenants", "tenant_id"), ("keys", "tenant"), ("holds", "tenant")):
                connection.execute(
                    f"UPDATE {table} SET {column} = ?, data = json_set(data, '$.{column}', ?) WHERE {column} = ?",
                    (after, after, before),
                )
            connection.execute("UPDATE replays SET scope = replace(scope, ?, ?)", (f":{before}", f":{after}"))
        connection.commit()


@pytest.fixture
def held(path):
    """A ledger whose tenant `first` holds 10 tokens of tenant:first, by a key of its own."""
    with LocalAuthority(path, clock=Clock()) as authority:
        authority.budget("tenant:first", tokens(100))
        authority.tenant("first", metadata={"team": "research"}, max_ttl_ms=5_000)
        authority.add_key(SECRET, tenant="first", permissions=["budgets:read", "budgets:write"])
        wire = Wire(authority, Clock(), tenant="first")
        granted = wire.reserve(10)
        assert wire.extend(granted, 1000, key="more").status_code == 200
    return granted.json()["reservation_id"]


@pytest.fixture
def asked(path):
    """Ask a file's authority with the key of the tenant that had capitals."""
    with LocalAuthority(path, clock=Clock()) as authority:
        headers = {"X-Cycles-API-Key": SECRET}
        with httpx.Client(transport=authority.transport(), base_url="http://test", headers=headers) as http:
            yield authority, http


def reserving(tenant: str, **fields) -> dict:
    action = {"kind": "k", "name": "n"}
    estimate = {"unit": "TOKENS", "amount": 1}
    return {"idempotency_key": "k", "subject": {"tenant": tenant}, "action": action, "estimate": estimate, **fields}


def test_the_only_one_of_its_name_gets_it_in_lower_case(path, held, request):
    """With its settings, keys, reservations and what it asked before; nobody else was called so."""
    as_version_2(path, first="First")
    authority, http = request.getfixturevalue("asked")
    assert [(each.tenant_id, each.metadata) for each in authority.tenants()] == [("first", {"team": "research"})]
    assert {key.tenant for key in authority.keys(None)} == {"first"}
    assert authority.check() == []
    listed = http.get("/v1/reservations").json()["reservations"]
    assert [row["reservation_id"] for row in listed] == [held]
    again = http.post(f"/v1/reservations/{held}/extend", json={"idempotency_key": "more", "extend_by_ms": 1000})
    assert again.json()["expires_at_ms"] == listed[0]["expires_at_ms"], "the same request, once"
    assert http.post("/v1/reservations", json=reserving("first")).status_code == 200
    done = http.post(
        f"/v1/reservations/{held}/commit", json={"idempotency_key": "c", "actual": {"unit": "TOKENS", "amount": 4}}
    )
    assert done.status_code == 200
    assert authority.balance("tenant:first", "TOKENS").spent == 4
    refused = http.post("/v1/reservations", json=reserving("First"))
    assert failed(refused, 403, "FORBIDDEN")
    assert "is of the tenant first, not of First" in refused.json()["message"]


def test_two_that_differ_in_case_share_nothing_and_lose_nothing(path, held, request, caplog):
    """Nobody can say whose the budgets are: the one in lower case spends, and the other settles what it holds."""
    as_version_2(path, first="First")
    with closing(sqlite3.connect(path)) as connection:  # and another one, as version 2 let people have it
        data = json.dumps({"key_id": "key_of_the_other", "key_hash": "0" * 64, "tenant": "first"})
        row = ("0" * 64, "key_of_the_other", data)
        connection.execute("INSERT INTO keys VALUES (?, ?, 'first', 0, NULL, NULL, ?)", row)
        connection.commit()
    with caplog.at_level(logging.WARNING, "cycles.local"):
        authority, http = request.getfixturevalue("asked")
    told = "the tenant First differs from first in case only"
    assert [record.getMessage() for record in caplog.records if told in record.getMessage()]
    assert any(told in problem for problem in authority.check())
    for path_, body in (("reservations", reserving("First")), ("decide", reserving("First"))):
        refused = http.post(f"/v1/{path_}", json=body)
        assert failed(refused, 403, "FORBIDDEN")
        assert "use a key of first" in refused.json()["message"]
    event = reserving("First") | {"actual": {"unit": "TOKENS", "amount": 1}}
    del event["estimate"]
    assert failed(http.post("/v1/events", json=event), 403, "FORBIDDEN")
    funding = {"operation": "CREDIT", "amount": {"unit": "TOKENS", "amount": 1}}
    funded = http.post("/v1/admin/budgets/fund", params={"scope": "tenant:first", "unit": "TOKENS"}, json=funding)
    assert failed(funded, 403, "FORBIDDEN")
    done = http.post(
        f"/v1/reservations/{held}/commit", json={"idempotency_key": "c", "actual": {"unit": "TOKENS", "amount": 4}}
    )
    assert done.status_code == 200
    row = authority.balance("tenant:first", "TOKENS")
    assert (row.spent, row.reserved, row.allocated) == (4, 0, 100)
    for key in authority.keys("First"):
        authority.revoke_key(key.key_id)
    assert authority.check() == [], "after what the message advises"
