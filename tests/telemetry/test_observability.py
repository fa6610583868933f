"""Spans and metrics, where the program has loaded OpenTelemetry; nothing where it has not."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry import metrics as otel_metrics
from opentelemetry import trace as otel
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import cycles
from cycles import usd
from cycles._core.outcomes import Answer, Trouble
from cycles._core.results import SettlementDetails
from cycles._telemetry import metrics
from tests.support.authorities import ACTION
from tests.support.records import pending

from .readings import of, parts


def test_a_section_is_a_span_around_its_requests_and_its_code(side, guard, sent, spans):
    inside = []

    def body():
        inside.append(otel.get_current_span().get_span_context().span_id)
        return "done"

    assert side.call(guard(actual=lambda _: usd("0.03"))(side.function(body))) == "done"
    span = spans.only()
    assert (span.name, span.kind, span.status.status_code) == (
        "cycles.guard",
        otel.SpanKind.INTERNAL,
        otel.StatusCode.UNSET,
    )
    assert inside == [span.context.span_id]
    carried = {(parts(headers)["trace"], parts(headers)["span"]) for headers in sent}
    assert carried == {(f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}")}
    assert dict(span.attributes) == {
        "cycles.action.kind": ACTION[0],
        "cycles.action.name": ACTION[1],
        "cycles.tenant": "acme",
        "cycles.estimate": 10_000_000,
        "cycles.unit": "USD_MICROCENTS",
        "cycles.decision": "ALLOW",
        "cycles.reservation_id": span.attributes["cycles.reservation_id"],
        "cycles.settlement": "COMMITTED",
        "cycles.charged": 3_000_000,
    }
    assert not otel.get_current_span().get_span_context().is_valid, "nothing stays current"


def test_a_callers_span_is_the_parent(guard, spans, authority):
    tracer = otel.get_tracer("test")
    with authority.client(tenant="acme") as client:
        guarded = cycles.Guard(usd("0.10"), action=ACTION, client=client)(lambda: tracer.start_span("own").end())
        with tracer.start_as_current_span("outer"):
            guarded()
    own, section, outer = spans.ended()
    assert (own.parent.span_id, section.parent.span_id) == (section.context.span_id, outer.context.span_id)


def test_what_a_section_raises_is_on_its_span(side, guard, spans):
    def body():
        raise KeyError("lost")

    with pytest.raises(KeyError):
        side.call(guard()(side.function(body)))
    span = spans.only()
    assert span.status.status_code is otel.StatusCode.ERROR
    assert (span.attributes["error.type"], span.attributes["cycles.settlement"]) == ("KeyError", "RELEASED")
    assert [event.name for event in span.events] == ["exception"]


def test_a_denial_is_on_its_span(side, guard, spans):
    with pytest.raises(cycles.BudgetExceeded):
        side.call(guard(usd("9"))(side.function(lambda: None)))
    span = spans.only()
    assert span.attributes["cycles.decision"] == "DENY"
    assert span.attributes["cycles.reason_code"] == "BUDGET_EXCEEDED"
    assert span.status.status_code is otel.StatusCode.ERROR


def test_between_two_steps_of_a_stream_the_callers_span_is_current(authority, spans):
    with authority.client(tenant="acme") as client:

        @cycles.Guard(usd("0.10"), action=ACTION, client=client)
        def stream():
            for _ in range(3):
                cycles.current().report(actual=usd("0.01"))
                yield otel.get_current_span().get_span_context().span_id

        between, steps = [], []
        for step in stream():
            steps.append(step)
            between.append(otel.get_current_span().get_span_context().is_valid)
            if len(steps) == 2:
                break
    span = spans.only()
    assert steps == [span.context.span_id] * 2
    assert between == [False, False]
    assert span.status.status_code is otel.StatusCode.UNSET, "leaving a stream early is no error"
    assert span.attributes["cycles.charged"] == 1_000_000


def test_a_tracer_that_fails_fails_no_section(side, guard, figures, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("tracing is broken")

    monkeypatch.setattr(otel, "get_tracer", broken)
    monkeypatch.setattr(otel_metrics, "get_meter_provider", broken)
    side.call(guard(actual=lambda _: usd("0.03"))(side.function(lambda: None)))
    assert figures() == (3, 0, 97)


def test_reserves_settlements_and_charges_are_counted(side, guard, measured):
    side.call(guard(actual=lambda _: usd("0.03"))(side.function(lambda: None)))
    side.call(guard(unreported="release")(side.function(lambda: None)))
    with pytest.raises(cycles.BudgetExceeded):
        side.call(guard(usd("9"))(side.function(lambda: None)))
    reservations = measured.points("cycles.reservations")
    assert reservations[of(decision="ALLOW", outcome="granted")] == 2
    assert sum(reservations.values()) == 3
    assert measured.points("cycles.settlements") == {
        of(outcome="settled", via="commit"): 1,
        of(outcome="released", via="release"): 1,
    }
    assert measured.points("cycles.charged") == {of(unit="USD_MICROCENTS"): 3_000_000}
    requests = {
        dict(attributes)["cycles.operation"]: count
        for attributes, count in measured.points("cycles.request.duration").items()
    }
    assert requests["commit_reservation"] == requests["release_reservation"] == 1
    assert "cycles.leases.lost" not in measured.instruments()


@pytest.mark.slow
def test_without_opentelemetry_nothing_of_it_is_loaded():
    code = """
import sys, cycles
from cycles import usd
from cycles.local import LocalAuthority
authority = LocalAuthority()
authority.budget("tenant:acme", usd("1"))
with authority.client(tenant="acme") as client:
    with cycles.Guard(usd("0.1"), action=("a", "b"), client=client) as held:
        held.commit(usd("0.05"))
assert held.state == "COMMITTED"
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_each_provider_has_instruments_of_its_own(side, guard, measured, monkeypatch):
    """Tests and reloads set up another one: what was made for the first measures nothing there."""
    side.call(guard(actual=lambda _: usd("0.03"))(side.function(lambda: None)))
    reader = InMemoryMetricReader()
    other = MeterProvider([reader])
    monkeypatch.setattr(otel_metrics, "get_meter_provider", lambda: other)
    side.call(guard(actual=lambda _: usd("0.02"))(side.function(lambda: None)))
    assert measured.points("cycles.charged") == {of(unit="USD_MICROCENTS"): 3_000_000}
    assert reader.get_metrics_data() is not None
    other.shutdown()


def details(outcome):
    given = {"charged": None, "attempts": 1, "recovered": False, "error": None}
    spend = pending()
    return SettlementDetails(spend.reservation_id, spend.actual, outcome, via=spend.via, **given)


class OldMeter:
    """Of an OpenTelemetry that takes no advice about buckets."""

    def __init__(self):
        self.recorded = []

    def create_counter(self, name, **about):
        return self

    def create_histogram(self, name, *, unit, description):
        return self

    def get_meter(self, name, version):
        return self

    def add(self, amount, attributes=None):
        self.recorded.append((amount, attributes))

    record = add


@pytest.fixture
def old(monkeypatch):
    meter = OldMeter()
    monkeypatch.setattr(otel_metrics, "get_meter_provider", lambda: meter)
    monkeypatch.setattr(metrics, "_made", [])
    return meter


def test_requests_without_a_good_answer_say_why(old):
    call = "decide"
    metrics.request(call, Answer(status=None, trouble=Trouble.LOST, sent_at=1.0, received_at=1.5))
    metrics.request(call, Answer(status=503, sent_at=1.0, received_at=3.0))
    assert old.recorded == [
        (0.5, {"cycles.operation": "decide", "error.type": "lost"}),
        (2.0, {"cycles.operation": "decide", "http.response.status_code": 503, "error.type": "503"}),
    ]


def test_lost_leases_and_failed_releases_are_counted(old):
    metrics.event("lease lost", {"reservation_id": "res-1"})
    metrics.event("release failed", {})
    metrics.event("renewed", {})
    assert old.recorded == [(1, None), (1, {"cycles.outcome": "failed", "cycles.via": "release"})]


def test_a_reserve_that_failed_has_no_decision_and_an_unknown_one_no_name_of_its_own(old):
    metrics.event("reserve failed", {})
    metrics.event("denied", {"decision": "MAYBE_LATER"})
    assert old.recorded == [
        (1, {"cycles.outcome": "failed"}),
        (1, {"cycles.outcome": "denied", "cycles.decision": "_OTHER"}),
    ]


def test_a_spend_that_is_not_charged_yet_is_counted_without_an_amount(old):
    metrics.settled(details("pending"))
    assert old.recorded == [(1, {"cycles.outcome": "pending", "cycles.via": "commit"})]


def test_without_metrics_nothing_is_measured(monkeypatch):
    monkeypatch.delitem(sys.modules, "opentelemetry.metrics")
    metrics.request("decide", Answer(status=200))
    metrics.event("reserved", {})
    metrics.settled(details("settled"))
