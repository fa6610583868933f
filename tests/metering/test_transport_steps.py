"""Steps that an authority allows: counted here, whether or not the authority counts, too."""

from __future__ import annotations

from contextlib import suppress

import cycles
from cycles._metered.steps import Steps


def taken(steps, *told, purse="acme"):
    """How many of the steps go through, each granted with what the authority said."""
    through = 0
    for number in told:
        with suppress(cycles.Denied):
            steps.take(purse, number)
            through += 1
    return through


def test_a_number_that_stays_is_counted_for():
    assert taken(Steps(), 3, 3, 3, 3, 3) == 3


def test_an_authority_that_counts_down_is_believed():
    assert taken(Steps(), 3, 2, 1, 0, 0) == 3


def test_a_slower_count_gives_no_more():
    steps = Steps()
    assert taken(steps, 3, 3, 2) == 3
    assert taken(steps, 2, 2) == 0


def test_a_faster_count_takes_away():
    assert taken(Steps(), 5, 1, 1, 1) == 2


def test_a_larger_number_begins_anew():
    steps = Steps()
    assert taken(steps, 1, 1) == 1
    assert taken(steps, 4, 4, 4, 4, 4) == 4


def test_purses_are_apart_and_forgotten_when_there_are_many():
    steps = Steps()
    assert taken(steps, 1, 1) == 1
    assert taken(steps, 1, 1, purse="other") == 1
    for number in range(2000):
        steps.take(number, 1)
    assert len(steps._purses) <= 1024
