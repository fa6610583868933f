"""A key that was good is confirmed by the transaction of the request, not before it; nothing else shows."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta

import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from cycles.local.wire import trust
from tests.support.authorities import SCOPE, Clock
from tests.support.postgres import SHARED_STORES, shared_place_of
from tests.support.wire import Wire, failed


@contextmanager
def used(path, **settings):
    """The wire of an authority whose key was good a moment ago, and another authority on the same ledger."""
    clock = Clock()
    with LocalAuthority(path, clock=clock, **settings) as one, LocalAuthority(path, clock=clock) as other:
        one.budget(SCOPE, tokens(100))
        wire = Wire(one, clock)
        assert wire.reserve(1).status_code == 200
        yield wire, other


@pytest.fixture(params=SHARED_STORES)
def path(request, tmp_path):
    with shared_place_of(request.param, tmp_path) as place:
        yield place


ASKING = {
    "well": lambda wire: wire.reserve(1),
    "badly": lambda wire: wire.post("/v1/reservations", {"nothing": 1}),
    "for too much": lambda wire: wire.event(1000, overage_policy="REJECT"),
    "for nothing": lambda wire: wire.post("/v1/reservations/none/commit", {}),
}


@pytest.mark.parametrize("how", ASKING)
def test_a_key_that_was_revoked_elsewhere(path, how):
    with used(path) as (wire, other):
        other.revoke(wire.secret)
        response = ASKING[how](wire)
        assert failed(response, 401, "UNAUTHORIZED")
        assert response.json()["message"].startswith("KEY_REVOKED")
        assert "X-Cycles-Tenant" not in response.headers
        assert (other.balance(SCOPE, "TOKENS").reserved, other.balance(SCOPE, "TOKENS").spent) == (1, 0)


@pytest.mark.parametrize("how", ASKING)
def test_a_tenant_that_was_suspended_elsewhere(path, how):
    with used(path) as (wire, other):
        other.tenant("acme", status="SUSPENDED")
        assert failed(ASKING[how](wire), 401, "UNAUTHORIZED")
        other.tenant("acme")
        assert wire.reserve(1).status_code == 200


def test_session_keys_too(path):
    with used(path) as (wire, other):
        wire.http.headers["X-Cycles-API-Key"] = wire.authority.session_key(tenant="acme")
        assert [wire.reserve(1).status_code for _ in range(2)] == [200, 200]
        other.tenant("acme", status="SUSPENDED")
        assert failed(wire.reserve(1), 401, "UNAUTHORIZED")


def test_a_key_that_expires(path):
    with used(path) as (wire, _):
        key = wire.authority.key(tenant="acme", expires=timedelta(seconds=60))
        wire.http.headers["X-Cycles-API-Key"] = key
        assert wire.reserve(1).status_code == 200
        wire.clock.advance(60)
        response = wire.reserve(1)
        assert failed(response, 401, "UNAUTHORIZED")
        assert response.json()["message"].startswith("KEY_EXPIRED")


def test_a_refusal_of_a_good_key_stays_what_it_is(path):
    with used(path) as (wire, _):
        response = wire.post("/v1/reservations", {"nothing": 1})
        assert failed(response, 400, "INVALID_REQUEST")
        assert response.headers["X-Cycles-Tenant"] == "acme"
        assert failed(wire.event(1000, overage_policy="REJECT"), 409, "BUDGET_EXCEEDED")
        assert len(wire.authority.app.operations.denials.last("acme", 10)) == 1


def test_a_refusal_inside_the_transaction_is_not_decided_twice(path, monkeypatch):
    with used(path) as (wire, _):
        monkeypatch.setattr(trust.Keys, "looked_up", None)
        assert failed(wire.event(1000, overage_policy="REJECT"), 409, "BUDGET_EXCEEDED")
        assert wire.reserve(1).status_code == 200


def test_the_server_does_not_keep_all_keys(path, monkeypatch):
    monkeypatch.setattr(trust, "MOST", 2)
    with used(path) as (wire, _):
        for _ in range(5):
            wire.http.headers["X-Cycles-API-Key"] = wire.authority.key(tenant="acme")
            assert wire.reserve(1).status_code == 200
        keys = wire.authority.app._keys
        assert len(keys._good) <= 2
        assert wire.secret not in repr(keys)
