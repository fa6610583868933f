"""Arguments that were checked before are remembered, and never taken for others."""

from __future__ import annotations

import gc
import sys

import pytest

import cycles
from cycles import Amount, tokens, usd, usd_microcents
from cycles._client import checked as memory
from cycles._client.checked import signature
from tests.support.authorities import ACTION

HELD = usd("0.01")
OPTIONS = {"action": ACTION, "agent": "a", "ttl": 60.0}


@pytest.fixture
def client(authority):
    with authority.client(tenant="acme") as client:
        yield client


def ran(guard):
    """Run *guard* as a decorator, as a with-block, and by itself again; return what it held."""
    with guard as first:
        pass
    with guard as second:
        pass
    return first, second


def test_the_same_arguments_are_checked_once(client, monkeypatch):
    checks = []
    terms = cycles._client.arguments.requests.terms
    monkeypatch.setattr(
        "cycles._client.arguments.requests.terms", lambda *args, **kwargs: checks.append(1) or terms(*args, **kwargs)
    )
    for _ in range(3):
        ran(cycles.Guard(HELD, action=ACTION, client=client))
    work = cycles.Guard(usd_microcents, action=ACTION, client=client)(lambda n: n)
    assert [work(n) for n in (1, 2, 1, 2)] == [1, 2, 1, 2]
    assert len(checks) == 1  # whatever the estimate is


def test_an_amount_or_metadata_that_was_changed_is_seen(authority, client):
    estimate, metadata, tags = usd("0.01"), {"n": 1}, ["a"]
    guard = cycles.Guard(estimate, action=ACTION, metadata=metadata, tags=tags, client=client)
    plain = cycles.Guard(estimate, action=ACTION, client=client)
    assert [held.reserved for held in ran(plain)] == [usd("0.01")] * 2
    kept = ran(guard)[0]
    estimate.amount, metadata["n"] = 5, 2
    assert [held.reserved for held in (*ran(plain), *ran(guard))] == [usd_microcents(5)] * 4
    assert kept._section.terms.metadata == {"n": 1}
    with guard as held:
        assert held._section.terms.metadata == {"n": 2}
    tags.append("x" * 65)
    with pytest.raises(cycles.InvalidRequest, match="tags"):
        guard.__enter__()
    estimate.amount = True
    with pytest.raises(cycles.InvalidRequest, match="not an integer"):
        plain.__enter__()


def test_what_is_equal_is_not_the_same(client):
    """1, 1.0 and True are equal, and have the same hash."""
    ran(cycles.Guard(HELD, action=ACTION, ttl=1, wait=0, client=client))
    with pytest.raises(cycles.InvalidRequest, match="ttl=True"):
        cycles.Guard(HELD, action=ACTION, ttl=True, wait=0, client=client).__enter__()
    with pytest.raises(cycles.InvalidRequest, match="wait=False"):
        cycles.Guard(HELD, action=ACTION, ttl=1, wait=False, client=client).__enter__()
    with pytest.raises(cycles.InvalidRequest, match="dry_run=0"):
        cycles.Guard(HELD, action=ACTION, ttl=1, dry_run=0, client=client).__enter__()
    with pytest.raises(cycles.InvalidRequest, match="overage_policy"):
        cycles.Guard(HELD, action=ACTION, overage_policy=[], client=client).__enter__()


def test_who_spends_is_looked_at_each_time(authority, client):
    names = ["c", "b", "a"]
    work = cycles.Guard(HELD, action=ACTION, agent=names.pop, client=client)(lambda: None)
    plain = cycles.Guard(HELD, action=ACTION, client=client)(lambda: None)
    for _ in range(3):
        work()
    for name in ("x", "y", "x"):
        with cycles.subject(workspace=name):
            plain()
    plain()
    paths = [row.affected[-1] for row in authority.reservations()]
    assert [path.rpartition("/")[2] for path in paths] == [
        *("agent:a", "agent:b", "agent:c", "workspace:x", "workspace:y", "workspace:x", "tenant:acme")
    ]


def test_a_tenant_that_the_key_is_not_of_is_refused_when_that_is_learned_later(client):
    guard = cycles.Guard(HELD, action=ACTION, tenant="acme", client=client)
    ran(guard)
    client._runtime.access.key_tenant._name = "other"
    with pytest.raises(cycles.InvalidRequest, match="of tenant 'other'"):
        guard.__enter__()


def test_a_bounded_number_is_remembered(client, monkeypatch):
    monkeypatch.setattr(memory, "MOST", 2)
    for number in range(1, 6):
        ran(cycles.Guard(HELD, action=ACTION, agent=f"a{number}", client=client))
    assert len(client._runtime.access.checked._known) <= 2


def test_estimates_differ_and_the_rest_is_remembered(authority, client):
    amounts = [3, 2, 2**63, -1, 1]
    guard = cycles.Guard(lambda: Amount(unit=HELD.unit, amount=amounts.pop()), action=ACTION, client=client)
    work = guard(lambda: None)
    work()
    for _ in range(2):
        with pytest.raises(cycles.InvalidRequest, match="estimate: amount"):
            work()
    work()
    work()
    assert sorted(row.estimate for row in authority.reservations()) == [1, 2, 3]
    assert len(client._runtime.access.checked._known) == 1


def test_units_are_told_apart(authority, client):
    authority.budget("tenant:acme", tokens(100))
    for amount in (usd_microcents(7), tokens(7), usd_microcents(8)):
        held, _ = ran(cycles.Guard(amount, action=ACTION, client=client))
        assert held.reserved == amount


@pytest.mark.parametrize(
    "other",
    [{"metadata": {}}, {"dimensions": {"a": "b"}}, {"idempotency_key": "k"}, {"tags": ["a"]}, {"action": ["a", "b"]}],
    ids=str,
)
def test_what_can_change_is_checked_anew(other):
    assert signature(OPTIONS | other) is None


def test_what_is_told_apart():
    assert signature(OPTIONS) == signature(dict(OPTIONS))
    assert signature(OPTIONS) != signature(OPTIONS | {"agent": "b"})
    assert signature(OPTIONS | {"ttl": 1}) != signature(OPTIONS | {"ttl": True})
    assert signature(OPTIONS | {"tags": ("a",)}) is not None


def calls_of(work):
    """Return how many Python calls *work* makes; none of the collector, which may come at any time."""
    calls = []

    def profile(_frame, event, _argument):
        if event == "call":
            calls.append(event)

    before = sys.getprofile()
    gc.disable()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return len(calls)


def test_a_guard_inside_a_limit_takes_few_calls(client, monkeypatch):
    """What its speed rests on, counted: no machine is too busy for that."""
    for name in ("opentelemetry.trace", "opentelemetry.metrics"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    work = cycles.Guard(HELD, action=ACTION, actual=lambda _: HELD, client=client)(lambda: None)
    with cycles.Limit(usd("0.50"), action=("agent.run", "research"), client=client):
        work()
        assert calls_of(work) <= 110
