"""Answers that contradict their request prove nothing (docs/protocol.md, Answers that contradict the request)."""

from __future__ import annotations

import pytest

import cycles
from cycles import tokens, usd
from cycles._core import flows, listings, queries, settlements
from cycles._core.operations import COMMIT_RESERVATION
from cycles._core.outcomes import error_of
from cycles._core.records import Pending
from cycles._core.requests import terms
from cycles._core.retry import NO_RETRY
from cycles_api import models

from .world import committed, granted, refusal, reply

SEVEN = {"unit": "TOKENS", "amount": 7}
TERMS = terms(tokens(7), action=("k", "n"), levels={"tenant": "acme"})
BAD_IDS = ["", "x" * 129, "x" * (1 << 20), "\ud800", "a\nb", "\x7f", " "]


def found(key, **changes):
    row = {
        "reservation_id": "res-1",
        "status": "ACTIVE",
        "subject": {"tenant": "acme"},
        "action": {"kind": "k", "name": "n"},
        "reserved": SEVEN,
        "created_at_ms": 1,
        "expires_at_ms": 60_000,
        "scope_path": "tenant:acme",
        "affected_scopes": ["tenant:acme"],
        "idempotency_key": key,
    }
    return reply(200, models.ReservationListResponse.from_dict({"reservations": [row | changes], "has_more": False}))


@pytest.mark.parametrize(
    "changes",
    [
        {"reserved": {"unit": "TOKENS", "amount": 8}},
        {"reserved": {"unit": "TOKENS", "amount": 6}},
        {"reserved": {"unit": "CREDITS", "amount": 7}},
        *({"reservation_id": bad} for bad in BAD_IDS),
    ],
)
def test_a_contradictory_grant_is_no_grant_and_its_hold_is_looked_for(world, changes):
    asking = flows.Asking()
    world.answers = [granted(**changes), granted(**changes), found("key-1", **changes)]
    with pytest.raises(cycles.UnexpectedResponse, match="contradicts the request"):
        world.run(flows.reserve(TERMS, NO_RETRY, asking=asking))
    assert world.log == ["create_reservation", "create_reservation", "list_reservations"]
    assert world.keys_sent == ["key-1", "key-1"]
    # What holds another amount is left to be given back; what has no usable id can't be named.
    assert asking.unclaimed == ("key-1" if "reserved" in changes else None)


def test_what_is_found_agrees_or_is_not_used(world):
    world.answers = [granted(reservation_id=""), granted(reservation_id=""), found("key-1")]
    assert world.run(flows.reserve(TERMS, NO_RETRY)).response.reservation_id == "res-1"


def test_a_reserve_that_says_what_was_asked_for_is_a_grant(world):
    world.answers = [granted(reserved=SEVEN, reservation_id="x" * 128)]
    assert world.run(flows.reserve(TERMS, NO_RETRY)).response.reserved.amount == 7


@pytest.mark.parametrize("by_event", [False, True])
@pytest.mark.parametrize("charged", [{"unit": "TOKENS", "amount": 8}, {"unit": "CREDITS", "amount": 7}])
def test_a_charge_of_something_else_leaves_the_settlement_pending(world, charged, by_event):
    pending = Pending(
        reservation_id=None if by_event else "res-1",
        terms=TERMS,
        actual=tokens(7),
        key="k",
        metrics=None,
        metadata=None,
        by_event=by_event,
    )
    body = {"status": "APPLIED", "event_id": "e", "charged": charged}
    wrong = (
        reply(201, models.EventCreateResponse.from_dict(body))
        if by_event
        else reply(200, models.CommitResponse.from_dict({"status": "COMMITTED", "charged": charged}))
    )
    world.answers = [wrong]
    settlement = world.run(settlements.settle(pending, NO_RETRY))
    assert settlement.state is cycles.State.UNSETTLED
    assert settlement.is_kept
    assert isinstance(settlement.error, cycles.UnexpectedResponse)
    assert "Forget" not in world.log


@pytest.mark.parametrize(
    ("charged", "released", "shown"),
    [(5, {"unit": "TOKENS", "amount": 2}, 2), (5, {"unit": "TOKENS", "amount": 3}, None), (5, None, None),
     (5, {"unit": "CREDITS", "amount": 2}, None), (7, {"unit": "TOKENS", "amount": 0}, 0)],
)  # fmt: skip
def test_what_was_released_is_shown_when_it_can_be_true(world, charged, released, shown):
    body = {"status": "COMMITTED", "charged": {"unit": "TOKENS", "amount": charged}}
    body |= {} if released is None else {"released": released}
    world.answers = [reply(200, models.CommitResponse.from_dict(body))]
    pending = Pending(reservation_id="res-1", terms=TERMS, actual=tokens(7), key="k", metrics=None, metadata=None)
    settlement = world.run(settlements.settle(pending, NO_RETRY))
    assert settlement.state is cycles.State.COMMITTED
    assert (settlement.released and settlement.released.amount) == shown


def test_less_may_be_charged_than_was_asked_for(world):
    world.answers = [committed(3)]
    pending = Pending(reservation_id="res-1", terms=TERMS, actual=tokens(7), key="k", metrics=None, metadata=None)
    assert world.run(settlements.settle(pending, NO_RETRY)).charged == tokens(3)


def test_another_reservation_is_no_answer(world):
    detail = object.__new__(models.ReservationDetail)
    detail.reservation_id = "res-2"
    world.answers = [reply(200, detail)]
    with pytest.raises(cycles.UnexpectedResponse, match="about another reservation"):
        world.run(queries.reservation("res-1", NO_RETRY))


@pytest.mark.parametrize("cursor", ["\ud800", "x" * 4097, "a\0"])
def test_a_cursor_that_can_not_be_sent_back_ends_the_list(world, cursor):
    page = models.BalanceResponse.from_dict({"balances": [], "has_more": True, "next_cursor": cursor})
    world.answers = [reply(200, page)]
    listing = listings.balances({"tenant": "acme"})
    assert world.run(listing.page(NO_RETRY)) == []
    with pytest.raises(cycles.UnexpectedResponse, match="can't be sent back"):
        world.run(listing.page(NO_RETRY))


def test_an_authoritys_message_is_repeated_in_part_and_printable():
    said = str(error_of(COMMIT_RESERVATION, refusal(400, "INVALID_REQUEST", "\ud800" + "x" * 5000)))
    assert len(said) < 1200
    said.encode()


def test_units_are_named(world):
    world.answers = [granted(reserved=SEVEN)] * 2 + [found("key-1")]
    with pytest.raises(cycles.UnexpectedResponse, match=r"7 TOKENS"):
        world.run(flows.reserve(terms(usd(1), action=("k", "n"), levels={"tenant": "acme"}), NO_RETRY))
