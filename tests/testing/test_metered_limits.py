"""Schedules of metered requests inside limits: nothing is found, but each bug that is planted where the two meet."""

from __future__ import annotations

import pytest

from cycles._core import section_flows
from cycles._core.limits import Account
from cycles._metered.calls import Call
from cycles.testing.metered_limits import MeteredLimits
from cycles.testing.simulate import main, search

SEEDS = range(1500)
"""These bugs need fewer than 100 of them."""

_CHARGED = "the authority is charged what inner sections settled"
_ADMISSION = "admission never exceeds the limit"


def found(*invariants):
    summary = search(SEEDS, make=MeteredLimits)
    assert summary.found is not None, "no seed finds it"
    print(f"found at seed {summary.found.seed}: {summary.found.broken}")
    assert summary.found.broken.invariant in invariants


def inside(call):
    """Whether a call draws on a limit."""
    return call._opened.running.section.share is not None


@pytest.mark.slow
def test_nothing_is_found_in_the_client():
    summary = search(range(400), make=MeteredLimits)
    assert summary.found is None, f"{summary.found.seed}: {summary.found.broken}"
    assert summary.schedules == 400


def test_a_schedule_is_replayed_from_its_seed(capsys):
    assert main(["--metered-limits", "--seed", "3"]) == 0
    first = capsys.readouterr().out
    assert main(["--metered-limits", "--seed", "3"]) == 0
    assert capsys.readouterr().out == first
    assert main(["--metered-limits", "--schedules", "5", "--first", "0"]) == 0


def test_a_stream_that_is_not_reported_to_its_limit(monkeypatch):
    def report(self, metadata=None, report=Call._report):
        if not inside(self):
            report(self, metadata)

    monkeypatch.setattr(Call, "_report", report)
    found("a stream is reported as soon as it begins")


@pytest.mark.slow
def test_a_told_usage_that_is_cut_to_what_its_limit_held(monkeypatch):
    def charged(self, usage, source=None, charged=Call._charged):
        amount = self.meter.cost(self.billable, usage)
        if not inside(self) or amount.amount <= self.estimate.amount:
            return charged(self, usage, source)
        return lambda section: section_flows.commit(section, self.estimate)

    monkeypatch.setattr(Call, "_charged", charged)
    found(_CHARGED, _ADMISSION)


def test_a_stream_that_is_left_early_and_given_back_to_its_limit(monkeypatch):
    def streamed(self, *, whole, streamed=Call.streamed):
        if whole or self.is_told or not inside(self):
            return streamed(self, whole=whole)
        return lambda section: section_flows.release(section, "left")

    monkeypatch.setattr(Call, "streamed", streamed)
    found(_CHARGED)


@pytest.mark.slow
def test_a_limit_that_gives_back_what_a_dropped_stream_has_reported(monkeypatch):
    def drop(self, share, action):
        self.settle(share, action, None)

    monkeypatch.setattr(Account, "drop", drop)
    found(_CHARGED)
