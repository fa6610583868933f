"""What a limit's sections have spent, on record as it grows: whoever is interrupted in it, nothing is lost."""

from __future__ import annotations

import pytest

from cycles._core import limit_flows, limits, section_flows, shares
from cycles._core.effects import NewKey, Record
from cycles._core.record_format import dump, load
from cycles.amounts import tokens

from .limits import admit, begun, reserve
from .world import granted, released


def test_one_puts_the_spend_on_record_at_a_time(world):
    made = begun(world)
    assert made.begins_recording()
    assert world.run(shares.grow(made)) is None
    assert made.unrecorded() == []
    assert made.begins_recording()
    made.ends()
    assert made.unrecorded() == []


def test_an_interrupt_leaves_no_spend_off_the_record(world):
    """Others count on whoever has the turn; it goes on with it, and then the interrupt comes out."""
    made = begun(world)
    section = world.run(admit(made, 3))
    made.report(section.share, 2)
    flow = shares.grow(made)
    assert isinstance(next(flow), NewKey)
    assert isinstance(flow.throw(KeyboardInterrupt()), NewKey)
    record = flow.send("key-9")
    assert isinstance(record, Record)
    assert record.pending.actual == tokens(2)
    with pytest.raises(KeyboardInterrupt):
        flow.send(True)
    assert (made.is_recording, made.holds[0].recorded) == (False, 2)


def test_a_second_interrupt_gives_up_the_turn(world):
    made = begun(world)
    section = world.run(admit(made, 3))
    made.report(section.share, 2)
    flow = shares.grow(made)
    next(flow)
    flow.throw(KeyboardInterrupt())
    with pytest.raises(SystemExit):
        flow.throw(SystemExit())
    assert (made.is_recording, made.holds[0].recorded) == (False, 0)
    closed = shares.grow(made)
    next(closed)
    closed.close()
    assert not made.is_recording


def test_a_section_that_outlives_its_limit_has_one_key_for_its_reports(world):
    """The end of the limit and the section put its report on record at the same time."""
    made = begun(world)
    section = world.run(admit(made, 3))
    world.run(section_flows.report(section, tokens(2), None, None))
    world.answers = [released()]
    world.run(limit_flows.end(made, "key-e"))
    section.provisional = None
    ours, theirs = (shares.keep_reported(section, tokens(2)) for _ in range(2))
    next(ours), next(theirs)
    ours.send("key-a")
    assert theirs.send("key-b").pending.key == section.provisional.key
    late = shares.keep_reported(section, tokens(3))
    assert isinstance(next(late), Record)
    section.provisional = None
    late = shares.keep_reported(section, tokens(3))
    next(late)
    section.leave(section_flows.Happened.COMMIT_WANTED)
    with pytest.raises(StopIteration):  # what is charged meanwhile is not recorded any more
        late.send("key-c")
    assert section.provisional.metadata["recovery_reason"] == "limit_ended"


def test_a_hold_that_has_ended_keeps_no_record(world):
    made = begun(world)
    section = world.run(admit(made, 3))
    made.holds[0].section.leave(section_flows.Happened.RELEASE_ENDED)
    world.records.clear()
    world.run(section_flows.report(section, tokens(2), None, None))
    assert world.records == []
    world.run(section_flows.release(section, "done"))
    assert made.numbers == (0, 0, 1)


def test_what_was_reported_is_on_record_by_action(world, monkeypatch):
    """The breakdown is made when a record is written, and has what open sections reported."""
    monkeypatch.setattr(limits, "_MOST_TALLIED", 2)
    made = begun(world, 12, 6)
    world.answers = [granted(reservation_id="res-2")]
    world.run(limit_flows.take_ahead(made, made.admit(8), reserve))
    for name, amount in (("a", 1), ("b", 2), ("c", 3)):
        section = world.run(admit(made, amount, name=name))
        world.run(section_flows.report(section, tokens(amount), None, None))
        if name == "a":
            world.run(section_flows.commit(section, tokens(1)))
    idle = world.run(admit(made, 1, name="d"))
    first, second = (hold.section.provisional for hold in made.holds)
    actions = [{"kind": "tool", "name": name, "count": 1, "amount": amount} for name, amount in (("b", 2), ("a", 1))]
    said = {"sections": made.numbers[2], "actions": actions, "others": {"count": 1, "amount": 3}}
    assert first.said == {"actual_source": "reported", "limit": said}
    assert second is None
    kept = load(dump(first, None, ""))[0]
    assert (kept.actual, kept.said) == (tokens(6), first.said)
    assert kept.as_event().event_body().metadata["limit"] == first.as_event().metadata["limit"] == said
    assert world.run(section_flows.release(idle, None)).attempts == 0
