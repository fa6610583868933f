"""Fetching evidence, against scripted answers: what is asked again, how often, and what comes of it."""

from __future__ import annotations

import pytest

from cycles._core import evidence_flows
from cycles._core.outcomes import Answer, Trouble
from cycles._core.retry import NO_RETRY, RetryPolicy
from cycles.errors import AuthorityUnavailable, InternalError, NotFound, RateLimited, UnexpectedResponse

from .world import LOST, refusal

POLICY = RetryPolicy(max_attempts=3, initial_delay=1.0)
ID = "a" * 64
THERE = Answer(status=200, parsed=object(), content=b"{}")
GONE = refusal(404, "NOT_FOUND")


def test_a_fresh_one_is_awaited_for_a_moment(world):
    world.answers = [GONE, GONE, THERE]
    assert world.run(evidence_flows.envelope(ID, POLICY)) == b"{}"
    assert [dict(call.arguments) for call in world.calls] == [{"evidence_id": ID}] * 3
    assert world.sleeps == [0.5, 1.0]


def test_and_not_for_ever(world):
    for policy, times in ((POLICY, 3), (NO_RETRY, 1)):
        world.answers, world.calls = [GONE] * times, []
        with pytest.raises(NotFound):
            world.run(evidence_flows.envelope(ID, policy))
        assert len(world.calls) == times


def test_trouble_is_tried_again(world):
    world.answers = [LOST, refusal(503, "INTERNAL_ERROR"), THERE]
    assert world.run(evidence_flows.envelope(ID, POLICY)) == b"{}"
    world.answers = [refusal(429, "LIMIT_EXCEEDED", retry_after="2"), THERE]
    assert world.run(evidence_flows.key_set(POLICY)) == b"{}"
    assert world.sleeps[-1] == 2.5


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (LOST, AuthorityUnavailable),
        (refusal(500, "INTERNAL_ERROR"), InternalError),
        (refusal(429, "LIMIT_EXCEEDED", retry_after="3600"), RateLimited),
        (Answer(status=204), UnexpectedResponse),
    ],
)
def test_what_stays_trouble_is_raised(world, answer, kind):
    for flow in (evidence_flows.envelope(ID, POLICY), evidence_flows.key_set(POLICY)):
        world.answers = [answer] * 3
        with pytest.raises(kind):
            world.run(flow)


def test_what_does_not_fit_its_schema_is_for_the_verification_to_judge(world):
    world.answers = [Answer(status=200, trouble=Trouble.UNREADABLE, reason="DecodeError", content=b"[]")]
    assert world.run(evidence_flows.envelope(ID, POLICY)) == b"[]"


def test_a_server_without_a_key_set_is_asked_once(world):
    world.answers = [GONE]
    with pytest.raises(NotFound):
        world.run(evidence_flows.key_set(POLICY))
    assert len(world.calls) == 1


def test_it_may_be_asked_elsewhere(world):
    world.answers = [THERE, THERE]
    world.run(evidence_flows.envelope(ID, POLICY, client="there"))
    world.run(evidence_flows.key_set(POLICY, client="there"))
    assert [call.arguments["client"] for call in world.calls] == ["there"] * 2
