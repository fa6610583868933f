"""Which span is current between the steps of a generator, and in another context than the section was opened in."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging

import pytest
from opentelemetry import context as contexts
from opentelemetry import trace as otel
from opentelemetry.trace import StatusCode

import cycles
from cycles import usd
from tests.support.authorities import ACTION

from .readings import current_id, ids, parent, span_ids

pytestmark = pytest.mark.usefixtures("quiet")


# -- generators --------------------------------------------------------------------------------------------------------
def stream(client, seen):
    """Return a guarded generator that notes in *seen* which span is current in each of its steps."""

    @cycles.Guard(usd("0.10"), action=ACTION, client=client)
    def words():
        for word in ("a", "b", "c"):
            seen.append(current_id())
            cycles.current().report(actual=usd("0.01"))
            yield word

    return words()


def test_between_steps_the_caller_has_its_own_span(client, spans, sent):
    seen = []
    with spans.tracer.start_as_current_span("outer") as outer:
        for _ in stream(client, seen):
            assert otel.get_current_span() is outer
        assert otel.get_current_span() is outer
    assert seen == ids(spans.only()) * 3
    assert span_ids(sent) == ids(spans.only()) * 2
    assert parent(spans.only()) == ids(outer)[0]


def test_a_span_that_the_generator_has_open_stays_its_own(client, spans, sent):
    @cycles.Guard(usd("0.10"), action=ACTION, client=client)
    def in_a_span():
        with spans.tracer.start_as_current_span("inner"):
            yield current_id()
            yield current_id()
        yield current_id()

    with spans.tracer.start_as_current_span("outer") as outer:
        found = []
        for current in in_a_span():
            assert otel.get_current_span() is outer
            found.append(current)
    inner, section = ids(spans.only("inner"), spans.only())
    assert found == [inner, inner, section]
    assert span_ids(sent) == [section] * 2


def leave_by_close(generator):
    next(generator)
    generator.close()


def leave_by_break(generator):
    for _ in generator:
        break
    del generator
    gc.collect()


@pytest.mark.parametrize("leave", [leave_by_close, leave_by_break])
def test_a_stream_left_early_is_no_error(client, spans, leave, sent):
    seen = []
    leave(stream(client, seen))
    span = spans.only()
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()
    assert span.attributes["cycles.charged"] == 1_000_000
    assert span_ids(sent) == ids(span) * 2
    assert otel.get_current_span() is otel.INVALID_SPAN


def test_a_generator_may_go_on_in_another_thread(client, spans):
    seen = []
    generator = stream(client, seen)
    contextvars.Context().run(next, generator)
    contextvars.Context().run(list, generator)
    assert seen == ids(spans.only()) * 3


@pytest.mark.parametrize("early", [False, True])
def test_async_generators(authority, spans, sent, early):
    async def main():
        async with authority.async_client(tenant="acme") as client:

            @cycles.Guard(usd("0.10"), action=ACTION, client=client)
            async def words():
                for _ in range(3):
                    cycles.current().report(actual=usd("0.01"))
                    yield current_id()

            generator, seen = words(), []
            with spans.tracer.start_as_current_span("outer") as outer:
                async for inside in generator:
                    assert otel.get_current_span() is outer
                    seen.append(inside)
                    if early:
                        break
            await asyncio.create_task(generator.aclose())  # in another context
            return seen

    seen = asyncio.run(main())
    assert seen == ids(spans.only()) * (1 if early else 3)
    assert span_ids(sent) == ids(spans.only()) * 2
    assert spans.only().status.status_code is StatusCode.UNSET
    assert spans.only().attributes["cycles.charged"] == 1_000_000


# -- other contexts ----------------------------------------------------------------------------------------------------
def test_a_block_may_be_left_in_another_context(client, spans):
    """As asynchronous fixtures do."""
    guard = cycles.Guard(usd("0.10"), action=ACTION, client=client)
    other = contextvars.Context()
    contextvars.Context().run(guard.__enter__)
    other.run(guard.__exit__, None, None, None)
    assert spans.only().attributes["cycles.settlement"] == "COMMITTED"
    assert other.run(otel.get_current_span) is otel.INVALID_SPAN


def test_a_runtime_context_without_tokens_is_detached_by_its_own_rules(client, spans, monkeypatch):
    """OpenTelemetry lets a program keep contexts elsewhere than in contextvars."""
    detached = []
    opaque = object()
    monkeypatch.setattr(contexts, "attach", lambda context: opaque)
    monkeypatch.setattr(contexts, "detach", detached.append)
    cycles.Guard(usd("0.10"), action=ACTION, client=client)(lambda: None)()
    assert detached == [opaque] * 3


def test_the_logger_of_opentelemetry_is_the_one_that_is_watched(caplog):
    """The fixture `quiet` sees what detach() logs."""
    token = contextvars.Context().run(contexts.attach, contexts.get_current())
    contexts.detach(token)
    assert "Failed to detach context" in caplog.text
    caplog.clear()
    assert logging.getLogger("opentelemetry.context").isEnabledFor(logging.ERROR)
