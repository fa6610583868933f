"""The pieces of a limit, effect by effect: asked for as they are needed and ahead of need, denied, and too late."""

from __future__ import annotations

import pytest

from cycles._core import limit_flows, section_flows
from cycles._core.effects import Notify, Sleep
from cycles._core.limits import Lack, Piece
from cycles.amounts import tokens
from cycles.errors import BudgetExceeded

from .limits import account, admit, begun, reserve
from .world import granted, refusal, released


def test_a_piece_that_another_one_asks_for_is_waited_for(world):
    made = begun(world, 10, 4)
    ahead = made.admit(8)
    assert ahead == Piece(4, 4)
    assert made.admit(8) is Lack.ASKED
    flow = admit(made, 8)
    assert isinstance(next(flow), Sleep)
    world.answers = [granted(reservation_id="res-2")]
    section = world.run(reserve(tokens(4)))
    assert made.grants(section, 4, section.grant)
    made.unasked(ahead)
    told = flow.send(None)
    assert isinstance(told, Notify)
    assert told.event == "reserved"


def test_the_least_that_would_do_is_asked_for_when_a_piece_is_denied(world):
    made = begun(world, 10, 4)
    world.answers = [refusal(409, "BUDGET_EXCEEDED"), granted(reservation_id="res-2")]
    world.run(admit(made, 5))
    assert [call.arguments["body"].estimate.amount for call in world.calls] == [4, 4, 1]


def test_a_denied_piece_is_the_authoritys_denial(world):
    made = begun(world, 10, 4)
    world.answers = [refusal(409, "BUDGET_EXCEEDED"), refusal(409, "BUDGET_EXCEEDED")]
    with pytest.raises(BudgetExceeded) as caught:
        world.run(admit(made, 5))
    assert caught.value.limit is None
    assert made.numbers == (0, 0, 0)


def test_a_piece_that_comes_after_the_end_is_given_back(world):
    made = begun(world, 10, 4)
    piece = made.admit(8)

    def late(amount):
        section = yield from reserve(amount)
        made.ends()
        return section

    world.answers = [granted(reservation_id="res-2"), released()]
    world.run(limit_flows.take_ahead(made, piece, late))
    assert world.log[-1] == "release_reservation"
    assert not made.grants(None, 4, None)


def test_nothing_is_asked_for_a_limit_that_has_ended(world):
    made = begun(world, 10, 4)
    piece = made.admit(8)
    made.ends()
    world.calls.clear()
    world.run(limit_flows.take_ahead(made, piece, reserve))
    assert world.calls == []
    assert made.ahead() is None


def test_after_a_denial_nothing_is_asked_for_ahead(world):
    made = account(10, 4)
    world.answers = [refusal(409, "BUDGET_EXCEEDED")]
    world.run(limit_flows.begin(made, reserve))
    assert (made.ahead(), world.notes[-1]) == (None, "piece not granted")
    world.run(limit_flows.begin(made, reserve))
    assert world.answers == []


def test_a_job_asks_for_the_next_piece_and_says_when_it_is_over(world):
    made = begun(world, 10, 4)
    world.run(admit(made, 3))
    over = []
    job = limit_flows.NextPiece(made, made.ahead(), reserve, lambda: over.append(made.granted), due=1.0)
    world.answers = [granted(reservation_id="res-2")]
    world.run(job.attempt())
    assert (over, job.is_needed, job.due) == ([8], False, 1.0)
    assert made.unkept() == made.holds
    assert made.unkept() == []


def test_what_is_over_goes_to_the_last_piece(world):
    made = begun(world, 10, 4)
    world.answers = [granted(reservation_id="res-2")]
    section = world.run(admit(made, 6))
    world.run(section_flows.commit(section, tokens(11)))
    assert [hold.assigned for hold in made.holds] == [4, 7]
