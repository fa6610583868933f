"""The simulator itself: the core and the ledger hold in it, seeds reproduce, and everything that can go wrong does."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pytest

from cycles._core import section
from cycles._core.effects import Call, NewKey, Sleep
from cycles._core.operations import EXTEND_RESERVATION
from cycles._core.outcomes import Verdict, judge
from cycles._core.retry import RetryPolicy
from cycles.testing import simulate
from cycles.testing.faults import Fault
from cycles.testing.simulation import Simulation
from cycles_api.models import ReservationExtendRequest


def complaint(summary):
    """What a failing seed says, with the end of its trace."""
    if summary.found is None:
        return ""
    return f"seed {summary.found.seed}: {summary.found.broken}\n{summary.found.simulation.trace.text(last=30)}"


def trace_of(seed):
    simulation = Simulation(seed)
    simulation.run()
    return simulation.trace.text()


# -- what it is for ----------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_every_invariant_holds_and_every_fault_is_met():
    summary = simulate.search(range(4000), seconds=30)
    assert not complaint(summary)
    assert summary.missed == []
    assert summary.effects > 20 * summary.schedules


@pytest.mark.slow
def test_every_invariant_holds_from_a_random_seed():
    first = int.from_bytes(os.urandom(4))
    assert not complaint(simulate.search(range(first, first + 1000), seconds=10))


# -- seeds -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(0, 200, 10))
def test_a_seed_reproduces_its_trace(seed):
    assert trace_of(seed) == trace_of(seed)


@pytest.mark.slow
def test_a_seed_reproduces_its_trace_in_another_process():
    """Hashes of texts differ from process to process: nothing may depend on the order of a set."""
    command = [sys.executable, "-m", "cycles.testing.simulate", "--seed", "12"]
    runs = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert runs == {trace_of(12) + "\nseed 12: every invariant held\n"}


def test_seeds_differ():
    assert len({trace_of(seed) for seed in range(20)}) == 20


def test_a_trace_names_time_section_effect_fault_and_outcome():
    lines = [line for seed in range(50) for line in trace_of(seed).splitlines()]
    lost = [line for line in lines if "[lost response]" in line]
    assert any("commit_reservation key-" in line and "lost: ReadTimeout" in line for line in lost)


# -- what runs beside a section ----------------------------------------------------------------------------------------
def heartbeats(case, section, *, careful=True):
    """A heartbeat as simple as can be; a careful one looks at the section before each request."""

    def beat():
        while True:
            yield from Sleep(0.5)
            key = yield from NewKey()
            if careful and not section.is_open:
                return
            body = ReservationExtendRequest(idempotency_key=key, extend_by_ms=1000)
            answer = yield from Call(EXTEND_RESERVATION, reservation_id=section.reservation_id, body=body)
            if judge(EXTEND_RESERVATION, answer) is not Verdict.DONE:
                return

    return [] if section.reservation_id is None else [beat()]


@pytest.mark.slow
def test_a_heartbeat_shares_its_section_and_ends_with_it():
    summary = simulate.search(range(500), make=lambda seed: Simulation(seed, companions=heartbeats))
    assert not complaint(summary)
    simulation = Simulation(3, companions=heartbeats)
    simulation.run()
    assert "s0~0" in simulation.trace.text()


def test_a_heartbeat_after_a_commit_is_found():
    careless = partial(heartbeats, careful=False)
    summary = simulate.search(range(500), make=lambda seed: Simulation(seed, companions=careless))
    assert summary.found is not None
    assert summary.found.broken.invariant in (
        "no release and no extend after a possible commit",
        "no extend after a release",
    )


# -- the command -------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_the_command_counts_what_it_ran(capsys):
    assert simulate.main(["--schedules", "1500", "--first", "0"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("1500 schedules from seed 0, ")
    assert all(f"  {fault}\n" in shown for fault in Fault)


def test_the_command_fails_when_a_fault_is_never_met(capsys):
    assert simulate.main(["--schedules", "1", "--first", "0"]) == 1
    assert "never met: " in capsys.readouterr().out


def test_the_command_shows_the_seed_the_invariant_and_the_end_of_the_trace(capsys, monkeypatch):
    monkeypatch.setattr(RetryPolicy, "delay", lambda self, attempt, jitter, retry_after=None: 0.0)
    assert simulate.main(["--schedules", "2000", "--first", "0"]) == 1
    shown = capsys.readouterr().out
    assert "breaks an invariant" in shown
    assert len(shown.splitlines()) <= 30 + 4
    seed = shown.rsplit("--seed ", 1)[1].strip()
    assert simulate.main(["--seed", seed]) == 1
    replayed = capsys.readouterr().out
    assert f"seed {seed} breaks an invariant" in replayed
    assert shown.splitlines()[-5] in replayed


def test_a_program_that_fails_is_found(monkeypatch):
    def step(state, happened):
        raise ValueError("not in the table")

    monkeypatch.setattr(section, "step", step)
    summary = simulate.search(range(20))
    assert summary.found is not None
    assert summary.found.broken.invariant == "no program fails"


@pytest.mark.slow
def test_the_real_heartbeat_renews_stops_and_loses_leases():
    text = "\n".join(trace_of(seed) for seed in range(300))
    for event in ("renewed", "renewal failed, retrying", "heartbeat stopped", "lease lost"):
        assert event in text, event


@pytest.mark.slow
def test_too_few_schedules_in_the_time_given_fail(capsys):
    assert simulate.main(["--schedules", "1500", "--first", "0", "--at-least", "1501"]) == 1
    assert "1501 were asked for" in capsys.readouterr().out
