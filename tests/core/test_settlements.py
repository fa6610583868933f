"""Settling one spend, and recovery: which records of a queue it takes up."""

from __future__ import annotations

import pytest

import cycles
from cycles._core import endings, settlements
from cycles._core.lifecycle import State
from cycles._core.records import Claim, Floor, Pending
from cycles._core.recovery import Recovery, recover
from cycles._core.retry import NO_RETRY, RetryPolicy
from cycles.amounts import tokens
from cycles_api.models.reservation_detail import ReservationDetail
from tests.support.records import pending as spend

from .world import GARBLED, LOST, NOT_SENT, applied, committed, refusal, reply

POLICY = RetryPolicy(max_attempts=3, initial_delay=1.0, multiplier=2.0, max_delay=30.0)


class Records:
    """A queue of so many records."""

    def __init__(self, *found):
        self.found = list(found)

    def take(self):
        return (self.found.pop(), Claim()) if self.found else None


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
        (refusal(401, "UNAUTHORIZED"), True, cycles.Unauthorized),
        (refusal(403, "FORBIDDEN"), True, cycles.Forbidden),
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


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(409, "A_CODE_OF_TOMORROW"), cycles.AuthorityError),
        (refusal(409, "LIMIT_EXCEEDED"), cycles.RateLimited),
        (refusal(400, "INTERNAL_ERROR"), cycles.InternalError),
        (refusal(410, "NOT_FOUND"), cycles.NotFound),
        (reply(400, None), cycles.UnexpectedResponse),
        (reply(404, None), cycles.NotFound),
        (reply(410, None), cycles.ReservationExpired),
        (reply(418, None), cycles.UnexpectedResponse),
        (reply(302, None), cycles.UnexpectedResponse),
        (refusal(401, "UNAUTHORIZED", "INTERNAL_ERROR"), cycles.AuthorityUnavailable),
    ],
)
@pytest.mark.parametrize("by_event", [False, True])
def test_a_refusal_that_nobody_can_understand_is_none(world, pending, answer, error, by_event):
    """Kept, and sent again under the same key as after a 5xx, in this run and the next."""
    pending = pending.as_event() if by_event else pending
    world.answers = [answer] * POLICY.max_attempts
    settlement = world.run(settlements.settle(pending, POLICY))
    assert len(world.calls) == POLICY.max_attempts
    assert set(world.keys_sent) == {pending.key}
    assert "Forget" not in world.log
    assert world.notes[-1] == "settlement pending"
    assert (settlement.is_kept, settlement.is_refused) == (True, False)
    assert by_event or type(settlement.error) is error
    assert world.told[-1].outcome == "pending"
    assert "background" in str(endings.pending_error(settlement))

    recovery, asked = Recovery(), len(world.calls)
    world.answers = [answer] * 9
    ended = world.run(recover(Records(*[pending] * 9), recovery, 9))
    assert not ended
    assert (recovery.is_paused, recovery.is_stopped, recovery.pending) == (True, False, 3), "slowly"
    assert len(world.calls) == asked + 3


def test_the_log_says_once_that_a_record_is_pending(world, pending):
    """Round after round, while the authority is away; what ends it is told in any case."""
    told = set()
    for answer in (LOST, LOST, LOST):
        world.answers = [answer]
        world.run(recover(Records(pending), Recovery(told=told), 1))
    said = [
        facts["is_told"] for note, facts in zip(world.notes, world.facts, strict=True) if note == "settlement pending"
    ]
    assert said == [False, True, True]
    world.answers = [refusal(404, "NOT_FOUND")]
    world.run(recover(Records(pending), Recovery(told=told), 1))
    assert (world.notes[-1], world.facts[-1]["is_told"]) == ("settlement rejected", False)
    assert told == set()


@pytest.mark.parametrize(
    ("answer", "policy", "said", "unsaid"),
    [
        (LOST, NO_RETRY, "at exit and at the next start, for retries are turned off", "background"),
        (LOST, POLICY, "tried again in the background, at exit and at the next start", "CYCLES_API_KEY"),
        (refusal(401, "UNAUTHORIZED"), POLICY, "kept for the next run, with a key that the authority", "background"),
        (refusal(403, "FORBIDDEN"), POLICY, "kept for the next run, with a key that the authority", "background"),
    ],
)
def test_what_is_pending_says_what_becomes_of_it(world, pending, answer, policy, said, unsaid):
    world.answers = [answer] * policy.max_attempts
    message = str(endings.pending_error(world.run(settlements.settle(pending, policy))))
    assert said in message
    assert unsaid not in message


# -- a Retry-After without a bound -------------------------------------------------------------------------------------
@pytest.mark.parametrize("seconds", ["3601", "999999999", "9" * 400])
def test_an_hour_of_a_retry_after_counts(world, pending, seconds):
    world.answers = [refusal(429, "LIMIT_EXCEEDED", retry_after=seconds)]
    world.run(settlements.settle(pending, POLICY))
    floor = world.records[-1].floor
    assert floor.until_ms - floor.set_at_ms == 3_600_000
    recovery = Recovery()
    world.answers = [refusal(429, "LIMIT_EXCEEDED", retry_after=seconds)]
    world.run(recover(Records(pending), recovery, 1))
    assert recovery.again_in == 3600.0


def test_a_floor_that_an_old_record_has_too_far_away_is_read_within_the_bound():
    assert Floor(1_000, 10**15).until_ms == 3_601_000
    assert Floor(1_000, 10**400).left(2_000) == 3599.0
    assert Floor(10**400, 10**500).left(2_000) == 3600.0, "the clock went back: the whole wait begins anew"
    assert Floor(1_000, -(10**400)).left(2_000) == 0.0


def test_a_floor_can_be_overridden_once(world, pending):
    """By a person: what the authority asks after that holds."""
    far = pending.not_before(Floor(1_800_000_100_000, 1_800_003_700_000))
    overridden = set()
    recovery = Recovery(overridden=overridden)
    world.answers = [refusal(429, "LIMIT_EXCEEDED", retry_after="60")]
    world.run(recover(Records(far), recovery, 1))
    assert len(world.calls) == 1
    again = Recovery(overridden=overridden)
    world.run(recover(Records(world.records[-1]), again, 1))
    assert len(world.calls) == 1
    assert again.again_in == 60.0


# -- a report that another process has charged -------------------------------------------------------------------------
def reservation(status="COMMITTED", **changes):
    fields = {
        "reservation_id": "res-1",
        "status": status,
        "subject": {"tenant": "acme"},
        "action": {"kind": "k", "name": "n"},
        "reserved": {"unit": "TOKENS", "amount": 10},
        "created_at_ms": 1,
        "expires_at_ms": 2,
        "scope_path": "tenant:acme",
        "affected_scopes": ["tenant:acme"],
        "committed": {"unit": "TOKENS", "amount": 2},
    }
    return reply(200, ReservationDetail.from_dict({**fields, **changes}))


FINALIZED, MISMATCH = refusal(409, "RESERVATION_FINALIZED"), refusal(409, "IDEMPOTENCY_MISMATCH")


@pytest.fixture
def after_reports(pending):
    """The end of a section that reported before: another process may have charged a report."""
    return Pending(reservation_id="res-1", terms=pending.terms, actual=tokens(7), key="own", reported_key="reports")


def test_the_rest_is_charged_when_a_report_was_charged(world, after_reports):
    world.answers = [FINALIZED, MISMATCH, reservation(), applied()]
    settlement = world.run(settlements.settle(after_reports, POLICY))
    assert (settlement.state, settlement.charged, settlement.via) == (State.COMMITTED, tokens(7), "event")
    assert world.keys_sent == ["own", "reports", "own"]
    event = world.calls[-1].arguments["body"]
    assert event.actual == tokens(5)
    assert event.metadata == {
        "recovered_reservation_id": "res-1",
        "recovery_reason": "rest_of_a_report_that_was_charged",
    }
    assert world.log[-3:] == ["Record", "create_event", "Forget"], "on disk before it leaves"


def test_a_report_that_was_charged_is_charged_up_by_a_recovery_too(world, after_reports):
    """The section's process died after its second report: its key was used for the first."""
    world.answers = [MISMATCH, reservation(), applied()]
    reports = after_reports.under("reports")
    recovery = Recovery()
    world.run(recover(Records(reports), recovery, 1))
    assert recovery.settled == 1
    assert world.calls[-1].arguments["body"].actual == tokens(5)


def test_nothing_is_charged_when_the_report_was_all(world, after_reports):
    world.answers = [FINALIZED, MISMATCH, reservation(committed={"unit": "TOKENS", "amount": 7})]
    settlement = world.run(settlements.settle(after_reports, POLICY))
    assert (settlement.state, settlement.charged) == (State.COMMITTED, tokens(7))
    world.answers = [FINALIZED, committed(7)]  # the very same report, replayed
    assert world.run(settlements.settle(after_reports, POLICY)).charged == tokens(7)


@pytest.mark.parametrize(
    "answers",
    [
        [FINALIZED, FINALIZED],  # somebody else's: nothing is known of that
        [FINALIZED, MISMATCH, refusal(404, "NOT_FOUND")],
        [FINALIZED, MISMATCH, reservation(committed=None)],
        [FINALIZED, MISMATCH, reservation(committed={"unit": "CREDITS", "amount": 1})],
    ],
)
def test_a_reservation_that_something_else_has_ended_is_refused(world, after_reports, answers):
    world.answers = list(answers)
    settlement = world.run(settlements.settle(after_reports, POLICY))
    assert settlement.is_refused
    assert type(settlement.error) is cycles.ReservationFinalized


@pytest.mark.parametrize("answers", [[FINALIZED, LOST], [FINALIZED, MISMATCH, LOST]])
def test_what_can_not_be_found_out_now_stays_pending(world, after_reports, answers):
    world.answers = list(answers)
    settlement = world.run(settlements.settle(after_reports, POLICY))
    assert (settlement.is_kept, settlement.is_refused) == (True, False)
    assert "Forget" not in world.log


def test_without_a_report_nothing_is_looked_into(world, pending):
    for answer in (FINALIZED, MISMATCH):
        world.answers = [answer]
        assert world.run(settlements.settle(pending, POLICY)).is_refused


# -- what goes along ---------------------------------------------------------------------------------------------------
def test_recovery_events_say_what_they_recover(world, pending):
    world.answers = [refusal(410, "RESERVATION_EXPIRED"), applied()]
    world.run(settlements.settle(pending, POLICY))
    assert world.calls[-1].arguments["body"].metadata == {
        "recovered_reservation_id": "res-1",
        "recovery_reason": "commit_after_reservation_expired",
    }
    assert world.records[1].metadata == world.calls[-1].arguments["body"].metadata, "every attempt sends the same"


def test_the_evidence_of_an_answer_is_kept(world, pending):
    evidence = {"evidence_id": "0" * 64, "cycles_evidence_url": "https://x/1"}
    for answer in (committed(), applied()):
        world.answers = [reply(answer.status, type(answer.parsed).from_dict(answer.parsed.to_dict()))]
        assert (
            world.run(settlements.settle(pending.as_event() if answer.status == 201 else pending, POLICY)).evidence
            is None
        )
    with_it = type(committed().parsed).from_dict(committed().parsed.to_dict() | {"cycles_evidence": evidence})
    world.answers = [reply(200, with_it)]
    assert world.run(settlements.settle(pending, POLICY)).evidence == evidence


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
