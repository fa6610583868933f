"""Ends that wait a bounded time, and the jobs that go on with what they left."""

from __future__ import annotations

import pytest

from cycles import tokens
from cycles._core import endings, flows, settlements
from cycles._core.jobs import LOOKS, Charge, GiveBack
from cycles._core.lifecycle import State
from cycles._core.recovery import Recovery
from cycles._core.results import Settlement
from cycles._core.retry import RetryPolicy
from cycles.errors import InternalError, RateLimited, Unauthorized
from cycles_api.models import ReservationListResponse
from tests.core.world import LOST, World, committed, refusal, released, reply
from tests.support.records import pending

POLICY = RetryPolicy(max_attempts=5, settle_wait=1.0)
SPEND = pending(actual=tokens(7))


@pytest.fixture
def world():
    return World()


def test_attempts_end_where_the_next_wait_would_outlast_the_caller(world):
    world.answers = [LOST] * 5
    settlement = world.run(settlements.settle(SPEND, POLICY, wait=1.0, goes_on=True))
    assert world.sleeps == [0.25, 0.5], "the third wait would be of a second"
    assert [call.within for call in world.calls] == [1.0, 0.75, 0.25]
    assert (settlement.attempts, settlement.goes_on) == (3, True)
    assert world.told[0].outcome == "pending"


def test_without_time_nothing_is_sent(world):
    settlement = world.run(settlements.settle(SPEND, POLICY, wait=0.0, goes_on=True))
    assert (world.calls, settlement.attempts, settlement.goes_on) == ([], 0, True)
    assert world.log == ["Record"], "it is kept, for the background"


@pytest.mark.parametrize(
    ("answer", "outcome"), [(refusal(401, "UNAUTHORIZED"), "unsettled"), (refusal(409, "BUDGET_FROZEN"), "rejected")]
)
def test_nobody_goes_on_with_what_was_refused(world, answer, outcome):
    world.keeps, world.answers = False, [answer]
    settlement = world.run(settlements.settle(SPEND, POLICY, wait=1.0, goes_on=True))
    assert (settlement.goes_on, world.told[0].outcome) == (False, outcome)


def test_an_unkept_settlement_says_that_memory_holds_it(world):
    world.keeps, world.answers = False, [LOST] * 5
    settlement = world.run(settlements.settle(SPEND, POLICY, wait=1.0, goes_on=True))
    assert "kept in memory" in str(endings.pending_error(settlement))


def test_a_release_ends_in_time_too(world):
    world.answers = [LOST] * 5
    assert world.run(flows.release("res-1", None, POLICY)).error is not None
    assert world.sleeps == [0.25, 0.5]


# -- charging on -------------------------------------------------------------------------------------------------------
def test_a_charge_that_no_journal_holds_is_tried_until_it_is_known(world):
    charge = Charge(SPEND, POLICY, due=0.0)
    world.keeps, world.answers = False, [LOST, refusal(429, "LIMIT_EXCEEDED", Retry_After="3"), committed()]
    assert world.run(charge.attempt()) == 0.5
    world.answers[0].headers["retry-after"] = "3"
    assert world.run(charge.attempt()) == 3.5
    assert charge.is_needed
    assert world.run(charge.attempt()) is None
    assert not charge.is_needed
    assert world.keys_sent == [SPEND.key] * 3


def test_a_charge_that_the_journal_holds_is_the_recoverys(world):
    charge = Charge(SPEND, POLICY, due=0.0)
    world.answers = [LOST]
    assert world.run(charge.attempt()) is None
    assert not charge.is_needed


def test_without_retries_a_charge_is_tried_once(world):
    charge = Charge(SPEND, RetryPolicy(max_attempts=1, is_off=True), due=0.0)
    world.keeps, world.answers = False, [LOST]
    assert world.run(charge.attempt()) is None


def test_how_long_the_authority_may_ask_a_charge_to_wait_is_bounded(world):
    charge = Charge(SPEND, POLICY, due=0.0)
    world.keeps, world.answers = False, [refusal(429, "LIMIT_EXCEEDED", retry_after="999999999")]
    assert world.run(charge.attempt()) == 3600.5
    assert charge.floor == world.now + 3600.0


def test_one_at_a_time_has_the_turn_to_charge_and_gives_it_back(world):
    charge = Charge(SPEND, POLICY, due=0.0)
    first = charge.attempt()
    next(first)
    assert charge.is_under_way
    assert world.run(charge.attempt()) == 0.5
    assert world.keys_sent == []
    first.close()
    assert not charge.is_under_way
    world.keeps, world.answers = False, [committed()]
    assert world.run(charge.attempt()) is None
    assert world.run(charge.attempt()) is None, "it is done"
    assert world.keys_sent == [SPEND.key]


def ended(state=State.UNSETTLED, **facts):
    return Settlement(state, via="commit", attempts=1, **facts)


def test_what_came_of_charges_in_memory_is_counted():
    this = Recovery()
    assert this.notes(None), "somebody else had the turn"
    assert not this.notes(ended(State.COMMITTED))
    assert not this.notes(ended(is_kept=True)), "the journal has it now"
    assert not this.notes(ended(error=InternalError("refused", status=400)))
    assert (this.settled, this.rejected, this.goes_on) == (1, 1, True)
    assert not this.notes(ended(error=Unauthorized("refused", status=401)))
    assert this.is_stopped


def test_charges_in_memory_pause_when_the_authority_is_not_well():
    this, lost = Recovery(), ended(goes_on=True, error=InternalError("lost", status=500))
    assert [this.notes(lost) and this.is_paused for _ in range(3)] == [False, False, True]
    this = Recovery()
    assert this.notes(lost)
    assert not this.notes(ended(State.COMMITTED))
    assert this.failures == 0
    assert this.notes(ended(goes_on=True, error=RateLimited("later", status=429, retry_after=3.0)))
    assert this.is_paused


# -- looking for a hold ------------------------------------------------------------------------------------------------
def listed(*rows):
    return reply(200, ReservationListResponse.from_dict({"reservations": list(rows), "has_more": False}))


def test_a_hold_that_is_not_there_yet_is_looked_for_again(world):
    """The authority may still be at work on the create when its caller is gone."""
    row = {
        "reservation_id": "res-1",
        "status": "ACTIVE",
        "idempotency_key": "key",
        "subject": {"tenant": "acme"},
        "action": {"kind": "a", "name": "b"},
        "reserved": {"unit": "TOKENS", "amount": 7},
        "created_at_ms": 1,
        "expires_at_ms": 2,
        "scope_path": "tenant:acme",
        "affected_scopes": ["tenant:acme"],
    }
    job = GiveBack(POLICY, key="key")
    world.answers = [listed(), listed(row), released()]
    assert world.run(job.attempt()) == LOOKS[0]
    assert job.is_needed
    assert world.run(job.attempt()) is None
    assert (job.is_needed, world.log[-1]) == (False, "release_reservation")


def test_a_hold_that_never_appears_is_given_up(world):
    job = GiveBack(POLICY, key="key")
    world.answers = [listed() for _ in range(len(LOOKS) + 1)]
    assert [world.run(job.attempt()) for _ in range(len(LOOKS) + 1)] == [*LOOKS, None]
    assert not job.is_needed


def test_a_hold_that_is_known_is_not_looked_for(world):
    job = GiveBack(POLICY, reservation_id="res-1")
    world.answers = [released()]
    assert world.run(job.attempt()) is None
    assert world.log == ["release_reservation"]
