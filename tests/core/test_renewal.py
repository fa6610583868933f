"""Keeping a lease, attempt by attempt (docs/protocol.md, Heartbeat)."""

from __future__ import annotations

import pytest

from cycles._core.grant import Grant
from cycles._core.lifecycle import State
from cycles._core.outcomes import Answer
from cycles._core.renewal import Heart, beat
from cycles._core.requests import terms
from cycles._core.retry import NO_RETRY
from cycles._core.section import Section
from cycles.amounts import tokens
from cycles_api.models import ReservationExtendResponse

from .world import GARBLED, LOST, NOT_SENT, granted, refusal, reply


def section(ttl: float | None = 60.0, **changes):
    grant = granted(**changes)
    wanted = terms(tokens(10), action=("llm.completion", "gpt-4o"), levels={"tenant": "acme"}, ttl=ttl)
    return Section(wanted, Grant(grant.parsed, {}, sent_at=100.0, received_at=100.0), NO_RETRY)


def unmeasured(ttl: float = 60.0):
    """A section of an authority that does not say what is left."""
    bare = section(ttl)
    response = bare.grant.response
    response.remaining_ttl_ms = type(response)(decision="ALLOW", affected_scopes=[]).remaining_ttl_ms
    return bare


def extended(expires_at_ms: int = 120_000, at: float = 100.0, **remaining: int) -> Answer:
    body = {"status": "ACTIVE", "expires_at_ms": expires_at_ms, **remaining}
    answer = reply(200, ReservationExtendResponse.from_dict(body))
    return Answer(status=200, parsed=answer.parsed, sent_at=at, received_at=at)


def test_a_lease_is_renewed_two_attempts_and_a_margin_before_its_end(world):
    heart = Heart(section(), 7.0)
    assert heart.due == 100.0 + 60 - (2 * 7 + 1)


def test_each_renewal_asks_for_the_same_lease_under_a_new_key(world):
    heart = Heart(section(), 7.0)
    world.answers = [extended(remaining_ttl_ms=60_000), extended(180_000, remaining_ttl_ms=90_000)]
    assert world.run(beat(heart)) == 45.0
    assert world.run(beat(heart)) == 75.0
    assert world.keys_sent == ["key-1", "key-2"]
    assert [call.arguments["body"].extend_by_ms for call in world.calls] == [60_000, 60_000]
    assert [call.arguments["request_timeout"] for call in world.calls] == [7.0, 7.0]
    assert heart.section.expires_at_ms == 180_000


def test_without_a_lease_asked_for_the_authoritys_own_is_kept(world):
    heart = Heart(section(ttl=None), 7.0)
    world.answers = [extended(remaining_ttl_ms=60_000)]
    world.run(beat(heart))
    assert world.calls[0].arguments["body"].extend_by_ms == 60_000


@pytest.mark.parametrize("failure", [LOST, NOT_SENT, GARBLED, refusal(500, "INTERNAL_ERROR"), refusal(503, "?")])
def test_a_failed_attempt_is_made_again_under_the_same_key(world, failure):
    heart = Heart(section(), 7.0)
    world.now = 145.0
    world.answers = [failure, extended(remaining_ttl_ms=60_000), extended(remaining_ttl_ms=60_000)]
    assert world.run(beat(heart)) == pytest.approx(3.75)  # a quarter of the 15 s that are left
    world.now += 3.75
    assert world.run(beat(heart)) == 45.0
    world.run(beat(heart))
    assert world.keys_sent == ["key-1", "key-1", "key-2"]
    assert world.notes == ["renewal failed, retrying", "renewed", "renewed"]


def test_with_no_time_for_another_attempt_it_stops_and_the_lease_is_lost_when_it_runs_out(world):
    heart = Heart(section(), 7.0)
    world.now = 153.0
    world.answers = [LOST]
    assert world.run(beat(heart)) == 7.0
    assert heart.section.state is State.ACTIVE  # what is left may be used
    world.now += 7.0
    assert world.run(beat(heart)) is None
    assert heart.section.state is State.LOST
    assert world.notes == ["heartbeat stopped", "lease lost"]
    assert len(world.calls) == 1


def test_retry_after_is_waited_out_when_there_is_time_and_ends_it_when_not(world):
    heart = Heart(section(), 7.0)
    world.now = 145.0
    world.answers = [refusal(429, "LIMIT_EXCEEDED", retry_after="5")]
    assert world.run(beat(heart)) == 5.0
    world.now = 145.5
    world.answers = [refusal(429, "LIMIT_EXCEEDED", retry_after="60")]
    world.run(beat(heart))
    assert world.notes == ["renewal failed, retrying", "heartbeat stopped"]


@pytest.mark.parametrize(
    "answer",
    [
        refusal(410, "RESERVATION_EXPIRED"),
        refusal(409, "RESERVATION_FINALIZED"),
        refusal(409, "TENANT_CLOSED"),
        refusal(404, "NOT_FOUND"),
    ],
)
def test_a_hold_that_is_gone_is_lost_at_once(world, answer):
    heart = Heart(section(), 7.0)
    world.answers = [answer]
    assert world.run(beat(heart)) is None
    assert heart.section.state is State.LOST
    assert world.notes == ["lease lost"]


def test_who_asked_hears_that_a_lease_is_lost(world):
    told = []
    heart = Heart(section(), 7.0, lambda: told.append(heart.section.state))
    world.answers = [refusal(404, "NOT_FOUND")]
    world.run(beat(heart))
    assert told == [State.LOST]


@pytest.mark.parametrize(
    "answer",
    [
        refusal(409, "MAX_EXTENSIONS_EXCEEDED"),
        refusal(400, "INVALID_REQUEST"),
        refusal(401, "UNAUTHORIZED"),
        Answer(status=418),
    ],
)
def test_any_other_refusal_stops_the_heartbeat_and_leaves_what_is_left(world, answer):
    heart = Heart(section(), 7.0)
    world.now = 145.0
    world.answers = [answer]
    assert world.run(beat(heart)) == 15.0
    assert world.notes == ["heartbeat stopped"]
    assert len(set(world.keys_sent)) == 1


def test_a_lease_shorter_than_its_safety_budget_gets_two_answers_and_no_loop(world):
    heart = Heart(section(ttl=1.0, remaining_ttl_ms=1000), 7.0)
    assert heart.due == 100.0
    world.answers = [extended(remaining_ttl_ms=1000)]
    assert world.run(beat(heart)) == 1.0  # what is left, not another extension
    assert world.notes == ["heartbeat stopped"]
    world.run(beat(heart))
    assert len(world.calls) == 1


def test_a_section_that_ended_is_not_renewed(world):
    heart = Heart(section(), 7.0)
    heart.section._state = State.COMMITTED
    assert world.run(beat(heart)) is None
    assert world.calls == []


def test_a_section_that_ends_during_an_attempt_is_left_alone(world):
    heart = Heart(section(), 7.0)
    flow = beat(heart)
    next(flow)
    flow.send("key")
    heart.section._state = State.COMMITTED
    with pytest.raises(StopIteration) as end:
        flow.send(refusal(409, "RESERVATION_FINALIZED"))
    assert end.value.value is None
    assert heart.section.state is State.COMMITTED


# -- the fallback ------------------------------------------------------------------------------------------------------
def test_without_remaining_ttl_the_first_extension_leaves_at_once_and_measures_the_grant(world):
    heart = Heart(unmeasured(), 7.0)
    assert heart.due == 100.0
    world.answers = [extended(120_000)]
    assert world.run(beat(heart)) == 30.0  # half a grant of 60 s


def test_without_remaining_ttl_a_clamped_lead_is_held(world):
    heart = Heart(unmeasured(), 7.0)
    world.answers = [extended(60_000)]
    assert world.run(beat(heart)) == 30.0


def test_without_remaining_ttl_beats_are_skipped_while_the_lead_is_long(world):
    heart = Heart(unmeasured(), 7.0)
    world.answers = [extended(120_000, at=100.0), extended(180_000, at=101.0)]
    world.run(beat(heart))
    # 120 s were granted and 1 s went by: 29 s until the lead is 90 s, then half a grant
    assert world.run(beat(heart)) == 59.0


def test_without_remaining_ttl_a_failure_is_retried_under_the_same_key(world):
    heart = Heart(unmeasured(), 7.0)
    world.answers = [LOST, extended(120_000)]
    assert world.run(beat(heart)) == 15.0
    world.run(beat(heart))
    assert world.keys_sent == ["key-1", "key-1"]


def test_without_remaining_ttl_a_refusal_leaves_the_section_what_may_be_left_of_its_lease(world):
    """An authority that extends no more has not taken the hold away."""
    heart = Heart(unmeasured(), 7.0)
    world.now = 101.0
    world.answers = [refusal(409, "MAX_EXTENSIONS_EXCEEDED")]
    assert world.run(beat(heart)) == 59.0
    assert heart.section.state is State.ACTIVE
    world.now += 59.0
    assert world.run(beat(heart)) is None
    assert heart.section.lease_lost


def test_each_attempt_says_that_the_process_lives(world):
    beats = []
    heart = Heart(section(), 7.0, on_beat=lambda: beats.append(world.now))
    world.answers = [LOST, extended(remaining_ttl_ms=60_000)]
    world.run(beat(heart))
    world.run(beat(heart))
    assert len(beats) == 2


@pytest.mark.parametrize("answer", [refusal(401, "UNAUTHORIZED", "INTERNAL_ERROR"), refusal(500, "NOT_FOUND")])
def test_an_outage_is_retried_whatever_it_calls_itself(world, answer):
    heart = Heart(section(), 7.0)
    world.answers = [answer]
    assert world.run(beat(heart)) is not None
    assert not heart.is_stopped
    assert heart.section.state is State.ACTIVE


def test_a_refusal_that_nobody_can_understand_stops_it_and_the_lease_is_not_lost(world):
    heart = Heart(section(), 7.0)
    world.answers = [refusal(400, "RESERVATION_FINALIZED")]
    world.run(beat(heart))
    assert heart.is_stopped
    assert heart.section.state is State.ACTIVE
