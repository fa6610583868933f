"""Observing, as effects: one question, no hold that stays, and a section that runs whatever the answer is."""

from __future__ import annotations

import pytest

from cycles._core import section_flows
from cycles._core.flows import Asking
from cycles._core.lifecycle import State
from cycles._core.requests import terms
from cycles._core.retry import NO_RETRY
from cycles.amounts import tokens
from cycles.errors import AuthorityUnavailable, InvalidRequest, Unauthorized
from cycles_api.models import ErrorResponse

from .world import LOST, NOT_SENT, granted, refusal, released, reply

DETAIL = {"reason_code": "BUDGET_EXCEEDED", "blocked_by_scope": "tenant:acme", "budget_remaining": 3}
EVIDENCE = {"evidence_id": "0" * 64, "cycles_evidence_url": "https://x/1"}


@pytest.fixture
def observed():
    return terms(tokens(10), action=("k", "n"), levels={"tenant": "acme"}, observe=True)


def observing(**said):
    nothing_held = {"reservation_id": None, "expires_at_ms": None, "remaining_ttl_ms": None}
    return granted(**nothing_held | said)


def settles_nothing(world, section):
    asked = len(world.calls)
    world.run(section_flows.report(section, tokens(3), None, None))
    assert world.run(section_flows.commit(section, tokens(7))).state is State.OBSERVED
    assert world.run(section_flows.end(section)) is None
    return len(world.calls) == asked and world.records == []


def test_an_allowance_runs_and_settles_nothing(world, observed):
    world.answers = [observing()]
    section = world.run(section_flows.begin(observed, NO_RETRY, wait=60.0))
    body = world.calls[0].arguments["body"].to_dict()
    assert (body["observe_mode"], "dry_run" in body) == ("OBSERVE", False)
    assert (section.state, section.reservation_id, world.notes) == (State.OBSERVED, None, ["observing"])
    assert settles_nothing(world, section)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (observing(decision="DENY", reason_code="BUDGET_EXCEEDED", deny_detail=DETAIL), "BUDGET_EXCEEDED"),
        (
            reply(
                409,
                ErrorResponse.from_dict(
                    {
                        "error": "BUDGET_EXCEEDED",
                        "message": "no",
                        "request_id": "r",
                        "details": {"deny_detail": DETAIL},
                        "cycles_evidence": EVIDENCE,
                    }
                ),
            ),
            "BUDGET_EXCEEDED",
        ),
        (refusal(404, "NOT_FOUND"), "BUDGET_NOT_FOUND"),
    ],
    ids=["DENY", "409", "404"],
)
def test_a_denial_is_an_answer_and_the_section_runs(world, observed, answer, reason):
    world.answers = [answer]
    section = world.run(section_flows.begin(observed, NO_RETRY, wait=60.0))
    response = section.grant.response
    assert (section.state, response.decision, response.reason_code) == (State.OBSERVED, "DENY", reason)
    assert world.notes == ["observing, would be denied"]
    if reason == "BUDGET_EXCEEDED":
        assert response.deny_detail.to_dict() == DETAIL
    if answer.status == 409:
        assert response.cycles_evidence.to_dict() == EVIDENCE
    assert world.sleeps == []  # it is asked once
    assert settles_nothing(world, section)


def test_an_authority_that_reserved_all_the_same_gets_its_hold_back(world, observed):
    world.answers = [granted(), released()]
    asking = Asking()
    section = world.run(section_flows.begin(observed, NO_RETRY, asking=asking))
    assert [call.operation.name for call in world.calls] == ["create_reservation", "release_reservation"]
    assert world.calls[1].arguments["reservation_id"] == "res-1"
    assert (section.state, section.reservation_id, section.expires_at_ms) == (State.OBSERVED, None, None)
    assert asking.unclaimed is None
    assert settles_nothing(world, section)


def test_a_release_that_is_cut_off_is_left_to_the_background(world, observed):
    world.answers = [granted(), KeyboardInterrupt()]
    asking = Asking()
    with pytest.raises(KeyboardInterrupt):
        world.run(section_flows.begin(observed, NO_RETRY, asking=asking))
    assert asking.unclaimed == "key-1"
    world.answers = [granted(), KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        world.run(section_flows.begin(observed, NO_RETRY, key="mine", asking=Asking()))


def test_what_can_not_be_asked_is_an_error_unless_sections_may_run_unguarded(world, observed):
    for answers in ([NOT_SENT, NOT_SENT], [refusal(500, "INTERNAL_ERROR"), NOT_SENT, LOST]):
        world.answers = list(answers)
        with pytest.raises(AuthorityUnavailable):
            world.run(section_flows.begin(observed, NO_RETRY))
    world.answers = [NOT_SENT, NOT_SENT]
    section = world.run(section_flows.begin(observed, NO_RETRY, unguarded=True))
    assert section.state is State.OBSERVED
    assert settles_nothing(world, section)
    world.answers = [refusal(401, "UNAUTHORIZED")]
    with pytest.raises(Unauthorized):
        world.run(section_flows.begin(observed, NO_RETRY, unguarded=True))


def test_what_is_given_is_checked():
    for given in ({"observe": 1}, {"observe": True, "dry_run": True}):
        with pytest.raises(InvalidRequest, match="observe"):
            terms(tokens(10), action=("k", "n"), levels={"tenant": "acme"}, **given)
