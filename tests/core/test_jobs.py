"""Jobs of the background."""

from __future__ import annotations

from cycles._core import jobs
from cycles._core.retry import RetryPolicy

from .world import LOST


def test_a_hold_that_can_not_be_looked_for_is_looked_for_again(world):
    job = jobs.GiveBack(RetryPolicy(max_attempts=2), key="k-1")
    world.answers = [LOST, LOST]
    assert world.run(job.attempt()) is not None
    assert world.run(job.attempt()) is None
    assert not job.is_needed
