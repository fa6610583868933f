"""Settling one spend, and recovery: which records of a queue it takes up."""

from __future__ import annotations

import pytest

import cycles
from cycles._core import settlements
from cycles._core.lifecycle import State
from cycles._core.records import Claim, Pending
from cycles._core.retry import RetryPolicy
from cycles._core.settlements import Recovery, recover
from cycles.amounts import tokens
from tests.support.records import pending as spend

from .world import GARBLED, LOST, NOT_SENT, applied, committed, refusal, reply

POLICY = RetryPolicy(max_attempts=3, initial_delay=1.0, multiplier=2.0, max_delay=30.0)


@pytest.fixture
def pending(wanted):
    return Pending(reservation_id="res-1", terms=wanted, actual=tokens(7), key="key-of-the-intent")


def test_the_record_is_written_before_the_first_request_and_removed_after_the_last(world, pending):
    world.answers = [committed()]
    settlement = world.run(settlements.settle(pending, POLICY))
    assert world.log == ["Record", "commit_reservation", "Forget"]
    assert (settlement.state, settlement.via, settlement.charged) == (State.COMMITTED, "commit", tokens(7))


@pytest.mark.parametrize("trouble", [LOST, NOT_SENT, GARBLED, refusal(500, "INTERNAL_ERROR"), refusal(202, "x")])
def test_a_lost_answer_reuses_the_key(world, pending, trouble):
    """CR-CORE-001, CR-CORE-004: an ambiguous commit is sent again under its own key."""
    world.answers = [trouble, committed()]
    settlement = world.run(settlements.settle(pending, POLICY))
    assert world.keys_sent == ["key-of-the-intent"] * 2
    assert settlement.state is State.COMMITTED
    assert settlement.attempts == 2


def test_a_commit_with_a_status_of_tomorrow_proves_nothing(world, pending):
    odd = committed()
    odd.parsed.status = "PENDING_REVIEW"
    world.answers = [odd, committed()]
    assert world.run(settlements.settle(pending, POLICY)).attempts == 2


def test_an_expired_hold_becomes_an_event_under_the_same_key(world, pending):
    """CR-CORE-002; the switch is recorded before the event leaves."""
    world.answers = [refusal(410, "RESERVATION_EXPIRED"), applied()]
    settlement = world.run(settlements.settle(pending, POLICY))
    assert world.log == ["Record", "commit_reservation", "Record", "create_event", "Forget"]
    assert [record.by_event for record in world.records] == [False, True, True]
    assert world.keys_sent == ["key-of-the-intent"] * 2
    event = world.calls[-1].arguments["body"]
    assert event.subject == pending.terms.subject
    assert event.actual == tokens(7)
    assert (settlement.state, settlement.via, settlement.charged) == (State.COMMITTED, "event", tokens(7))


def test_a_late_expiry_does_not_use_up_the_events_attempts(world, pending):
    world.answers = [LOST, LOST, refusal(410, "RESERVATION_EXPIRED"), LOST, LOST, applied()]
    settlement = world.run(settlements.settle(pending, POLICY))
    assert settlement.state is State.COMMITTED
    assert settlement.attempts == 6


def test_an_event_that_expires_ends_there(world, pending):
    world.answers = [refusal(410, "RESERVATION_EXPIRED"), refusal(410, "RESERVATION_EXPIRED")]
    assert world.run(settlements.settle(pending, POLICY)).state is State.UNSETTLED


@pytest.mark.parametrize(
    ("answer", "kept", "error"),
    [
        (refusal(409, "RESERVATION_FINALIZED"), False, cycles.ReservationFinalized),
        (refusal(409, "IDEMPOTENCY_MISMATCH"), False, cycles.IdempotencyMismatch),
        (refusal(409, "BUDGET_EXCEEDED"), False, cycles.BudgetExceeded),
        (refusal(400, "UNIT_MISMATCH"), False, cycles.UnitMismatch),
        (refusal(409, "A_CODE_OF_TOMORROW"), False, cycles.AuthorityError),
        (refusal(401, "UNAUTHORIZED"), True, cycles.Unauthorized),
        (refusal(403, "FORBIDDEN"), True, cycles.Forbidden),
        (reply(418, None), True, cycles.UnexpectedResponse),
        (reply(302, None), True, cycles.UnexpectedResponse),
    ],
)
def test_every_refusal_stops_and_only_understood_ones_drop_the_record(world, pending, answer, kept, error):
    """The outcomes of docs/protocol.md, Settlement and recovery; nothing is ever released."""
    world.answers = [answer]
    settlement = world.run(settlements.settle(pending, POLICY))
    assert ("Forget" not in world.log) is kept
    assert settlement.state is State.UNSETTLED
    assert type(settlement.error) is error
    assert world.log[:2] == ["Record", "commit_reservation"]
    assert "release_reservation" not in world.log


def test_retry_after_is_a_floor(world, pending):
    world.answers = [refusal(429, "LIMIT_EXCEEDED", retry_after="5"), committed()]
    assert world.run(settlements.settle(pending, POLICY)).state is State.COMMITTED
    assert world.sleeps == [5.5]


def test_attempts_run_out_and_the_record_stays(world, pending):
    world.answers = [LOST] * 3
    settlement = world.run(settlements.settle(pending, POLICY))
    assert world.log == ["Record", *["commit_reservation"] * 3]
    assert world.sleeps == [0.5, 1.0]
    assert isinstance(settlement.error, cycles.AuthorityUnavailable)


def test_an_interrupted_settlement_leaves_its_record_and_sends_nothing_more(world, pending):
    world.answers = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        world.run(settlements.settle(pending, POLICY))
    assert world.log == ["Record", "commit_reservation"]


# -- recovery ----------------------------------------------------------------------------------------------------------
class Records:
    """A queue of so many records."""

    def __init__(self, *found):
        self.found = list(found)

    def take(self):
        return (self.found.pop(), Claim()) if self.found else None


def test_a_recovery_that_is_out_of_time_takes_nothing(world):
    queue = Records(spend())
    recovery = Recovery(deadline=-1.0)
    assert world.run(recover(queue, recovery, 5)) is False
    assert recovery.is_paused
    assert len(queue.found) == 1


def test_a_record_that_was_set_aside_is_not_tried_again_in_this_run(world):
    recovery = Recovery(aside={"key-1"})
    assert world.run(recover(Records(spend()), recovery, 5)) is True
    assert world.calls == []
