"""What the end of a section did not finish is left to the client's background, once."""

from __future__ import annotations

import pytest

from cycles._client.running_section import leave_to_background
from cycles._core import section_flows
from cycles._core.effects import Forget
from cycles.amounts import tokens
from tests.core.limits import admit, begun
from tests.core.world import World


class Keeper:
    """Notes what is left to it."""

    def __init__(self):
        self.left = []

    def settle_later(self, section):
        self.left.append("settle")

    def release_later(self, section):
        self.left.append("release")


@pytest.fixture
def outlived():
    """A section that has a record of its own, for its limit has ended."""
    world = World()
    limit = begun(world)
    section = world.run(admit(limit, 6))
    limit.ends()
    limit.parted()
    world.run(section_flows.report(section, tokens(4), None, None))
    return world, section


def test_a_release_that_was_cut_off_before_its_record_went_is_left(outlived):
    world, section = outlived
    flow, keeper = section_flows.release(section, "not needed"), Keeper()
    effect = next(flow)
    while not isinstance(effect, Forget):
        effect = flow.send(world.perform(effect))
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert leave_to_background(section, keeper)
    assert keeper.left == ["release"]


def test_what_was_dropped_is_charged_and_not_forgotten(outlived):
    _, section = outlived
    keeper = Keeper()
    assert section_flows.dropped(section)
    assert not leave_to_background(section, keeper)
    assert keeper.left == []
