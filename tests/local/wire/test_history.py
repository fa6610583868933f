"""What an authority remembers of requests, and the clock that a test sets."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from cycles import tokens, usd
from cycles.errors import ConfigError, InvalidRequest
from cycles.local import LocalAuthority, ManualClock
from cycles.local.registry import forget_shared, standing_in
from tests.support.authorities import ADMIN_KEY, SCOPE
from tests.support.wire import Wire


def test_a_request_is_remembered_as_it_was_asked_and_answered(wire, authority, clock):
    authority.budget(SCOPE, tokens(10))
    held = wire.reserve(4, key="k-1")
    (seen,) = authority.requests
    assert (seen.operation, seen.method, seen.path) == ("reserve", "POST", "/v1/reservations")
    assert (seen.tenant, seen.idempotency_key, seen.status, seen.fault) == ("acme", "k-1", 200, None)
    assert seen.body["estimate"] == {"unit": "TOKENS", "amount": 4}
    assert seen.answer == held.json()
    assert seen.at_ms == clock.now


def test_every_kind_of_request_has_its_name(wire, authority):
    authority.budget(SCOPE, tokens(100))
    held, other = wire.reserve(4), wire.reserve(4)
    wire.extend(held, 1000)
    wire.commit(held, 4)
    wire.release(other)
    wire.decide(1)
    wire.event(1)
    wire.get(f"/v1/reservations/{held.json()['reservation_id']}")
    wire.get("/v1/reservations", status="ACTIVE")
    wire.get("/v1/balances", tenant="acme")
    wire.get("/v1/nothing")
    names = [
        "reserve",
        "reserve",
        "extend",
        "commit",
        "release",
        "decide",
        "event",
        "reservation",
        "reservations",
        "balances",
    ]
    assert [seen.operation for seen in authority.requests] == [*names, None]
    assert authority.requests[8].parameters == {"status": "ACTIVE"}


def test_refusals_and_nonsense_are_remembered(wire, authority):
    wire.reserve(4)
    wire.http.post("/v1/decide", content=b"{nonsense", headers={"Content-Type": "application/json"})
    missing, nonsense = authority.requests
    assert (missing.status, missing.answer["error"]) == (404, "NOT_FOUND")
    assert (nonsense.status, nonsense.body, nonsense.idempotency_key) == (400, None, None)


def test_no_key_is_remembered(wire, authority):
    authority.budget(SCOPE, tokens(10))
    wire.reserve(4, metadata={"api_key": "sk-of-somebody", "nested": [{"key_secret": "cyc_live_x"}]})
    shown = repr(authority.requests)
    assert wire.secret not in shown
    assert "sk-of-somebody" not in shown
    assert "cyc_live_x" not in shown
    assert all(wire.secret not in repr(kept) for kept in authority.requests._kept), "nor where it is kept"


def test_only_the_last_are_kept_and_clear_begins_anew():
    with LocalAuthority(history=3) as authority, Wire(authority, ManualClock()).http as http:
        for number in range(5):
            http.get("/v1/balances", params={"tenant": str(number)})
        assert [seen.parameters["tenant"] for seen in authority.requests] == ["2", "3", "4"]
        assert [seen.parameters["tenant"] for seen in authority.requests[1:]] == ["3", "4"]
        assert authority.requests[-1] == list(authority.requests)[-1]
        authority.requests.clear()
        assert authority.requests == []


def test_who_keeps_a_history(tmp_path):
    """In memory by itself; a file, and what `local:` shares, when asked to."""
    with LocalAuthority(tmp_path / "ledger.db") as authority, pytest.raises(ConfigError, match="history=1000"):
        _ = authority.events
    with LocalAuthority(tmp_path / "ledger.db", history=5) as authority:
        assert authority.requests == []
    with pytest.raises(ConfigError, match="history=1000"):
        _ = LocalAuthority.from_url("local:").requests
    forget_shared()
    for wrong in (-1, True, 1.5):
        with pytest.raises(ConfigError, match="history="):
            LocalAuthority(history=wrong)


@pytest.mark.slow
def test_requests_of_many_threads_are_all_remembered(authority):
    authority.budget(SCOPE, tokens(1_000))
    looked: list[int] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            looked.append(len(list(authority.requests)))

    def ask(name: str) -> None:
        wire = Wire(authority, authority.clock)
        with wire.http:
            for number in range(20):
                wire.reserve(1, key=f"{name}-{number}")

    looker = threading.Thread(target=look)
    askers = [threading.Thread(target=ask, args=(str(number),)) for number in range(8)]
    looker.start()
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    done.set()
    looker.join()
    assert {seen.idempotency_key for seen in authority.requests} == {f"{a}-{b}" for a in range(8) for b in range(20)}
    assert len(authority.requests) == 160
    assert looked == sorted(looked)


# -- the clock ---------------------------------------------------------------------------------------------------------
def test_a_manual_clock_stands_still():
    clock = ManualClock(datetime(2027, 1, 2, 3, tzinfo=UTC))
    before = clock()
    assert clock() == before == 1_798_858_800_000
    clock.advance(1.5)
    clock.advance(timedelta(minutes=1))
    assert clock() == before + 61_500
    clock.set(datetime(2026, 1, 1, tzinfo=UTC))
    assert clock.now == datetime(2026, 1, 1, tzinfo=UTC)
    clock.set(1_000)
    assert clock() == 1_000


@pytest.mark.parametrize("start", [datetime(2026, 1, 1), 1.5, True, -1, "now", 10**15])  # noqa: DTZ001 - refused
def test_what_is_no_time(start):
    with pytest.raises(InvalidRequest, match="start="):
        ManualClock(start)
    with pytest.raises(InvalidRequest, match="now="):
        ManualClock().set(start)


@pytest.mark.parametrize("by", [-1, float("nan"), float("inf"), True, "30", timedelta(seconds=-1), 10**13])
def test_what_is_no_duration(by):
    with pytest.raises(InvalidRequest, match="by="):
        ManualClock().advance(by)


def test_advancing_an_authority_expires_what_is_overdue():
    with LocalAuthority(clock=ManualClock()) as authority:
        authority.budget(SCOPE, tokens(10))
        wire = Wire(authority, authority.clock)
        with wire.http:
            wire.reserve(4, ttl_ms=30_000, grace_period_ms=0)
        authority.advance(30)
        assert authority.events == [], "the last millisecond is still its own"
        authority.advance(timedelta(milliseconds=1))
        assert [event.type for event in authority.events] == ["reservation.expired"]
        assert authority.balance(SCOPE, "TOKENS").reserved == 0


def test_the_machines_clock_is_not_advanced():
    with LocalAuthority() as authority, pytest.raises(ConfigError, match=r"clock=ManualClock\(\)"):
        authority.advance(1)


# -- caps, and standing in ---------------------------------------------------------------------------------------------
def test_caps_of_a_budget_come_with_its_grants(wire, authority):
    authority.budget(SCOPE, tokens(10), caps={"max_tokens": 500, "tool_allowlist": ["search"]})
    granted = wire.reserve(1).json()
    assert granted["decision"] == "ALLOW_WITH_CAPS"
    assert granted["caps"] == {"max_tokens": 500, "tool_allowlist": ["search"]}
    assert wire.decide(1).json()["caps"] == granted["caps"]
    authority.budget(SCOPE, tokens(10))
    assert wire.reserve(1).json()["decision"] == "ALLOW_WITH_CAPS", "what is left out stays"
    authority.budget(SCOPE, tokens(10), caps={})
    assert wire.reserve(1).json()["decision"] == "ALLOW"


def test_an_authority_stands_in_for_local(tmp_path):
    with LocalAuthority() as authority:
        before = LocalAuthority.from_url("local:")
        with standing_in(authority):
            assert LocalAuthority.from_url("local:?usd=1.00") is authority
            assert LocalAuthority.from_url(f"local:{tmp_path}/ledger.db") is not authority
        assert LocalAuthority.from_url("local:") is before
        assert authority.balance("tenant:default", "USD_MICROCENTS").allocated == usd("1.00").amount
        forget_shared()
        with standing_in(authority):
            pass
        assert LocalAuthority.from_url("local:") is not authority
    forget_shared()


def test_an_authority_is_remembered_over_http_too():
    from cycles.local.wire.server import serve  # noqa: PLC0415

    with LocalAuthority() as authority, serve(authority) as url, httpx.Client(base_url=url) as http:
        http.get("/actuator/health")
        assert [(seen.operation, seen.status) for seen in authority.requests] == [("health", 200)]


def test_a_key_that_is_made_over_http_is_not_remembered(authority):
    authority.tenant("acme-corp")
    with httpx.Client(transport=authority.transport(), base_url="http://test") as http:
        body = {"tenant_id": "acme-corp", "name": "of a test"}
        made = http.post("/v1/admin/api-keys", json=body, headers={"X-Admin-API-Key": ADMIN_KEY})
    secret = made.json()["key_secret"]
    (seen,) = authority.requests
    assert (seen.operation, seen.status, seen.tenant) == (None, 201, None)
    assert seen.answer["key_secret"] == "***"
    assert seen.answer["key_id"] == made.json()["key_id"]
    assert secret not in repr(authority.requests)
    assert secret not in repr(authority.requests._kept), "nor where it is kept"
