"""Decide, record, look up and list, against scripted answers: what is sent, how often, and what comes of it."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cycles._core import listings, queries
from cycles._core.response_info import ResponseInfo
from cycles._core.retry import NO_RETRY, RetryPolicy
from cycles._core.windows import window
from cycles.amounts import tokens
from cycles.errors import (
    AuthorityUnavailable,
    BudgetExceeded,
    Forbidden,
    IdempotencyMismatch,
    InternalError,
    InvalidRequest,
    NotFound,
    ReservationExpired,
    SettlementPending,
    UnexpectedResponse,
)
from cycles_api.models import (
    BalanceResponse,
    DecisionResponse,
    EventCreateResponse,
    ReservationDetail,
    StandardMetrics,
)

from .world import GARBLED, LOST, NOT_SENT, applied, refusal, reply

POLICY = RetryPolicy(max_attempts=4)
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def decided(**body):
    return reply(200, DecisionResponse.from_dict({"decision": "ALLOW", **body}), x_request_id="req-7")


def budgets(*scopes, **more):
    row = {"remaining": {"unit": "TOKENS", "amount": 1}}
    rows = [{**row, "scope": scope, "scope_path": scope} for scope in scopes]
    return reply(200, BalanceResponse.from_dict({"balances": rows, **more}))


def listed(world, listing, policy=POLICY):
    scopes = []
    while not listing.ended:
        scopes += [row.scope for row in world.run(listing.page(policy))]
    return scopes


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
    world.answers = [reply(200, detail)]
    assert world.run(queries.reservation("res-1", POLICY)) is detail


# -- lists -------------------------------------------------------------------------------------------------------------
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


# -- windows -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (NOW, NOW),
        (NOW.astimezone(timezone(timedelta(hours=5))), NOW),
        (timedelta(hours=1), NOW - timedelta(hours=1)),
        (timedelta(hours=-1), NOW + timedelta(hours=1)),
        ("2026-01-31T12:00:00Z", NOW),
        ("2026-01-31T14:00:00+02:00", NOW),
        (" 20260131T12Z ", NOW),
        ("31 Jan 2026 12:00 UTC", NOW),
        ("Jan 31, 2026 2pm +02:00", NOW),
        ("Sat, 31 Jan 2026 12:00:00 GMT", NOW),
        (None, None),
    ],
)
def test_what_a_time_means(value, meant):
    low, high = window("created", (value, None), NOW)
    assert (low, high) == (meant, None)
    assert low is None or low.tzinfo is UTC


def test_a_timedelta_looks_ahead_for_expiries():
    minute = timedelta(minutes=1)
    assert window("expires", (-minute, minute), NOW, ahead=True) == (NOW - minute, NOW + minute)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (datetime(2026, 1, 31), "add the offset from UTC, such as tzinfo=datetime.UTC"),  # noqa: DTZ001 - what is refused
        ("2026-01-31T12:00:00", "add the offset"),
        ("2026-01-31", "add the offset"),
        ("31 Jan 2026 12:00", "add the offset"),
        ("31 Jan 2026 12:00 CET", "add the offset"),
        ("31 Jan 2026 12:00 GMT+3", "read in two ways"),
        ("12:00Z", "names no full day"),
        ("Feb 2026 12:00Z", "names no full day"),
        ("yesterday", "not a time that can be read"),
        ("", "not a time that can be read"),
        (date(2026, 1, 31), "give a datetime with its offset"),
        (5, "give a datetime with its offset"),
        (timedelta(days=10**8), "outside the years"),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))), "outside the years"),
    ],
)
def test_a_time_that_means_nothing_certain_is_refused(value, said):
    with pytest.raises(InvalidRequest, match=said) as caught:
        window("created", (None, value), NOW)
    assert str(caught.value).startswith(f"created to={value!r}")


def test_a_window_ends_after_it_starts():
    with pytest.raises(InvalidRequest, match="is after to"):
        window("created", (timedelta(hours=1), timedelta(hours=2)), NOW)


@given(
    st.text()
    | st.from_regex(r"[0-9 ]{1,4}[-/ ](Jan|[0-9]{1,2})[-/ ][0-9]{2,4} ?[0-9:]{0,8} ?[A-Za-z+-]{0,4}[0-9:]{0,5}")
)
def test_any_text_is_an_instant_or_refused(text):
    try:
        low, _ = window("created", (text, None), NOW)
    except InvalidRequest:
        return
    assert low is not None
    assert low.tzinfo is UTC


# -- headers -----------------------------------------------------------------------------------------------------------
def test_what_the_headers_say():
    headers = {
        "x-request-id": "req-1",
        "x-cycles-trace-id": "ab" * 16,
        "x-cycles-tenant": "acme",
        "x-ratelimit-remaining": "3",
        "x-ratelimit-reset": "1800000000",
    }
    info = ResponseInfo(headers)
    assert (info.request_id, info.trace_id, info.tenant) == ("req-1", "ab" * 16, "acme")
    assert (info.rate_limit_remaining, info.rate_limit_reset) == (3, 1_800_000_000)
    assert info == ResponseInfo(headers) == pickle.loads(pickle.dumps(info))
    assert hash(info) == hash(ResponseInfo(headers))
    assert info != ResponseInfo({})
    assert repr(ResponseInfo({})) == "<ResponseInfo>"
    assert "tenant='acme'" in repr(info)
    with pytest.raises(AttributeError, match="frozen"):
        info.tenant = "other"


@given(st.text(), st.text())
def test_any_header_is_read(identifier, number):
    info = ResponseInfo(
        dict.fromkeys(("x-request-id", "x-cycles-trace-id", "x-cycles-tenant"), identifier)
        | dict.fromkeys(("x-ratelimit-remaining", "x-ratelimit-reset"), number)
    )
    assert (
        info.rate_limit_reset is None or number.strip() == str(info.rate_limit_reset) or number.strip().startswith("0")
    )


@pytest.mark.parametrize("number", ["-1", "1.5", "٣", "9" * 40, "", "soon"])
def test_a_malformed_count_is_none(number):
    assert ResponseInfo({"x-ratelimit-remaining": number}).rate_limit_remaining is None


@pytest.mark.parametrize("trace_id", ["0" * 32, "AB" * 16, "ab", ""])
def test_a_malformed_trace_id_is_none(trace_id):
    assert ResponseInfo({"x-cycles-trace-id": trace_id}).trace_id is None
