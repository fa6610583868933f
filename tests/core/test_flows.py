"""The choreographies, effect by effect, in a world that the test owns."""

from __future__ import annotations

import pytest

import cycles
from cycles._core import flows
from cycles._core.lifecycle import State
from cycles._core.retry import NO_RETRY, RetryPolicy
from cycles.amounts import tokens
from cycles_api.models import ReservationListResponse

from .world import GARBLED, LOST, NOT_SENT, granted, refusal, released, reply

POLICY = RetryPolicy(max_attempts=3, initial_delay=1.0, multiplier=2.0, max_delay=30.0)


# -- reserve -----------------------------------------------------------------------------------------------------------
def test_a_grant_is_returned_after_one_request(world, wanted):
    world.answers = [granted()]
    grant = world.run(flows.reserve(wanted, POLICY))
    assert grant.response.reservation_id == "res-1"
    assert world.keys_sent == ["key-1"]


@pytest.mark.parametrize("first", [LOST, NOT_SENT, GARBLED, refusal(503, "INTERNAL_ERROR"), refusal(500, "?")])
def test_an_ambiguous_create_is_sent_once_more_at_once_under_the_same_key(world, wanted, first):
    world.answers = [first, granted()]
    world.run(flows.reserve(wanted, POLICY))
    assert world.keys_sent == ["key-1", "key-1"]
    assert world.sleeps == []


def test_a_reservation_whose_answers_were_lost_is_found_by_its_key(world, wanted):
    row = {
        "reservation_id": "res-9",
        "status": "ACTIVE",
        "idempotency_key": "key-1",
        "subject": {"tenant": "acme"},
        "action": {"kind": "llm.completion", "name": "gpt-4o"},
        "reserved": {"unit": "TOKENS", "amount": 10},
        "created_at_ms": 1,
        "expires_at_ms": 2,
        "scope_path": "tenant:acme",
        "affected_scopes": ["tenant:acme"],
    }
    rows = [row | {"idempotency_key": "other", "reservation_id": "x"}, row]
    found = ReservationListResponse.from_dict({"reservations": rows})
    world.answers = [LOST, LOST, reply(200, found)]
    grant = world.run(flows.reserve(wanted, POLICY))
    assert grant.response.reservation_id == "res-9"
    assert world.calls[-1].arguments == {"idempotency_key": "key-1", "limit": 1}


@pytest.mark.parametrize("row_status", ["RELEASED", "EXPIRED", "SOMETHING_NEW", None])
def test_only_a_live_reservation_is_recovered(world, wanted, row_status):
    rows = []
    if row_status is not None:
        rows = [
            {
                "reservation_id": "res-9",
                "status": row_status,
                "idempotency_key": "key-1",
                "subject": {"tenant": "acme"},
                "action": {"kind": "k", "name": "n"},
                "reserved": {"unit": "TOKENS", "amount": 10},
                "created_at_ms": 1,
                "expires_at_ms": 2,
                "scope_path": "tenant:acme",
                "affected_scopes": ["tenant:acme"],
            }
        ]
    world.answers = [LOST, LOST, reply(200, ReservationListResponse.from_dict({"reservations": rows}))]
    with pytest.raises(cycles.AuthorityUnavailable, match="ReadTimeout"):
        world.run(flows.reserve(wanted, POLICY))


def test_a_request_that_never_left_is_not_searched_for(world, wanted):
    world.answers = [NOT_SENT, NOT_SENT]
    with pytest.raises(cycles.AuthorityUnavailable, match="ConnectError"):
        world.run(flows.reserve(wanted, POLICY))
    assert len(world.calls) == 2


def test_a_denial_is_not_retried_without_wait(world, wanted):
    world.answers = [refusal(409, "BUDGET_EXCEEDED", "tenant:acme has 3 left")]
    with pytest.raises(cycles.BudgetExceeded, match="3 left"):
        world.run(flows.reserve(wanted, POLICY))
    assert world.sleeps == []


def test_wait_keeps_asking_under_the_same_key_until_there_is_budget(world, wanted):
    world.answers = [refusal(409, "BUDGET_EXCEEDED"), refusal(429, "LIMIT_EXCEEDED", retry_after="2"), granted()]
    grant = world.run(flows.reserve(wanted, POLICY, wait=60.0))
    assert grant.response.reservation_id == "res-1"
    assert world.keys_sent == ["key-1"] * 3
    assert world.sleeps[0] == 0.5
    assert world.sleeps[1] >= 2.0


def test_wait_ends_at_its_bound_and_never_spins(world, wanted):
    world.jitter = 0.0
    world.answers = [refusal(409, "BUDGET_EXCEEDED") for _ in range(1000)]
    with pytest.raises(cycles.BudgetExceeded):
        world.run(flows.reserve(wanted, POLICY, wait=1.0))
    assert sum(world.sleeps) == pytest.approx(1.0)
    assert min(world.sleeps[:-1]) >= 0.05


@pytest.mark.parametrize("code", ["BUDGET_CLOSED", "TENANT_CLOSED"])
def test_waiting_is_not_tried_where_it_can_not_help(world, wanted, code):
    world.answers = [refusal(409, code)]
    with pytest.raises(cycles.Denied):
        world.run(flows.reserve(wanted, POLICY, wait=60.0))


def test_a_retry_after_beyond_the_wait_is_not_waited_for(world, wanted):
    world.answers = [refusal(429, "LIMIT_EXCEEDED", retry_after="61")]
    with pytest.raises(cycles.RateLimited) as caught:
        world.run(flows.reserve(wanted, POLICY, wait=60.0))
    assert caught.value.retry_after == 61.0
    assert world.sleeps == []


def test_a_stored_deny_is_asked_again_under_a_new_key(world, wanted):
    """A 200 DENY is a success that the authority stores: its key would only replay it."""
    deny = granted(decision="DENY", reason_code="BUDGET_EXCEEDED", retry_after_ms=1500)
    world.answers = [deny, granted()]
    world.run(flows.reserve(wanted, POLICY, wait=60.0))
    assert world.keys_sent == ["key-1", "key-2"]
    assert world.sleeps == [1.5]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"decision": "DENY", "reason_code": "BUDGET_FROZEN"}, cycles.BudgetFrozen),
        ({"decision": "DENY", "reason_code": "A_REASON_OF_TOMORROW"}, cycles.Denied),
        ({"decision": "DENY"}, cycles.Denied),
        ({"decision": "PERHAPS"}, cycles.Denied),
    ],
)
def test_whatever_is_no_allow_is_a_denial(world, wanted, changes, error):
    world.answers = [granted(**changes)]
    with pytest.raises(error) as caught:
        world.run(flows.reserve(wanted, POLICY))
    assert type(caught.value) is error
    assert caught.value.affected_scopes == ("tenant:acme",)


@pytest.mark.parametrize("decision", ["DENY", "MAYBE"])
def test_no_other_decision_without_an_id_is_a_grant(world, wanted, decision):
    world.answers = [granted(reservation_id=None, decision=decision)]
    with pytest.raises(cycles.Denied):
        world.run(flows.reserve(wanted, POLICY))


def test_no_budget_names_the_unit_that_was_sent(world, wanted):
    world.answers = [refusal(404, "NOT_FOUND", "Budget not found for provided scope: tenant:acme")]
    with pytest.raises(cycles.BudgetNotFound, match="unit sent was TOKENS"):
        world.run(flows.reserve(wanted, POLICY))


# -- release -----------------------------------------------------------------------------------------------------------
def test_release_gives_back_and_says_so(world):
    world.answers = [LOST, released()]
    settlement = world.run(flows.release("res-1", "why", POLICY))
    assert (settlement.state, settlement.released) == (State.RELEASED, tokens(7))
    assert world.keys_sent == ["key-1"] * 2
    assert world.calls[0].arguments["body"].reason == "why"


def test_release_trouble_is_told_and_not_raised(world):
    world.answers = [refusal(410, "RESERVATION_EXPIRED")]
    settlement = world.run(flows.release("res-1", None, NO_RETRY))
    assert settlement.state is State.EXPIRED
    assert isinstance(settlement.error, cycles.ReservationExpired)
    assert "release failed" in world.notes


def test_extend_raises_what_the_authority_says(world):
    world.answers = [refusal(409, "MAX_EXTENSIONS_EXCEEDED")]
    with pytest.raises(cycles.MaxExtensionsExceeded):
        world.run(flows.extend("res-1", 1000, POLICY))
