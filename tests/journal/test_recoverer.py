"""The background recovery of a client: no record is left alone because a round was just ending when it came."""

from __future__ import annotations

import pytest

from cycles._core.effects import Jitter, Take
from cycles._core.retry import RetryPolicy
from cycles._journal.journal import Journal
from cycles._journal.recovery import Recoverer


@pytest.fixture
def recoverer(tmp_path):
    return Recoverer(Journal(tmp_path / "journal" / "partition"), RetryPolicy(), repeats=True)


def ended(flow, answer):
    """Return what *flow* returns."""
    with pytest.raises(StopIteration) as stop:
        flow.send(answer)
    return stop.value.value


def test_a_round_that_leaves_nothing_is_the_last(recoverer):
    flow = recoverer.attempt()
    assert isinstance(next(flow), Take)
    assert ended(flow, None) is None
    assert not recoverer.is_needed
    recoverer.ask()
    assert not recoverer.is_needed, "whoever asks then makes another one"


def test_what_comes_while_a_round_ends_has_another(recoverer):
    flow = recoverer.attempt()
    assert isinstance(next(flow), Take)
    recoverer.ask()
    assert recoverer.is_needed
    assert isinstance(flow.send(None), Jitter)
    assert ended(flow, 0.5) > 0
    assert recoverer.is_needed
    flow = recoverer.attempt()
    assert isinstance(next(flow), Take)
    assert ended(flow, None) is None, "once for each time that it is asked"
