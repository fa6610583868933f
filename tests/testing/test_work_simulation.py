"""Schedules of work that outlasts its call, and of metered requests: nothing is found but bugs that are planted."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from cycles._client import running_section
from cycles._core import section_flows
from cycles._guard import async_generators, generators, iterators, shapes
from cycles._guard.handover import Rest
from cycles._metered.async_sources import AsyncSource
from cycles._metered.calls import Call
from cycles._metered.meter import with_input
from cycles._metered.sources import Source
from cycles.testing.faults import FaultPlan
from cycles.testing.metered_work import MeteredWork
from cycles.testing.returned_work import ReturnedWork
from cycles.testing.simulate import main, search

SEEDS = range(1500)
"""These bugs need fewer than 400 of them."""

_LASTS = "a section lasts as long as its work"
_INSIDE = "work runs inside the section of its call"
_BETWEEN = "between two steps the caller's code is in no section"
_ENDS = "a section ends when its work does, and as its caller ended it"
_ASKED = "the guard says how each section ends, whatever became of its work"
_HELD = "nothing is held when all work is over"
_TOLD = "a usage that was told is what is charged"
_MADE = "what was made is charged"


def found(make, *invariants):
    summary = search(SEEDS, make=make)
    assert summary.found is not None, "no seed finds it"
    print(f"found at seed {summary.found.seed}: {summary.found.broken}")
    assert summary.found.broken.invariant in invariants


@pytest.mark.slow
@pytest.mark.parametrize("make", [ReturnedWork, MeteredWork])
def test_nothing_is_found_in_the_client(make):
    summary = search(range(600), make=make)
    assert summary.found is None, f"{summary.found.seed}: {summary.found.broken}"
    assert summary.schedules == 600


@pytest.mark.parametrize("kind", ["--returned", "--metered"])
def test_a_schedule_is_replayed_from_its_seed(capsys, kind):
    assert main([kind, "--seed", "3"]) == 0
    first = capsys.readouterr().out
    assert main([kind, "--seed", "3"]) == 0
    assert capsys.readouterr().out == first
    assert main([kind, "--schedules", "5", "--first", "0"]) == 0


# -- work that is handed over ------------------------------------------------------------------------------------------
def test_a_stream_whose_section_ends_when_the_call_returns(monkeypatch):
    monkeypatch.setattr(shapes, "is_iterator", lambda returned: False)
    found(ReturnedWork, _INSIDE, _LASTS, _ENDS)


def test_an_async_stream_that_is_taken_for_a_result(monkeypatch):
    monkeypatch.setattr(shapes, "is_async_iterator", lambda returned: False)
    found(ReturnedWork, _INSIDE, _LASTS, _ENDS)


def test_an_awaitable_that_is_not_awaited(monkeypatch):
    monkeypatch.setattr(shapes, "is_awaitable", lambda returned: False)
    found(ReturnedWork, _INSIDE, _LASTS, _ENDS, "no program fails")


def test_work_that_is_not_refused(monkeypatch):
    monkeypatch.setattr(shapes, "refusal", lambda returned, function, *, is_async: None)
    found(ReturnedWork, "work that nobody could wait for is refused", _ENDS)


def test_a_generator_that_is_handed_over_before_its_end_is_ensured(monkeypatch):
    """Dropped before its first step, it would end nothing."""
    monkeypatch.setattr(generators, "rest_of", generators._rest_of)
    found(
        ReturnedWork,
        "the guard says how each section ends, whatever became of its work",
        "the caller gets the items as they are",
    )


def test_an_iterator_that_closes_and_does_not_end_its_section(monkeypatch):
    def close(self):
        self._self_iterator.close()
        self._self_steps = iter(())

    monkeypatch.setattr(iterators.GuardedIterator, "close", close)
    monkeypatch.setattr(Rest, "__exit__", lambda *_: None)
    found(ReturnedWork, _HELD, _ASKED, "what is read to its end is settled")


def test_an_async_generator_whose_steps_are_nobodys(monkeypatch):
    monkeypatch.setattr(async_generators, "stepped", lambda opened: nullcontext())
    found(ReturnedWork, _INSIDE)


def test_a_step_that_leaves_its_section_current(monkeypatch):
    monkeypatch.setattr("cycles._client.opened_section.leave", lambda before: None)
    found(ReturnedWork, _BETWEEN, _INSIDE)


@pytest.mark.slow
def test_a_dropped_section_that_is_given_to_nobody(monkeypatch):
    monkeypatch.setattr(section_flows, "dropped", lambda section: False)
    found(ReturnedWork, _HELD)


def test_an_end_that_leaves_nothing_to_the_background(monkeypatch):
    monkeypatch.setattr(running_section, "leave_to_background", lambda section, keeper: True)
    found(ReturnedWork, _HELD)


# -- metered requests --------------------------------------------------------------------------------------------------
def test_a_stream_that_is_not_on_record_when_it_begins(monkeypatch):
    monkeypatch.setattr(Call, "_report", lambda self, metadata=None: None)
    found(MeteredWork, "what a stream has cost is on record as soon as its caller sees it", _HELD)


def test_a_stream_left_early_that_is_released(monkeypatch):
    def streamed(self, *, whole, streamed=Call.streamed):
        if whole or self.is_told:
            return streamed(self, whole=whole)
        return lambda section: section_flows.release(section, "left")

    monkeypatch.setattr(Call, "streamed", streamed)
    found(MeteredWork, _HELD, "what a stream has cost is settled")


def test_a_stream_whose_input_is_forgotten(monkeypatch):
    def so_far(self, so_far=Call._so_far):
        usage = so_far(self)
        return usage if self.is_told else with_input(usage, 0)

    monkeypatch.setattr(Call, "_so_far", so_far)
    found(MeteredWork, _MADE, "what is on record of a stream has its input")


def test_a_stream_that_is_charged_its_bound_when_its_usage_was_told(monkeypatch):
    """As a stream was that was dropped after it had told, where what is cut short is charged the estimate."""
    monkeypatch.setattr(Call, "is_told", False)
    found(MeteredWork, _TOLD)


def test_what_has_come_that_is_charged_above_a_sharper_estimate(monkeypatch):
    monkeypatch.setattr(Call, "_so_far", lambda self: self._reading.received)
    found(MeteredWork, "no more than the estimate is charged untold")


@pytest.mark.slow
def test_a_reckoning_that_is_interrupted_and_ends_nothing(monkeypatch):
    """Nor has it told its section before what it came to: that would be charged, by the background."""

    async def end(self, error, *, whole):
        await self._response.aclose()
        if error is None:
            self._rest.opened.result = self._call.streamed(whole=whole)
            await self._rest.__aexit__(None, None, None)
        else:
            await self._rest.__aexit__(type(error), error, error.__traceback__)

    def interrupts(plan, drawn=FaultPlan.interrupts):
        return next(filter(None, (drawn(plan) for _ in range(100))), [])

    monkeypatch.setattr(AsyncSource, "end", end)
    monkeypatch.setattr(Call, "_section", SimpleNamespace(is_open=False))
    monkeypatch.setattr(FaultPlan, "interrupts", interrupts)  # each program has one: the reckoning is a single effect
    found(MeteredWork, _TOLD, _MADE, _HELD)


@pytest.mark.slow
def test_a_rest_that_is_read_on_and_counted_for_nothing(monkeypatch):
    def drain(self):
        for _ in self.pieces:
            pass
        self.end(None, whole=False)

    monkeypatch.setattr(Source, "_drain", drain)
    found(MeteredWork, _TOLD, _MADE)


@pytest.mark.slow
def test_a_rest_that_is_read_on_and_never_settled(monkeypatch):
    monkeypatch.setattr(Source, "_drain", lambda self: [self._call.feed(data) for data in self.pieces])
    found(MeteredWork, _TOLD, _MADE, _HELD)


@pytest.mark.slow
def test_a_rest_that_a_task_reads_on_and_counts_for_nothing(monkeypatch):
    async def drain(self):
        async for _ in self._lasting(self._turn):
            pass
        await self.end(None, whole=False)

    monkeypatch.setattr(AsyncSource, "_drain", drain)
    found(MeteredWork, _TOLD, _MADE)


@pytest.mark.slow
def test_a_rest_that_a_task_reads_on_and_never_settles(monkeypatch):
    async def drain(self):
        async for data in self._lasting(self._turn):
            self._call.feed(data)

    monkeypatch.setattr(AsyncSource, "_drain", drain)
    found(MeteredWork, _TOLD, _MADE, _HELD)


@pytest.mark.slow
def test_a_rest_that_two_tasks_read_on(monkeypatch):
    """Another task closes the stream, and its reader reads on beside the one that drains it."""
    monkeypatch.setattr(AsyncSource, "_must_be", lambda self, turn: None)
    found(MeteredWork, _TOLD, _MADE, "no program fails")


def test_a_failed_answer_that_is_charged(monkeypatch):
    monkeypatch.setattr(Call, "_failed", lambda self, status: self._estimated())
    found(MeteredWork, "an answer that failed is not charged")


@pytest.mark.slow
def test_an_interrupted_commit_that_is_charged_what_was_reported_before(monkeypatch):
    def dropped(section):
        return section.leave(section_flows.Happened.RELEASE_ENDED) and section_flows.has_something(section)

    monkeypatch.setattr(section_flows, "dropped", dropped)
    found(MeteredWork, _TOLD, _MADE)
