"""What moves from a limit's record to records of its sections' own while others are at work: each spend is on one."""

from __future__ import annotations

import pytest

from cycles._core import limit_flows, section_flows
from cycles._core.effects import Call, NewKey, Now, Record, Sleep
from cycles.amounts import tokens

from .limits import admit, begun
from .world import applied, granted


@pytest.fixture
def limit(world):
    return begun(world)


@pytest.fixture
def section(world, limit):
    """A section inside that has reported 4."""
    made = world.run(admit(limit, 6))
    world.run(section_flows.report(made, tokens(4), None, None))
    return made


def on_record(world):
    """Return what the last record of each reservation, or key, has."""
    return {pending.reservation_id or pending.key: pending.actual.amount for pending in world.records}


def steps(world, flow, effect=None):
    """Perform *effect*, the last one of *flow*, and return the next; None at the end."""
    try:
        return next(flow) if effect is None else flow.send(world.perform(effect))
    except StopIteration:
        return None


def until(world, flow, kind, effect=None):
    """Go on with *flow* up to its next effect of this *kind*."""
    effect = steps(world, flow, effect)
    while effect is not None and not isinstance(effect, kind):
        effect = steps(world, flow, effect)
    return effect


def test_a_spend_that_somebody_was_about_to_record_is_on_record_when_the_end_is_interrupted(world, limit):
    made = world.run(admit(limit, 6))
    commit = section_flows.commit(made, tokens(5))
    until(world, commit, Record)  # the limit's record, which is not written yet
    end = limit_flows.end(limit, "key")
    until(world, end, Now)
    assert on_record(world) == {"res-1": 5}


def test_what_is_reported_meanwhile_enters_no_second_record(world, limit, section):
    end = limit_flows.end(limit, "key")
    first = until(world, end, Record)
    world.run(section_flows.report(section, tokens(6), None, None))
    assert on_record(world) == {"res-1": 4}, "the limit's, which has it still"
    until(world, end, Now, first)
    assert on_record(world) == {"res-1": 0, section.provisional.key: 6}


def test_what_is_reported_while_its_own_record_is_written_is_written_once_more(world, limit, section):
    end = limit_flows.end(limit, "key")
    own = until(world, end, Record, until(world, end, Record))
    world.run(section_flows.report(section, tokens(6), None, None))
    until(world, end, Now, own)
    assert on_record(world) == {"res-1": 0, section.provisional.key: 6}


def test_a_commit_meanwhile_waits_until_the_limit_has_let_go_and_is_on_record_then(world, limit, section):
    end = limit_flows.end(limit, "key")
    first = until(world, end, Record)
    commit = section_flows.commit(section, tokens(5))
    pause = until(world, commit, Sleep | Call)
    assert isinstance(pause, Sleep)
    assert on_record(world) == {"res-1": 4}
    until(world, end, Now, first)
    assert on_record(world) == {"res-1": 0, section.owed.key: 5}
    world.answers = [applied()]
    assert isinstance(until(world, commit, Call, pause), Call)


def test_a_commit_waits_for_a_limit_that_never_lets_go_for_a_second(world, limit, section):
    end = limit_flows.end(limit, "key")
    until(world, end, Record)
    began = world.now
    commit = section_flows.commit(section, tokens(5))
    until(world, commit, Call)
    assert world.now - began == pytest.approx(1.0)
    assert on_record(world)[section.owed.key] == 5


def test_a_commit_as_its_report_gets_a_record_of_its_own_is_what_that_has(world, limit, section):
    end = limit_flows.end(limit, "key")
    key = until(world, end, NewKey)
    commit = section_flows.commit(section, tokens(5))
    until(world, commit, Sleep)
    until(world, end, Now, key)
    assert on_record(world) == {"res-1": 0, section.owed.key: 5}


def test_a_piece_that_nobody_has_spent_of_gets_no_record(world):
    made = begun(world, piece=4)
    world.answers = [granted(reservation_id="res-2")]
    section = world.run(admit(made, 6))
    world.run(section_flows.report(section, tokens(3), None, None))
    until(world, limit_flows.end(made, "key"), Now)
    assert on_record(world) == {"res-1": 0, section.provisional.key: 3}


@pytest.mark.parametrize("said", [None, 6])
def test_what_is_dropped_meanwhile_gets_a_record_of_its_own(world, limit, section, said):
    end = limit_flows.end(limit, "key")
    first = until(world, end, Record)
    if said is not None:
        world.run(section_flows.report(section, tokens(said), None, None))
    section_flows.dropped(section)
    until(world, end, Now, first)
    assert on_record(world) == {"res-1": 0, section.provisional.key: said or 4}


def test_what_is_released_meanwhile_gets_none(world, limit, section):
    end = limit_flows.end(limit, "key")
    first = until(world, end, Record)
    world.run(section_flows.release(section, "not needed"))
    until(world, end, Now, first)
    assert on_record(world) == {"res-1": 0}
