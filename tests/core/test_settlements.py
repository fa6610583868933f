"""Recovery: which records of a queue it takes up."""

from __future__ import annotations

from cycles._core.records import Claim
from cycles._core.settlements import Recovery, recover
from tests.support.records import pending


class Records:
    """A queue of so many records."""

    def __init__(self, *found):
        self.found = list(found)

    def take(self):
        return (self.found.pop(), Claim()) if self.found else None


def test_a_recovery_that_is_out_of_time_takes_nothing(world):
    queue = Records(pending())
    recovery = Recovery(deadline=-1.0)
    assert world.run(recover(queue, recovery, 5)) is False
    assert recovery.is_paused
    assert len(queue.found) == 1


def test_a_record_that_was_set_aside_is_not_tried_again_in_this_run(world):
    recovery = Recovery(aside={"key-1"})
    assert world.run(recover(Records(pending()), recovery, 5)) is True
    assert world.calls == []
