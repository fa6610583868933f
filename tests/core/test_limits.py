"""A limit's account and the admission of sections, effect by effect: each branch once, without threads and luck."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from cycles._core import limit_flows, limits, section_flows, shares
from cycles._core.effects import Notify
from cycles._core.limits import Account, Lack, Piece, Share
from cycles._core.retry import NO_RETRY, RetryPolicy
from cycles.amounts import tokens
from cycles.errors import BudgetExceeded
from cycles_api.models.action import Action

from .limits import RUN, admit, begun, reserve, wanted
from .world import granted, released


def test_a_section_is_admitted_charged_and_told(world):
    made = begun(world)
    section = world.run(admit(made, 6))
    assert (made.numbers, section.reservation_id, section.is_lost) == ((0, 6, 1), None, False)
    world.run(section_flows.commit(section, tokens(7)))
    assert (made.numbers, world.told[-1].via) == ((7, 0, 1), "limit")
    assert world.records[-1].actual.amount == 7
    assert len(world.calls) == 1


def test_a_lost_lease_is_seen_inside(world):
    made = begun(world)
    section = world.run(admit(made, 6))
    made.holds[0].section.lease_lost = True
    assert (section.state, section.is_lost, section.leased) == ("LOST", True, made.holds[0].section)


def test_waiting_ends_with_its_time(world):
    made = begun(world)
    world.run(admit(made, 8))
    with pytest.raises(BudgetExceeded):
        world.run(admit(made, 8, wait=1.0, policy=RetryPolicy()))
    assert world.now >= 101.0


def test_a_limit_that_ends_while_a_section_waits_for_room(world):
    made = begun(world)
    world.run(admit(made, 8))
    flow = admit(made, 8, wait=60.0, policy=RetryPolicy())
    effect = next(flow)
    while type(effect).__name__ != "Sleep":
        effect = flow.send(world.perform(effect))
    made.ends()
    world.answers = [granted(reservation_id="res-9")]
    assert world.run(_resumed(flow)).reservation_id == "res-9"


def _resumed(flow):
    """Go on with *flow*, which waits for the answer to a Sleep."""
    return (yield from flow)


def test_a_section_that_finds_its_limit_ended_is_reserved_by_itself(world):
    made = begun(world)
    world.answers = [released()]
    world.run(limit_flows.end(made, "k-end"))
    world.answers = [granted(reservation_id="res-9")]
    assert world.run(admit(made, 1)).reservation_id == "res-9"
    assert made.admit(1) is Lack.ENDED
    assert world.run(limit_flows.end(made, "k-end")) == []


def test_an_interrupted_admission_holds_nothing(world):
    made = begun(world)
    flow = admit(made, 3)
    assert isinstance(next(flow), Notify)
    assert made.numbers == (0, 3, 1)
    with pytest.raises(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt())
    assert made.numbers == (0, 0, 1)


def test_what_is_dropped_counts_what_it_reported(world):
    made = begun(world)
    for reported in (0, 2):
        section = world.run(admit(made, 3))
        if reported:
            world.run(section_flows.report(section, tokens(reported), None, None))
        assert shares.drop(section, section.share)
        assert not shares.drop(section, section.share)
    assert made.waiting_may_help()
    assert isinstance(made.admit(8), Share)
    assert made.numbers == (2, 8, 3)


def test_dry_runs_ask_the_account(world):
    made = begun(world)
    for amount, decision in ((3, "ALLOW"), (30, "DENY")):
        asked = wanted(amount, dry_run=True)
        flow = limit_flows.admit(made, asked, NO_RETRY, reserve, lambda: reserve(tokens(1)))
        assert world.run(flow).grant.response.decision == decision


def test_a_refusal_says_what_helps_with_a_limit(world):
    made = begun(world, owner="the limit")
    with pytest.raises(BudgetExceeded, match=r"was not asked; ask for less, raise the limit, or end the run"):
        world.run(admit(made, 11))


def test_news_are_told_once(world):
    made = begun(world)
    share = made.admit(8)
    assert not made.take_news()
    assert made.settle(share, RUN.action, 8)
    assert not made.settle(share, RUN.action, 8)
    assert not made.report(share, 1)
    assert (made.take_news(), made.take_news(), made.is_reached) == (True, False, False)
    assert made.admit(3) is Lack.LIMIT
    assert made.admit(3) is Lack.LIMIT
    assert (made.take_news(), made.take_news(), made.is_reached) == (True, False, True)


def test_sections_of_one_action_are_counted_together(world):
    made = begun(world)
    for _ in range(2):
        section = world.run(admit(made, 3))
        world.run(section_flows.commit(section, tokens(1)))
    (row,) = made.breakdown()["actions"]
    assert (row["count"], row["amount"]) == (2, 2)


def test_the_breakdown_is_bounded(world, monkeypatch):
    monkeypatch.setattr(limits, "_MOST_TALLIED", 25)
    made = begun(world, 1000)
    for number in range(30):
        made.settle(made.admit(number), Action("tool", f"{number}"), number)
    said = made.breakdown()
    assert (len(said["actions"]), said["sections"]) == (20, 30)
    assert said["others"] == {"count": 10, "amount": sum(range(5)) + sum(range(25, 30))}
    assert made.has_settled


class Taken:
    """A lock that a thread of the parent process holds: in a fork nobody lets it go."""

    def __enter__(self):
        pytest.fail("this waits for ever")

    def __exit__(self, *raised):
        pass


def test_a_copy_in_a_fork_has_a_lock_of_its_own():
    made = Account(tokens(10), lock=Taken(), name="limit")
    made.forked(nullcontext())
    assert made.admit(3) == Piece(10, 3)
