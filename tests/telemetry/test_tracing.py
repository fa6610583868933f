"""Which trace requests are counted to: one for each reservation, or the caller's own."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest
from opentelemetry import trace as otel

import cycles
from cycles import usd
from cycles._telemetry import trace
from cycles._telemetry.trace import Trace
from tests.support.authorities import ACTION

from .readings import TRACEPARENT, parts


def active(trace_id=0xABC, span_id=0xDEF, *, sampled=True, state=()):
    """A span of the caller's."""
    flags = otel.TraceFlags(otel.TraceFlags.SAMPLED if sampled else otel.TraceFlags.DEFAULT)
    context = otel.SpanContext(trace_id, span_id, False, flags, otel.TraceState(state))
    return otel.use_span(otel.NonRecordingSpan(context))


def test_one_reservation_is_one_trace(side, sent):
    reservation = side.call(side.client.reserve, usd("0.10"), action=ACTION)
    side.call(reservation.extend, 5)
    side.call(reservation.commit, usd("0.05"))
    assert len(sent) == 3
    assert len({parts(headers)["trace"] for headers in sent}) == 1
    assert len({parts(headers)["span"] for headers in sent}) == 3
    assert reservation.info.trace_id == reservation.settlement.info.trace_id == parts(sent[0])["trace"]
    assert reservation.info.request_id != reservation.settlement.info.request_id


def test_each_guarded_call_has_a_trace_of_its_own(side, guard, sent):
    guarded = guard()(side.function(lambda: None))
    side.call(guarded)
    side.call(guarded)
    first, first_end, second, second_end = (parts(headers)["trace"] for headers in sent)
    assert (first, second) == (first_end, second_end)
    assert first != second


@pytest.mark.parametrize("method", ["reservations", "balances"])
def test_the_pages_of_a_list_are_one_trace(side, authority, sent, method):
    for unit in (cycles.tokens, cycles.credits):
        authority.budget("tenant:acme", unit(5))
    held = [side.call(side.client.reserve, usd("0.01"), action=ACTION) for _ in range(3)]
    sent.clear()

    async def gathered(listing):
        return [row async for row in listing]

    side.call(list if side.kind == "sync" else gathered, getattr(side.client, method)(page_size=1))
    assert len(sent) == len(held)
    assert len({parts(headers)["trace"] for headers in sent}) == 1


def test_an_error_names_the_trace(side, sent):
    with pytest.raises(cycles.BudgetExceeded) as caught:
        side.call(side.client.reserve, usd("5"), action=ACTION)
    assert caught.value.trace_id == parts(sent[0])["trace"]
    assert caught.value.request_id


def test_the_callers_span_goes_out_instead(authority, sent):
    with authority.client(tenant="acme") as client, active(state=[("vendor", "x")]):
        reservation = client.reserve(usd("0.10"), action=ACTION)
        with active(span_id=0x123):
            reservation.commit(usd("0.05"))
    assert [headers["traceparent"] for headers in sent] == [
        f"00-{0xABC:032x}-{0xDEF:016x}-01",
        f"00-{0xABC:032x}-{0x123:016x}-01",
    ]
    assert [headers.get("tracestate") for headers in sent] == ["vendor=x", None]
    assert reservation.info.trace_id == f"{0xABC:032x}"


def test_what_began_under_a_span_stays_in_its_trace(authority, sent):
    """A heartbeat or a settlement may run in a thread that has no span."""
    with authority.client(tenant="acme") as client:
        with active(sampled=False):
            reservation = client.reserve(usd("0.10"), action=ACTION)
        reservation.commit(usd("0.05"))
    assert {headers["traceparent"] for headers in sent} == {f"00-{0xABC:032x}-{0xDEF:016x}-00"}


def test_no_active_span_is_a_trace_of_ours(side, sent):
    assert otel.get_current_span().get_span_context().is_valid is False
    side.call(side.client.decide, usd("0.10"), action=ACTION)
    assert parts(sent[0])["flags"] == "01"
    assert "tracestate" not in sent[0]


def test_ids_are_never_all_zero(monkeypatch):
    drawn = [b"\0" * 16, b"\1" * 16, b"\0" * 8, b"\2" * 8]
    monkeypatch.setattr(trace.os, "urandom", lambda size: drawn.pop(0))
    assert Trace().headers() == {"traceparent": f"00-{'01' * 16}-{'02' * 8}-01"}


@pytest.mark.parametrize("broken", [types.ModuleType("half"), object()])
def test_a_half_imported_opentelemetry_does_no_harm(monkeypatch, broken):
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", broken)
    assert TRACEPARENT.fullmatch(Trace().headers()["traceparent"])


@pytest.mark.slow
def test_opentelemetry_and_dateutil_are_not_imported_for_nothing():
    code = (
        "import sys, cycles\n"
        "from cycles.local import LocalAuthority\n"
        "with LocalAuthority() as a, a.client(tenant='acme') as c:\n"
        "    a.budget('tenant:acme', cycles.usd('1'))\n"
        "    c.reserve(cycles.usd('0.1'), action=('k', 'n')).commit(cycles.usd('0.1'))\n"
        "    list(c.reservations(created=('2026-01-31T12:00:00Z', None)))\n"
        "print([name for name in ('opentelemetry', 'dateutil') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_span_that_is_none_starts_a_trace_of_ours(monkeypatch):
    context = types.SimpleNamespace(is_valid=False)
    api = types.SimpleNamespace(get_current_span=lambda: types.SimpleNamespace(get_span_context=lambda: context))
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", api)
    assert trace.Trace().headers()["traceparent"].startswith("00-")


def test_without_opentelemetry_a_trace_is_ours(monkeypatch):
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert trace.Trace().headers()["traceparent"].startswith("00-")


def test_a_tracing_that_fails_fails_no_request(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", object())
    assert trace.Trace().headers()["traceparent"].endswith("-01")


def test_an_id_is_never_all_zero(monkeypatch):
    drawn = [bytes(8), bytes(7) + b"\x01"]
    monkeypatch.setattr(trace.os, "urandom", lambda size: drawn.pop(0))
    assert trace._random(8) == "00" * 7 + "01"
