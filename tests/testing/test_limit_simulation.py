"""Schedules with limits: nothing is found in the core as it is, and each bug that is planted in it is found."""

from __future__ import annotations

import pytest

from cycles._core import limit_flows, limits, section_flows, shares
from cycles._core.lifecycle import State
from cycles._core.limits import Account
from cycles._core.results import Settlement
from cycles.testing.limit_simulation import LimitSimulation
from cycles.testing.simulate import main, search

SEEDS = range(1500)
"""These bugs need fewer than 200 of them."""

_ADMISSION = "admission never exceeds the limit"
_CHARGED = "the authority is charged what inner sections settled"


def found(*invariants: str) -> None:
    summary = search(SEEDS, make=LimitSimulation)
    assert summary.found is not None, "no seed finds it"
    print(f"found at seed {summary.found.seed}: {summary.found.broken}")
    assert summary.found.broken.invariant in invariants


@pytest.mark.slow
def test_nothing_is_found_in_the_core():
    summary = search(range(200), make=LimitSimulation)
    assert summary.found is None
    assert summary.schedules == 200
    assert summary.faults


def test_a_schedule_is_replayed_from_its_seed(capsys):
    assert main(["--limits", "--seed", "3"]) == 0
    first = capsys.readouterr().out
    assert main(["--limits", "--seed", "3"]) == 0
    assert capsys.readouterr().out == first
    assert main(["--limits", "--schedules", "5", "--first", "0"]) == 0


def test_admission_that_forgets_what_open_sections_hold(monkeypatch):
    def admit(self, estimate, admit=Account.admit):
        spent, held, sections = self.numbers
        self.numbers = spent, 0, sections
        share = admit(self, estimate)
        self.numbers = self.numbers[0], self.numbers[1] + held, self.numbers[2]
        return share

    monkeypatch.setattr(Account, "admit", admit)
    found(_ADMISSION)


def test_admission_that_looks_first_and_takes_later(monkeypatch):
    """Two sections see the same room, for something else runs between the look and the taking."""

    def admit(account, terms, policy, reserve, alone, *, wait=0.0, admit=limit_flows.admit):
        if account.would_admit(terms.estimate.amount) and account.holds:
            yield from limit_flows.Sleep(0.0)
            rest = account.amount
            account.amount = account.granted = 10**9
            try:
                return (yield from admit(account, terms, policy, reserve, alone, wait=wait))
            finally:
                account.amount = rest
        return (yield from admit(account, terms, policy, reserve, alone, wait=wait))

    monkeypatch.setattr(limit_flows, "admit", admit)
    found(_ADMISSION, "pieces never exceed the limit")


def test_overspend_that_is_cut_to_the_estimate(monkeypatch):
    def settle(self, share, action, amount, settle=Account.settle):
        return settle(self, share, action, amount if amount is None else min(amount, share.estimate))

    monkeypatch.setattr(Account, "settle", settle)
    found(_CHARGED, _ADMISSION)


def test_spend_that_is_not_on_record_as_it_grows(monkeypatch):
    def grow(account):
        return
        yield from ()

    monkeypatch.setattr(shares, "grow", grow)
    found(_CHARGED)


def test_a_section_that_outlives_its_limit_and_is_charged_nowhere(monkeypatch):
    def ends(self, ends=Account.ends):
        left = ends(self)
        for share in left or ():
            share.is_open = True
        return left

    monkeypatch.setattr(Account, "ends", ends)
    found(_CHARGED)


def test_a_spend_that_crosses_two_pieces_and_is_charged_to_both(monkeypatch):
    def assign(holds, spent, assign=limits.assign):
        assign(holds, spent)
        if len(holds) > 1:
            holds[1].assigned = max(holds[1].assigned, min(spent, 1))

    monkeypatch.setattr(limits, "assign", assign)
    found(_CHARGED)


def test_an_end_that_gives_the_rest_of_the_pieces_not_back(monkeypatch):
    def give_back(section, reason, *, ends=None, give_back=limit_flows.section_flows.give_back):
        if reason == "nothing spent":
            section.settlement = Settlement(State.RELEASED, via="release", attempts=1)
            return section.settlement
        return (yield from give_back(section, reason, ends=ends))

    monkeypatch.setattr(limit_flows.section_flows, "give_back", give_back)
    found("nothing is held after the end")


def test_an_end_that_decides_of_each_piece_when_its_turn_comes(monkeypatch):
    """Whatever cuts it off leaves the others open: charged to nobody, and renewed for ever."""

    def end(account, key):
        left = account.ends()
        reporting = [share for share in left if share.section is not None and share.reported]
        if reporting:
            yield from limit_flows._part(account, reporting)
        settlements = []
        for number, hold in enumerate(account.holds):
            if hold.assigned:
                hold.section.report(limit_flows.Amount(unit=account.unit, amount=hold.assigned), None, None)
                yield from limit_flows.Now()
                limit_flows.section_flows.decide_commit(hold.section, f"{key}-{number}")
                settlements.append((yield from limit_flows.section_flows.charge(hold.section)))
            else:
                settlements.append((yield from limit_flows.section_flows.release(hold.section, "nothing spent")))
        return settlements

    monkeypatch.setattr(limit_flows, "end", end)
    found("an end leaves no reservation open")


def test_a_release_that_gives_nothing_back_to_the_limit(monkeypatch):
    def settle(self, share, action, amount, settle=Account.settle):
        return True if amount is None else settle(self, share, action, amount)

    monkeypatch.setattr(Account, "settle", settle)
    found("a limit holds what its open sections do", "no program fails")


@pytest.mark.slow
def test_a_record_that_an_interrupt_keeps_from_being_written(monkeypatch):
    def unrecorded(self, unrecorded=Account.unrecorded):
        due = unrecorded(self)
        for hold, known in due:
            hold.recorded = known
        return due

    monkeypatch.setattr(Account, "unrecorded", unrecorded)
    found(_CHARGED)


def test_a_commit_that_does_not_see_what_was_recorded_meanwhile(monkeypatch):
    """The end of the limit records a section's report while that is being given a key for its commit."""

    def decide_commit(section, key, decide_commit=section_flows.decide_commit):
        section.provisional = None
        return decide_commit(section, key)

    monkeypatch.setattr(section_flows, "decide_commit", decide_commit)
    found(_CHARGED)


@pytest.mark.slow
def test_reports_that_an_interrupt_keeps_from_moving_when_the_limit_ends(monkeypatch):
    """They have left the limit's record, and a kill finds them in none."""

    def part(account, left, decided):
        try:
            yield from limit_flows._parted(account, left, decided, limit_flows.Claim())
        finally:
            account.parted()

    monkeypatch.setattr(limit_flows, "_part", part)
    found(_CHARGED)


def test_without_a_bug_nothing_is_found(monkeypatch):
    monkeypatch.setitem(globals(), "SEEDS", range(20))
    with pytest.raises(AssertionError, match="no seed finds it"):
        found()
