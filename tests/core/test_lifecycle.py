"""The table of a reservation's life."""

from __future__ import annotations

import itertools

import pytest

from cycles._core.lifecycle import OPEN, Happened, State, step

ENDED = {State.COMMITTED, State.RELEASED, State.EXPIRED, State.DRY_RUN}


def test_every_pair_either_steps_or_is_refused():
    for state, happened in itertools.product(State, Happened):
        try:
            assert isinstance(step(state, happened), State)
        except ValueError as error:
            assert state in str(error)  # noqa: PT017 - both outcomes are allowed; an error must be readable


def test_what_ended_stays_ended():
    for state, happened in itertools.product(ENDED, Happened):
        try:
            after = step(state, happened)
        except ValueError:
            continue
        assert after is state


def test_known_spend_is_never_released():
    """Once a commit was wanted, no path leads to RELEASED (what is ambiguous is never released)."""
    reached, frontier = set(), {State.UNSETTLED}
    while frontier:
        state = frontier.pop()
        reached.add(state)
        for happened in Happened:
            try:
                after = step(state, happened)
            except ValueError:
                continue
            if after not in reached:
                frontier.add(after)
    assert reached == {State.UNSETTLED, State.COMMITTED}


@pytest.mark.parametrize("state", sorted(OPEN))
def test_open_means_that_commit_and_release_are_possible(state):
    assert step(state, Happened.COMMIT_WANTED) is State.UNSETTLED
    assert step(state, Happened.RELEASE_ENDED) is State.RELEASED


@pytest.mark.parametrize("state", sorted(set(State) - OPEN))
def test_what_is_not_open_can_not_be_settled_again(state):
    with pytest.raises(ValueError, match="can't happen"):
        step(state, Happened.COMMIT_WANTED)
    with pytest.raises(ValueError, match="can't happen"):
        step(state, Happened.RELEASE_ENDED)
