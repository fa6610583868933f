"""The agenda: what is due begins, and settlements that nobody waits for delay no renewal. The test holds the clock."""

from __future__ import annotations

import time

import pytest

from cycles._background.agenda import MOST_AT_ONCE, Agenda
from cycles._core.renewal import Heart


class Lease(Heart):
    """A lease that is due when the test says so."""

    __slots__ = ()
    is_needed = True

    def __init__(self):
        """Without a section."""


class Rest:
    """Any other job."""

    due = 0.0
    is_needed = True

    def attempt(self):
        raise AssertionError("the agenda runs nothing")


@pytest.fixture
def now(monkeypatch):
    """Set what the clock says."""

    def says(seconds):
        monkeypatch.setattr(time, "monotonic", lambda: seconds)

    says(100.0)
    return says


def begun(agenda):
    jobs = []
    while (entry := agenda.begin()) is not None:
        jobs.append(entry[0])
    return jobs


def test_what_is_due_begins_in_the_order_of_time(now):
    agenda, early, late, sooner, later = Agenda(), Rest(), Rest(), Rest(), Rest()
    assert agenda.add(99.0, late, None)
    assert agenda.add(98.0, early, None)
    assert agenda.add(107.5, later, None), "it has not looked yet, and nobody may have woken it"
    assert begun(agenda) == [early, late]
    assert agenda.wait() == 7.5
    assert not agenda.add(109.0, Rest(), None), "it wakes before that"
    assert agenda.add(107.0, sooner, None)
    now(108.0)
    assert agenda.wait() == 0.0
    assert begun(agenda) == [sooner, later]
    assert agenda.wait() == 1.0


def test_settlements_that_were_due_before_delay_no_renewal(now):
    """A crowd ends, and no section waits for its commit: all of them were due before the next renewal is."""
    agenda, lease = Agenda(renewals=3), Lease()
    crowd = [Rest() for _ in range(1000)]
    for job in crowd:
        agenda.add(90.0, job, None)
    assert begun(agenda) == crowd[:MOST_AT_ONCE]
    assert agenda.wait() is None, "until one of them has ended"
    agenda.add(100.0, lease, None)
    assert agenda.wait() == 0.0
    assert begun(agenda) == [lease]
    agenda.ended(crowd[0])
    assert begun(agenda) == crowd[MOST_AT_ONCE : MOST_AT_ONCE + 1]


def test_leases_are_renewed_so_many_at_a_time(now):
    agenda, leases = Agenda(renewals=3), [Lease() for _ in range(4)]
    for lease in leases:
        agenda.add(100.0, lease, None)
    assert begun(agenda) == leases[:3]
    assert agenda.wait() is None
    agenda.ended(leases[0])
    assert begun(agenda) == leases[3:]
    assert len(agenda) == 0
