"""Decide, record and look up, against scripted answers: what is sent, how often, and what comes of it."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest

from cycles._core import queries
from cycles._core.retry import RetryPolicy
from cycles.amounts import tokens
from cycles.errors import (
    AuthorityUnavailable,
    BudgetExceeded,
    Forbidden,
    IdempotencyMismatch,
    InternalError,
    NotFound,
    ReservationExpired,
    SettlementPending,
    UnexpectedResponse,
)
from cycles_api.models import (
    DecisionResponse,
    EventCreateResponse,
    ReservationDetail,
    StandardMetrics,
)

from .world import GARBLED, LOST, applied, refusal, reply

POLICY = RetryPolicy(max_attempts=4)
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def decided(**body):
    return reply(200, DecisionResponse.from_dict({"decision": "ALLOW", **body}), x_request_id="req-7")


# -- decide ------------------------------------------------------------------------------------------------------------
def test_an_allowed_decision(world, wanted):
    world.answers = [decided(decision="ALLOW_WITH_CAPS", caps={"max_tokens": 5}, affected_scopes=["tenant:acme"])]
    decision = world.run(queries.decide(wanted, POLICY))
    assert decision.allowed
    assert bool(decision)
    assert decision.caps.max_tokens == 5
    assert decision.affected_scopes == ("tenant:acme",)
    assert decision.info.request_id == "req-7"
    assert repr(decision) == "<Decision ALLOW_WITH_CAPS>"
    assert world.calls[0].arguments["body"].estimate == wanted.estimate
    assert world.notes == ["decided"]


@pytest.mark.parametrize("said", ["DENY", "ALLOW_ON_TUESDAYS", "allow"])
def test_all_but_the_two_known_grants_are_denials(world, wanted, said):
    world.answers = [decided(decision=said, reason_code="NEW_REASON", retry_after_ms=1500)]
    decision = world.run(queries.decide(wanted, POLICY))
    assert not decision.allowed
    assert not decision
    assert (decision.decision, decision.reason_code, decision.retry_after) == (said, "NEW_REASON", 1.5)


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [(404, "NOT_FOUND", "BUDGET_NOT_FOUND"), (409, "BUDGET_EXCEEDED", "BUDGET_EXCEEDED"), (409, "NEW", "NEW")],
)
def test_a_denial_by_an_error_is_a_value_too(world, wanted, status, code, reason):
    world.answers = [refusal(status, code)]
    decision = world.run(queries.decide(wanted, POLICY))
    assert not decision.allowed
    assert (decision.decision, decision.reason_code) == ("DENY", reason)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(refusal(403, "FORBIDDEN"), Forbidden), (refusal(409, "IDEMPOTENCY_MISMATCH"), IdempotencyMismatch)],
)
def test_a_decision_that_can_not_be_had_raises(world, wanted, answer, error):
    world.answers = [answer]
    with pytest.raises(error):
        world.run(queries.decide(wanted, POLICY))


def test_a_lost_decision_is_asked_for_again_under_its_key(world, wanted):
    world.answers = [LOST, GARBLED, decided()]
    assert world.run(queries.decide(wanted, POLICY)).allowed
    assert world.keys_sent == ["key-1"] * 3


# -- record ------------------------------------------------------------------------------------------------------------
def test_a_record_charges_what_it_was_given(world, wanted):
    world.answers = [applied()]
    settlement = world.run(queries.record(wanted, StandardMetrics(tokens_input=3), POLICY))
    assert (settlement.state, settlement.via, settlement.charged, settlement.attempts) == (
        "COMMITTED",
        "event",
        tokens(10),
        1,
    )
    body = world.calls[0].arguments["body"]
    assert (body.actual, body.subject.tenant, body.metrics.tokens_input) == (tokens(10), "acme", 3)
    assert world.notes == ["recorded"]


def test_a_lost_record_keeps_its_key(world, wanted):
    """Another key would be another charge."""
    throttled = refusal(429, "LIMIT_EXCEEDED", retry_after="2")
    world.answers = [LOST, refusal(500, "INTERNAL_ERROR"), throttled, applied()]
    assert world.run(queries.record(wanted, None, POLICY, key="mine")).attempts == 4
    assert world.keys_sent == ["mine"] * 4
    assert world.sleeps[2] >= 2.0


@pytest.mark.parametrize(
    ("answer", "error"),
    [(LOST, AuthorityUnavailable), (refusal(500, "INTERNAL_ERROR"), InternalError), (GARBLED, UnexpectedResponse)],
)
def test_a_record_whose_answer_stays_unknown_raises_and_names_its_key(world, wanted, answer, error):
    world.answers, world.keeps = [answer] * 4, False
    with pytest.raises(error) as caught:
        world.run(queries.record(wanted, None, POLICY))
    assert world.keys_sent == ["key-1"] * 4
    assert "key-1" in caught.value.__notes__[0]
    assert "key-1" in pickle.loads(pickle.dumps(caught.value)).__notes__[0]


def test_a_record_whose_answer_stays_unknown_says_that_the_journal_holds_it(world, wanted):
    world.answers = [LOST] * 4
    with pytest.raises(SettlementPending, match="do not charge it again") as caught:
        world.run(queries.record(wanted, None, POLICY))
    assert world.log == ["Record", *["create_event"] * 4]
    assert [(told.outcome, told.attempts) for told in world.told] == [("pending", 4)]
    assert isinstance(caught.value.__cause__, AuthorityUnavailable)


def test_a_status_of_tomorrow_is_no_proof_of_a_charge(world, wanted):
    queued = reply(201, EventCreateResponse.from_dict({"status": "QUEUED", "event_id": "e"}))
    world.answers = [queued, applied()]
    assert world.run(queries.record(wanted, None, POLICY)).attempts == 2
    world.answers, world.keeps = [queued] * 4, False
    with pytest.raises(UnexpectedResponse):
        world.run(queries.record(wanted, None, POLICY))


def test_a_refused_record_raises_at_once(world, wanted):
    world.answers = [refusal(409, "BUDGET_EXCEEDED")]
    with pytest.raises(BudgetExceeded) as caught:
        world.run(queries.record(wanted, None, POLICY))
    assert not hasattr(caught.value, "__notes__")


# -- one reservation ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(410, "RESERVATION_EXPIRED"), ReservationExpired),
        (refusal(404, "NOT_FOUND"), NotFound),
        (reply(410, None), ReservationExpired),
    ],
)
def test_a_reservation_that_is_not_there(world, answer, error):
    world.answers = [LOST, answer]
    with pytest.raises(error):
        world.run(queries.reservation("res-1", POLICY))
    assert [call.arguments for call in world.calls] == [{"reservation_id": "res-1"}] * 2


def test_a_reservation_is_the_generated_model(world):
    detail = ReservationDetail.__new__(ReservationDetail)
    detail.reservation_id = "res-1"
    world.answers = [reply(200, detail)]
    assert world.run(queries.reservation("res-1", POLICY)) is detail
