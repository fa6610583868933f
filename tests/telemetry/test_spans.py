"""One span around each guarded section, where the program has loaded OpenTelemetry: whose child it is, what it says."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry import trace as otel
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

import cycles
from cycles import tokens, usd
from tests.support.authorities import ACTION, SCOPE

from .readings import current_id, ids, parent, span_ids

pytestmark = pytest.mark.usefixtures("quiet")


# -- relations ---------------------------------------------------------------------------------------------------------
def test_the_section_is_a_child_of_the_caller_and_its_work_a_child_of_the_section(side, guard, spans, sent):
    def body():
        with spans.tracer.start_as_current_span("inner"):
            return 7

    with spans.tracer.start_as_current_span("outer"):
        assert side.call(guard()(side.function(body))) == 7
        assert ids(spans.only()) == list(dict.fromkeys(span_ids(sent)))
        assert current_id() == parent(spans.only())
    outer, section, inner = spans.only("outer"), spans.only(), spans.only("inner")
    assert [parent(span) for span in (outer, section, inner)] == [None, *ids(outer, section)]
    assert section.start_time <= inner.start_time <= inner.end_time <= section.end_time
    assert len(sent) == 2
    assert section.kind is otel.SpanKind.INTERNAL
    assert (section.instrumentation_scope.name, section.instrumentation_scope.version) == ("cycles", cycles.__version__)


def test_the_reserve_and_the_settlement_are_inside_the_span(side, guard, spans, sent):
    """Both requests come while the section's span is open."""
    side.call(guard()(side.function(lambda: len(spans.named()))))
    assert span_ids(sent) == ids(spans.only()) * 2


def test_a_block_is_a_section_too(side, guard, spans, sent):
    with side.block(guard()) as reservation:
        side.call(reservation.commit, usd("0.03"))
        assert spans.named() == []
    assert ids(spans.only()) == [span_ids(sent)[0]]
    assert spans.only().attributes["cycles.charged"] == 3_000_000
    assert otel.get_current_span() is otel.INVALID_SPAN


def test_in_a_block_the_span_is_current(authority, spans, sent):
    with authority.client(tenant="acme") as client:
        with cycles.Guard(usd("0.10"), action=ACTION, client=client):
            inside = current_id()
        assert otel.get_current_span() is otel.INVALID_SPAN
    assert span_ids(sent) == [inside] * 2 == ids(spans.only()) * 2


def test_a_commit_by_hand_belongs_to_the_span_it_was_called_in(authority, spans, sent):
    with (
        authority.client(tenant="acme") as client,
        cycles.Guard(usd("0.10"), action=ACTION, client=client) as reservation,
        spans.tracer.start_as_current_span("inner"),
    ):
        reservation.commit(usd("0.03"))
    assert span_ids(sent) == ids(spans.only(), spans.only("inner"))


def test_nested_guards_are_nested_spans(side, guard, spans):
    inner = guard(action=("tool.search", "web"))(side.function(lambda: None))
    if side.kind == "sync":
        outer = guard()(inner)
    else:

        async def body():
            await inner()

        outer = guard()(body)
    side.call(outer)
    by_kind = {span.attributes["cycles.action.kind"]: span for span in spans.named()}
    assert parent(by_kind["tool.search"]) == ids(by_kind["llm.completion"])[0]


def test_tasks_at_once_have_a_span_each(authority, spans, sent):
    async def main():
        async with authority.async_client(tenant="acme") as client:

            @cycles.Guard(usd("0.001"), action=ACTION, client=client)
            async def one():
                before = current_id()
                await asyncio.sleep(0)
                return before, current_id()

            return await asyncio.gather(*(one() for _ in range(50)))

    seen = asyncio.run(main())
    assert all(before == after for before, after in seen)
    assert {before for before, _ in seen} == set(ids(*spans.named())) == set(span_ids(sent))
    assert len(set(span_ids(sent))) == 50


def test_a_sampled_out_span_is_passed_on_as_such(authority, monkeypatch):
    provider = TracerProvider(ALWAYS_OFF, shutdown_on_exit=False)
    monkeypatch.setattr(otel, "get_tracer_provider", lambda: provider)
    flags = []
    handle = authority.app.handle
    monkeypatch.setattr(
        authority.app, "handle", lambda request: (flags.append(request.headers["traceparent"][-2:]), handle(request))[1]
    )
    with authority.client(tenant="acme") as client:
        cycles.Guard(usd("0.10"), action=ACTION, client=client)(lambda: None)()
    assert [int(flag, 16) & otel.TraceFlags.SAMPLED for flag in flags] == [0, 0]


def test_a_forked_child_leaves_the_span_to_its_parent(client, spans):
    with cycles.Guard(usd("0.10"), action=ACTION, client=client) as reservation:
        pid, reservation._running.pid = reservation._running.pid, -1  # as in a child
    assert spans.named() == []
    reservation._running.pid = pid
    reservation.release()


# -- what it says ------------------------------------------------------------------------------------------------------
def exceptions(span):
    return [event.attributes["exception.type"] for event in span.events if event.name == "exception"]


def test_what_was_not_covered_and_whose_it_is_are_shown(side, guard, spans, authority):
    authority.budget("tenant:acme", usd("0.10"))
    side.call(guard(actual=lambda _: usd("0.30"))(side.function(lambda: None)))
    assert spans.only().attributes["cycles.uncovered"] == 20_000_000
    with cycles.subject(tenant=None, agent="a"), pytest.raises(cycles.BudgetNotFound):
        side.call(guard()(side.function(lambda: None)))
    assert "cycles.tenant" not in spans.named()[-1].attributes


def test_an_authority_that_is_not_there(side, guard, spans, authority):
    with authority.faults.refuse_connection(times=None), pytest.raises(cycles.AuthorityUnavailable):
        side.call(guard()(side.function(lambda: None)))
    assert spans.only().attributes["error.type"] == "AuthorityUnavailable"
    assert "cycles.decision" not in spans.only().attributes


def test_what_is_refused_before_sending(side, guard, spans):
    with pytest.raises(cycles.InvalidRequest):
        side.call(guard(action=lambda: ("", "x"))(side.function(lambda: None)))
    assert spans.only().attributes["error.type"] == "InvalidRequest"


@pytest.mark.parametrize("reported", [False, True])
def test_a_section_that_raises(side, guard, spans, reported):
    def body():
        if reported:
            cycles.current().report(actual=usd("0.02"))
        raise ValueError("out of luck")

    with pytest.raises(ValueError, match="out of luck"):
        side.call(guard()(side.function(body)))
    span = spans.only()
    assert exceptions(span) == ["ValueError"]
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "ValueError: out of luck")
    assert span.attributes["cycles.settlement"] == ("COMMITTED" if reported else "RELEASED")
    assert span.attributes.get("cycles.charged") == (2_000_000 if reported else None)


def test_an_end_that_raises(side, guard, spans):
    with pytest.raises(cycles.UnreportedSpend):
        side.call(guard(unreported="error")(side.function(lambda: None)))
    assert exceptions(spans.only()) == ["cycles.errors.UnreportedSpend"]
    assert spans.only().attributes["cycles.settlement"] == "ACTIVE"


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def test_an_exception_without_a_text_leaves_the_rest(side, guard, spans):
    def body():
        raise Unspeakable

    with pytest.raises(Unspeakable):
        side.call(guard()(side.function(body)))
    assert spans.only().attributes["error.type"] == "Unspeakable"
    assert spans.only().attributes["cycles.settlement"] == "RELEASED"


def test_a_dry_run(side, guard, spans):
    side.call(guard(usd("5"), dry_run=True)(side.function(lambda: None)))
    assert spans.only().attributes["cycles.decision"] == "DENY"
    assert spans.only().attributes["cycles.settlement"] == "DRY_RUN"
    assert spans.only().status.status_code is StatusCode.UNSET


def test_values_of_the_call_are_said(side, guard, spans, authority):
    authority.budget(SCOPE, tokens(1000))
    guarded = guard(tokens, action=lambda n: ("tool.search", f"q{n}"), tenant=lambda n: "acme")
    side.call(guarded(side.function(lambda n: None)), 9)
    attributes = spans.only().attributes
    assert (attributes["cycles.action.name"], attributes["cycles.estimate"]) == ("q9", 9)
    assert attributes["cycles.unit"] == "TOKENS"


def test_a_cancelled_section(authority, spans, sent):
    async def main():
        async with authority.async_client(tenant="acme") as client:
            begun = asyncio.Event()

            async def section():
                async with cycles.Guard(usd("0.10"), action=ACTION, client=client):
                    begun.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(section())
            await begun.wait()
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()

    asyncio.run(main())
    span = spans.only()
    assert span.attributes["error.type"] == "CancelledError"
    assert span.attributes["cycles.settlement"] == "RELEASED"
    assert span.status.status_code is StatusCode.ERROR
    assert span_ids(sent) == ids(span) * 2
