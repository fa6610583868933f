"""What is counted and timed, where the program has loaded OpenTelemetry's metrics."""

from __future__ import annotations

import sys
import types

import pytest

import cycles
from cycles import usd
from cycles.local import LocalAuthority
from cycles_api.api.reservations import release_reservation
from cycles_api.models import ReleaseRequest
from tests.support.authorities import ACTION, SCOPE
from tests.support.waiting import until

from .readings import of

ALLOWED = {
    "cycles.outcome": {
        "granted", "denied", "dry_run", "unreserved", "failed", "released",
        "settled", "pending", "stopped", "rejected", "unsettled",
    },
    "cycles.decision": {"ALLOW", "ALLOW_WITH_CAPS", "DENY", "_OTHER"},
    "cycles.via": {"commit", "event", "release"},
    "cycles.unit": {"USD_MICROCENTS"},
    "cycles.operation": {"create_reservation", "commit_reservation", "release_reservation", "extend_reservation",
                         "create_event", "decide", "list_reservations"},
    "http.response.status_code": {200, 201, 409, 410, 503},
    "error.type": {"409", "410", "503", "lost", "not_sent", "unreadable"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def bounded(measured):
    """Whatever a test does, attributes are of these few: no ids, no tenants."""
    yield
    for name in measured.instruments():
        for attributes in measured.points(name):
            for key, value in attributes:
                assert value in ALLOWED[key], (name, key, value)


def operations(measured):
    """Requests by operation and status."""
    return {
        (dict(attributes)["cycles.operation"], dict(attributes).get("http.response.status_code")): count
        for attributes, count in measured.points("cycles.request.duration").items()
    }


def test_what_was_really_charged_counts(side, guard, measured):
    """Above the hold, ALLOW_IF_AVAILABLE charges no more than there is."""
    guarded = guard(usd("0.90"), overage_policy="ALLOW_IF_AVAILABLE", actual=lambda cost: cost)
    side.call(guarded(side.function(lambda: usd("5"))))
    assert measured.points("cycles.charged") == {of(unit="USD_MICROCENTS"): 100_000_000}
    assert measured.points("cycles.uncovered") == {of(unit="USD_MICROCENTS"): 400_000_000}


def test_units_and_buckets(side, guard, measured):
    side.call(guard()(side.function(lambda: None)))
    instruments = measured.instruments()
    assert {name: metric.unit for name, metric in instruments.items()} == {
        "cycles.reservations": "{reservation}",
        "cycles.settlements": "{settlement}",
        "cycles.charged": "{amount}",
        "cycles.request.duration": "s",
    }
    (point, _) = instruments["cycles.request.duration"].data.data_points
    assert 0.0 < point.sum < 10.0
    assert point.explicit_bounds[0] == 0.005


def test_denials_failures_and_dry_runs(side, guard, authority, measured):
    with pytest.raises(cycles.BudgetExceeded):
        side.call(guard(usd("5"))(side.function(lambda: None)))
    with authority.faults.refuse_connection(times=None), pytest.raises(cycles.AuthorityUnavailable):
        side.call(guard()(side.function(lambda: None)))
    side.call(guard(usd("5"), dry_run=True)(side.function(lambda: None)))
    assert measured.points("cycles.reservations") == {
        of(outcome="denied", decision="DENY"): 1,
        of(outcome="failed"): 1,
        of(outcome="dry_run", decision="DENY"): 1,
    }
    assert measured.points("cycles.settlements") == {}
    assert frozenset({("cycles.operation", "create_reservation"), ("error.type", "not_sent")}) in measured.points(
        "cycles.request.duration"
    )


def test_releases_that_worked_and_that_did_not(side, guard, authority, measured):
    def body():
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        side.call(guard()(side.function(body)))
    assert measured.points("cycles.settlements") == {of(outcome="released", via="release"): 1}
    held = side.call(side.client.reserve, usd("0.10"), action=ACTION)
    release(held, side)
    side.call(held.release)
    assert measured.points("cycles.settlements") == {
        of(outcome="released", via="release"): 1,
        of(outcome="failed", via="release"): 1,
    }


def release(held, side):
    """Have somebody else release the hold."""
    body = ReleaseRequest(idempotency_key="someone else")
    if side.kind == "sync":
        release_reservation.sync(held.id, client=side.client.api, body=body)
    else:
        side.call(release_reservation.asyncio, held.id, client=side.client.api, body=body)


def test_a_late_commit_is_an_event(side, clock, measured):
    held = side.call(side.client.reserve, usd("0.10"), action=ACTION, ttl=5, grace_period=0)
    clock.advance(60)
    side.call(held.commit, usd("0.05"))
    assert measured.points("cycles.settlements") == {of(outcome="settled", via="event"): 1}
    assert measured.points("cycles.charged") == {of(unit="USD_MICROCENTS"): 5_000_000}
    assert operations(measured)["commit_reservation", 410] == 1


def test_a_recorded_spend_is_a_settlement(side, measured):
    side.call(side.client.record, usd("0.05"), action=ACTION)
    assert measured.points("cycles.settlements") == {of(outcome="settled", via="event"): 1}
    assert measured.points("cycles.charged") == {of(unit="USD_MICROCENTS"): 5_000_000}
    assert measured.points("cycles.reservations") == {}


def test_a_settlement_that_is_refused(side, measured):
    """Above the hold, REJECT refuses: nothing is charged."""
    held = side.call(side.client.reserve, usd("0.10"), action=ACTION, overage_policy="REJECT")
    with pytest.raises(cycles.CyclesError):
        side.call(held.commit, usd("0.90"))
    assert measured.points("cycles.settlements") == {of(outcome="rejected", via="commit"): 1}
    assert measured.points("cycles.charged") == {}


@pytest.mark.slow
def test_a_lost_lease(measured):
    with LocalAuthority() as authority, authority.client(tenant="acme") as client:
        authority.budget(SCOPE, usd("1.00"))
        held = client.reserve(usd("0.10"), action=ACTION, ttl=1.5, grace_period=0)
        release_reservation.sync(held.id, client=client.api, body=ReleaseRequest(idempotency_key="someone else"))
        until(lambda: measured.points("cycles.leases.lost"))
        assert held.state == "LOST"
        held.release()
    assert measured.points("cycles.leases.lost") == {frozenset(): 1}


def test_a_half_imported_opentelemetry_does_no_harm(side, guard, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", types.ModuleType("half"))
    assert side.call(guard()(side.function(lambda: 7))) == 7


def test_denials_and_failures_are_logged(side, guard, authority, caplog):
    caplog.set_level("DEBUG", logger="cycles")
    with pytest.raises(cycles.BudgetExceeded):
        side.call(guard(usd("5"))(side.function(lambda: None)))
    with authority.faults.refuse_connection(times=None), pytest.raises(cycles.AuthorityUnavailable):
        side.call(guard()(side.function(lambda: None)))
    told = {record.cycles_event: record for record in caplog.records if record.name == "cycles.guard"}
    assert (told["denied"].levelname, told["denied"].cycles_estimate) == ("DEBUG", 500_000_000)
    assert "estimate=$5.00" in told["denied"].getMessage()
    assert not any(record.levelname != "DEBUG" for record in caplog.records), "they are raised"
