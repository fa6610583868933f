"""What the end of a limit moves to records of its own, effect by effect: whatever interrupts it, nothing is lost."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from cycles._core import limit_flows, section_flows
from cycles._core.effects import Record
from cycles._core.limits import Account
from cycles._core.requests import terms
from cycles._core.retry import NO_RETRY
from cycles.amounts import tokens

from .world import granted

LEVELS = {"tenant": "acme"}
RUN = terms(tokens(10), action=("agent.run", "r"), levels=LEVELS)
TOOL = terms(tokens(6), action=("tool", "t"), levels=LEVELS)


def alone():
    raise AssertionError("the limit has not ended")


def account(name):
    return Account(tokens(10), lock=nullcontext(), name=name)


def outliving(world, *, inner=False):
    """Return a limit whose section has reported 4 and outlives it, perhaps inside another limit, and that one."""
    outer = made = account("outer")
    world.answers = [granted()]
    world.run(limit_flows.begin(outer, lambda amount: section_flows.begin(RUN.of(amount), NO_RETRY)))
    if inner:
        made = account("inner")

        def reserve(amount):
            return limit_flows.admit(outer, RUN.of(amount), NO_RETRY, alone, alone)

        world.run(limit_flows.begin(made, reserve))
    section = world.run(limit_flows.admit(made, TOOL, NO_RETRY, alone, alone))
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
    outer = Account(tokens(10), lock=nullcontext(), name="outer", is_recorded=False)
    world.answers = [granted()]
    world.run(limit_flows.begin(outer, lambda amount: section_flows.begin(RUN.of(amount), NO_RETRY)))
    made = Account(tokens(10), lock=nullcontext(), name="inner", is_recorded=False)
    world.run(limit_flows.begin(made, lambda amount: limit_flows.admit(outer, RUN.of(amount), NO_RETRY, alone, alone)))
    section = world.run(limit_flows.admit(made, TOOL, NO_RETRY, alone, alone))
    world.run(section_flows.report(section, tokens(4), None, None))
    world.run(limit_flows.end(made, "key"))
    assert on_record(world) == {"alone": 4}


@pytest.mark.parametrize(("said", "charged"), [(None, 4), (6, 6)])
def test_what_is_dropped_is_charged_what_it_said_last(world, said, charged):
    """A commit that was interrupted before it began has said more than the record knows."""
    world.answers = [granted()]
    section = world.run(section_flows.begin(TOOL, NO_RETRY))
    world.run(section_flows.report(section, tokens(4), None, None))
    key = section.provisional.key
    if said is not None:
        section.set_actual(tokens(said), "commit")
    assert section_flows.dropped(section)
    assert (section.provisional.actual.amount, section.provisional.key) == (charged, key)
