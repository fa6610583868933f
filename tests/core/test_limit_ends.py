"""The end of a limit, effect by effect: what it charges, gives back, and moves to records of its own."""

from __future__ import annotations

import pytest

from cycles._core import limit_flows, section_flows
from cycles._core.effects import Record
from cycles._core.retry import NO_RETRY
from cycles.amounts import tokens
from cycles.errors import AlreadySettled

from .limits import RUN, account, admit, begun, reserve, wanted
from .world import applied, committed, granted, released


def alone():
    raise AssertionError("the limit has not ended")


def begun_inside(world, outer, amount=10, **options):
    """Return the account of a limit that draws on *outer*."""
    made = account(amount, **options)
    world.run(limit_flows.begin(made, lambda part: limit_flows.admit(outer, RUN.of(part), NO_RETRY, alone, alone)))
    return made


def test_the_end_charges_each_piece_and_releases_what_is_unused(world):
    made = begun(world, 12, 4)
    for number in (2, 3):
        world.answers = [granted(reservation_id=f"res-{number}")]
        world.run(limit_flows.take_ahead(made, made.admit(4 * number), reserve))
    section = world.run(admit(made, 5))
    world.run(section_flows.report(section, tokens(6), None, None))
    world.run(section_flows.report(section, tokens(2), None, None))
    assert [hold.assigned for hold in made.holds] == [2, 0, 0]
    world.run(section_flows.commit(section, tokens(6)))
    made.holds[2].section.leave(section_flows.Happened.RELEASE_ENDED)  # by hand
    world.answers = [committed(4), committed(2)]
    ended = world.run(limit_flows.end(made, "k-end"))
    assert [settlement.via for settlement in ended] == ["commit", "commit"]
    bodies = [call.arguments["body"].metadata for call in world.calls[-2:]]
    assert bodies[0]["limit"]["sections"] == 1
    assert bodies[1] == {"limit": {"piece": 2, "first": "res-1"}}


def test_a_section_that_outlives_its_limit_is_released_by_itself(world):
    made = begun(world)
    section = world.run(admit(made, 3))
    world.answers = [released()]
    world.run(limit_flows.end(made, "k-end"))
    assert world.run(section_flows.release(section, "done")).attempts == 0
    assert made.numbers == (0, 0, 1)


def test_a_commit_whose_limit_another_thread_ends_meanwhile_is_charged_under_a_key(world, monkeypatch):
    """The section is inside when it looks, and outlives its limit when it decides."""
    made = begun(world)
    section = world.run(admit(made, 3))
    decide = section_flows.decide_commit

    def late(decided, key):
        made.ends()
        return decide(decided, key)

    monkeypatch.setattr(section_flows, "decide_commit", late)
    world.answers = [applied()]
    assert world.run(section_flows.commit(section, tokens(2))).via == "event"
    assert world.records[-1].key


def test_reports_of_sections_that_outlive_the_limit_get_records_of_their_own(world):
    made = begun(world)
    late, gone = world.run(admit(made, 3)), world.run(admit(made, 3))
    for section in (late, gone):
        world.run(section_flows.report(section, tokens(2), None, None))
    gone.leave(section_flows.Happened.RELEASE_ENDED)
    inside = world.run(admit(made, 3))
    world.run(section_flows.commit(inside, tokens(1)))
    world.answers = [committed(1)]
    world.run(limit_flows.end(made, "k-end"))
    own = [pending for pending in world.records if pending.reservation_id is None]
    assert [(pending.actual.amount, pending.by_event, pending.provisional) for pending in own] == [(2, True, True)]
    world.answers = [applied()]
    assert world.run(section_flows.commit(late, tokens(3))).via == "event"
    with pytest.raises(AlreadySettled):
        world.run(section_flows.release(gone, None))


def test_a_nested_limit_leaves_its_record_to_the_outer_one(world):
    outer = begun(world)
    inner = begun_inside(world, outer, 6)
    late = world.run(admit(inner, 3))
    world.run(section_flows.report(late, tokens(2), None, None))
    assert (outer.numbers, world.records[-1].actual.amount) == ((0, 6, 1), 2)
    world.run(limit_flows.end(inner, "k-end"))
    assert outer.numbers == (0, 0, 1)
    assert late.provisional.by_event


def outliving(world, *, inner=False):
    """Return a limit whose section has reported 4 and outlives it, perhaps inside another limit, and that one."""
    outer = made = begun(world)
    if inner:
        made = begun_inside(world, outer)
    section = world.run(admit(made, 6))
    world.run(section_flows.report(section, tokens(4), None, None))
    return made, outer, section


def on_record(world):
    """Return what the last record of each reservation, or key, has."""
    return {pending.reservation_id or "alone": pending.actual.amount for pending in world.records}


def cut_off(world, flow, at):
    """Throw an interrupt into *flow* at its effect number *at*, and perform what it asks for until that comes out."""
    effect = next(flow)
    for _ in range(at):
        effect = flow.send(world.perform(effect))
    with pytest.raises(KeyboardInterrupt):
        effect = flow.throw(KeyboardInterrupt())
        while True:
            effect = flow.send(world.perform(effect))


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("at", range(3))
def test_an_interrupt_comes_out_when_each_report_has_a_record_of_its_own(world, inner, at):
    made, outer, section = outliving(world, inner=inner)
    assert on_record(world) == {"res-1": 4}
    cut_off(world, limit_flows.end(made, "key"), at)
    assert on_record(world) == {"res-1": 0, "alone": 4}
    assert section.is_open
    assert outer.numbers[0] == 0


def test_a_second_interrupt_comes_out_at_once(world):
    made, _, _ = outliving(world)
    flow = limit_flows.end(made, "key")
    assert isinstance(next(flow), Record)
    assert isinstance(flow.throw(KeyboardInterrupt()), Record)
    with pytest.raises(SystemExit):
        flow.throw(SystemExit())


def test_an_end_that_is_closed_does_nothing_more(world):
    made, _, _ = outliving(world)
    flow = limit_flows.end(made, "key")
    next(flow)
    flow.close()
    assert on_record(world) == {"res-1": 4}


def test_a_limit_inside_one_that_is_not_on_record_writes_nothing(world):
    outer = begun(world, is_recorded=False)
    made = begun_inside(world, outer, is_recorded=False)
    section = world.run(admit(made, 6))
    world.run(section_flows.report(section, tokens(4), None, None))
    world.run(limit_flows.end(made, "key"))
    assert on_record(world) == {"alone": 4}


@pytest.mark.parametrize(("said", "charged"), [(None, 4), (6, 6)])
def test_what_is_dropped_is_charged_what_it_said_last(world, said, charged):
    """A commit that was interrupted before it began has said more than the record knows."""
    world.answers = [granted()]
    section = world.run(section_flows.begin(wanted(6), NO_RETRY))
    world.run(section_flows.report(section, tokens(4), None, None))
    key = section.provisional.key
    if said is not None:
        section.set_actual(tokens(said), "commit")
    assert section_flows.dropped(section)
    assert (section.provisional.actual.amount, section.provisional.key) == (charged, key)
