"""Jobs of the background."""

from __future__ import annotations

from cycles._core import jobs
from cycles._core.effects import Sleep
from cycles._core.retry import RetryPolicy
from cycles.amounts import tokens
from tests.support.records import pending

from .world import LOST, committed


def test_a_hold_that_can_not_be_looked_for_is_looked_for_again(world):
    job = jobs.GiveBack(RetryPolicy(max_attempts=2), key="k-1")
    world.answers = [LOST, LOST]
    assert world.run(job.attempt()) is not None
    assert world.run(job.attempt()) is None
    assert not job.is_needed


POLICY = RetryPolicy(max_attempts=2, initial_delay=1.0)


def test_the_last_attempt_follows_the_policy(world):
    charge = jobs.Charge(pending(actual=tokens(7)), POLICY, due=0.0)
    world.answers = [LOST, committed()]
    world.run(charge.last_attempt(POLICY, 10.0, 5.0))
    assert (len(world.calls), len(set(world.keys_sent))) == (2, 1)


def test_the_last_attempt_leaves_an_attempt_under_way_its_turn(world):
    charge = jobs.Charge(pending(actual=tokens(7)), POLICY, due=0.0)
    world.answers = [committed()]
    under_way = charge.attempt()
    next(under_way)
    sleeps, sleep = [], world.perform

    def perform(effect):
        """The other one goes on while this one sleeps."""
        if isinstance(effect, Sleep):
            sleeps.append(effect.seconds)
            charge.is_needed = False
            under_way.close()
        return sleep(effect)

    world.perform = perform
    world.run(charge.last_attempt(POLICY, 10.0, 5.0))
    assert (len(sleeps), world.calls) == (1, [])


def test_the_last_attempt_does_not_wait_for_a_turn_that_never_ends(world):
    charge = jobs.Charge(pending(actual=tokens(7)), POLICY, due=0.0)
    stands_still = charge.attempt()
    next(stands_still)
    world.answers = [committed()]
    world.run(charge.last_attempt(POLICY, 10.0, 5.0))
    assert len(world.calls) == 1
    assert 5.0 <= sum(world.sleeps) < 5.0 + 2 * jobs._POLL
