"""Lists, page by page: which pages are asked for, where a list ends, and which filters are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cycles._core import listings
from cycles._core.retry import NO_RETRY, RetryPolicy
from cycles.errors import (
    AuthorityUnavailable,
    Forbidden,
    InvalidRequest,
    UnexpectedResponse,
)
from cycles_api.models import (
    BalanceResponse,
)

from .world import GARBLED, LOST, NOT_SENT, refusal, reply

POLICY = RetryPolicy(max_attempts=4)
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def budgets(*scopes, **more):
    row = {"remaining": {"unit": "TOKENS", "amount": 1}}
    rows = [{**row, "scope": scope, "scope_path": scope} for scope in scopes]
    return reply(200, BalanceResponse.from_dict({"balances": rows, **more}))


def listed(world, listing, policy=POLICY):
    scopes = []
    while not listing.ended:
        scopes += [row.scope for row in world.run(listing.page(policy))]
    return scopes


def test_every_page_is_asked_for_with_the_same_filters(world):
    world.answers = [
        budgets("a", "b", has_more=True, next_cursor="1"),
        budgets(has_more=True, next_cursor="2"),
        budgets("c", has_more=False),
    ]
    assert listed(world, listings.balances({"tenant": "acme", "app": None}, page_size=2)) == ["a", "b", "c"]
    asked = {"tenant": "acme", "limit": 2}
    assert [call.arguments for call in world.calls] == [asked, {**asked, "cursor": "1"}, {**asked, "cursor": "2"}]


@pytest.mark.parametrize(
    ("last", "pages"),
    [
        ({}, 1),
        ({"has_more": False, "next_cursor": "1"}, 1),
        ({"next_cursor": ""}, 1),
        ({"next_cursor": "1"}, 2),
    ],
    ids=["silent", "no more, whatever the cursor", "empty cursor", "a cursor says more"],
)
def test_where_a_list_ends(world, last, pages):
    world.answers = [budgets("a", **last), budgets("b")]
    listed(world, listings.balances({"tenant": "acme"}))
    assert len(world.calls) == pages


@pytest.mark.parametrize(
    ("cursors", "said"),
    [(["1", "1"], "the same next_cursor twice"), (["1", "2", "1"], "the same next_cursor twice")],
)
def test_a_cursor_seen_before_ends_the_list(world, cursors, said):
    world.answers = [budgets(str(n), has_more=True, next_cursor=cursor) for n, cursor in enumerate(cursors)]
    listing, rows = listings.balances({"tenant": "acme"}), []
    for _ in cursors:
        rows += world.run(listing.page(POLICY))
    with pytest.raises(UnexpectedResponse, match=said):
        world.run(listing.page(POLICY))
    assert len(rows) == len(cursors)
    with pytest.raises(UnexpectedResponse, match="cut off"):
        world.run(listing.page(POLICY))


@pytest.mark.parametrize("cursor", [{}, {"next_cursor": ""}])
def test_more_without_a_cursor_ends_the_list(world, cursor):
    world.answers = [budgets("a", has_more=True, **cursor)]
    listing = listings.balances({"tenant": "acme"})
    assert len(world.run(listing.page(POLICY))) == 1
    with pytest.raises(UnexpectedResponse, match="gives no next_cursor"):
        world.run(listing.page(POLICY))


def test_empty_pages_for_ever_end_the_list(world):
    world.answers = [budgets(has_more=True, next_cursor=str(n)) for n in range(2000)]
    with pytest.raises(UnexpectedResponse, match="pages in a row were empty"):
        listed(world, listings.balances({"tenant": "acme"}))
    assert len(world.calls) == 1000


def test_empty_pages_between_others_are_fine(world):
    more = [budgets(*([str(n)] if n % 900 == 0 else []), has_more=True, next_cursor=str(n)) for n in range(2000)]
    world.answers = [*more, budgets()]
    assert listed(world, listings.balances({"tenant": "acme"})) == ["0", "900", "1800"]


def test_a_lost_page_is_asked_for_again(world):
    world.answers = [budgets("a", has_more=True, next_cursor="1"), LOST, GARBLED, NOT_SENT, budgets("b")]
    assert listed(world, listings.balances({"tenant": "acme"})) == ["a", "b"]
    assert [call.arguments.get("cursor") for call in world.calls] == [None, "1", "1", "1", "1"]


def test_a_page_that_failed_can_be_asked_for_again(world):
    world.answers = [budgets("a", has_more=True, next_cursor="1"), LOST, refusal(403, "FORBIDDEN"), budgets("b")]
    listing = listings.balances({"tenant": "acme"})
    assert len(world.run(listing.page(NO_RETRY))) == 1
    with pytest.raises(AuthorityUnavailable):
        world.run(listing.page(NO_RETRY))
    with pytest.raises(Forbidden):
        world.run(listing.page(NO_RETRY))
    assert [row.scope for row in world.run(listing.page(NO_RETRY))] == ["b"]
    assert listing.ended


def test_all_filters_of_reservations_arrive():
    hour = timedelta(hours=1)
    listing = listings.reservations(
        {"tenant": "acme", "agent": "planner", "app": None},
        NOW,
        status="ACTIVE",
        idempotency_key="k",
        created=(hour, None),
        expires=(None, hour),
        finalized=(NOW, "2026-02-01T12:00:00+02:00"),
        sort_by="reserved",
        sort_dir="asc",
        include=("metadata",),
        page_size=200,
    )
    assert listing._filters == {
        "tenant": "acme",
        "agent": "planner",
        "status": "ACTIVE",
        "idempotency_key": "k",
        "from_": NOW - hour,
        "expires_to": NOW + hour,
        "finalized_from": NOW,
        "finalized_to": NOW + timedelta(hours=22),
        "sort_by": "reserved",
        "sort_dir": "asc",
        "include": ["metadata"],
        "limit": 200,
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("page_size", 0),
        ("page_size", 201),
        ("page_size", True),
        ("page_size", 2.0),
        ("status", "active"),
        ("status", 5),
        ("sort_by", "age"),
        ("sort_dir", "down"),
        ("include", "metadata"),
        ("include", ["a,b"]),
        ("include", 5),
        ("idempotency_key", ""),
        ("created", NOW),
        ("created", (NOW,)),
        ("created", "2026-01-31T12:00:00Z"),
    ],
)
def test_what_can_not_be_asked_names_field_and_value(field, value):
    with pytest.raises(InvalidRequest) as caught:
        listings.reservations({"tenant": "acme"}, NOW, **{field: value})
    assert str(caught.value).startswith(f"{field}=")


def test_balances_need_a_level():
    with pytest.raises(InvalidRequest, match="CYCLES_TENANT"):
        listings.balances({"tenant": None})
    with pytest.raises(InvalidRequest, match="include_children='yes'"):
        listings.balances({"tenant": "acme"}, include_children="yes")
