"""decide, record, balances, reservations, reservation and with_options, with both clients against an authority."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import httpx
import pytest

import cycles
from cycles import tokens, usd
from cycles.local import LocalAuthority
from cycles.local.registry import forget_shared
from cycles.local.wire.messages import Response
from cycles_api.models import Balance, ReservationDetail, ReservationSummary
from tests.support.authorities import ACTION, SCOPE


@pytest.fixture
def client(side):
    """Retries at once."""
    return side.client.with_options(retry_initial_delay=0.0)


@pytest.fixture
def rows(side):
    """All rows of a list."""

    async def gathered(listing):
        return [row async for row in listing]

    return lambda listing: side.call(list if side.kind == "sync" else gathered, listing)


@pytest.fixture
def wire(authority, monkeypatch):
    """Every request that arrives; `faults` holds what the next ones get instead of an answer, None for nothing."""

    class Wire:
        seen, faults = [], []

    handle = authority.app.handle

    def spied(request):
        Wire.seen.append(request)
        fault = Wire.faults.pop(0) if Wire.faults else None
        if fault == "lost":  # it arrived, and its answer did not
            handle(request)
            raise httpx.ReadTimeout("lost")
        return handle(request) if fault is None else fault

    monkeypatch.setattr(authority.app, "handle", spied)
    return Wire


def failed(status, body=b"{}"):
    return Response(status, [("content-type", "application/json")], body)


# -- decide and record -------------------------------------------------------------------------------------------------
def test_decide_holds_nothing(side, client, figures):
    decision = side.call(client.decide, usd("0.10"), action=ACTION, agent="planner")
    assert decision.allowed
    assert decision.reason_code is None
    assert decision.affected_scopes == (SCOPE, f"{SCOPE}/agent:planner")
    assert decision.info.tenant == "acme"
    assert figures() == (0, 0, 100)


def test_a_denial_is_a_value(side, client, authority, caplog):
    caplog.set_level(logging.DEBUG, "cycles.guard")
    decision = side.call(client.decide, usd("5"), action=ACTION)
    assert not decision
    assert (decision.decision, decision.reason_code) == ("DENY", "BUDGET_EXCEEDED")
    assert side.call(client.decide, usd("5"), action=ACTION, tenant="acme").reason_code == "BUDGET_EXCEEDED"
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
    authority.budget(SCOPE, usd("9.00"))
    assert side.call(client.decide, usd("5"), action=ACTION).allowed, "a fresh key: no stored answer is replayed"


def test_what_can_not_be_decided_raises(side, client):
    with pytest.raises(cycles.Forbidden):
        side.call(client.decide, usd("0.1"), action=ACTION, tenant="other")
    with pytest.raises(cycles.UnitMismatch):
        side.call(client.decide, tokens(5), action=ACTION)


def test_record_charges(side, client, figures, wire):
    settlement = side.call(
        client.record, usd("0.10"), action=ACTION, metrics=cycles.Metrics(tokens_input=1), metadata={"job": 7}
    )
    assert (settlement.state, settlement.via, settlement.charged) == ("COMMITTED", "event", usd("0.10"))
    assert settlement.info.request_id
    assert [balance.scope for balance in settlement.balances] == [SCOPE]
    assert figures() == (10, 0, 90)
    assert b'"job"' in wire.seen[0].body


def test_a_lost_record_is_charged_once(side, client, figures, wire):
    wire.faults += ["lost", failed(500), failed(201, b'{"status":"APPLIED"}')]
    settlement = side.call(client.record, usd("0.10"), action=ACTION)
    assert settlement.attempts == 4
    assert figures() == (10, 0, 90)


def test_a_record_that_stays_lost_says_so(side, client, figures, wire):
    wire.faults += ["lost"] * 5
    with pytest.raises(cycles.AuthorityUnavailable) as caught:
        side.call(client.record, usd("0.10"), action=ACTION, idempotency_key="mine")
    assert "idempotency_key='mine'" in caught.value.__notes__[0]
    side.call(client.record, usd("0.10"), action=ACTION, idempotency_key="mine")
    assert figures() == (10, 0, 90)


def test_a_refused_record_raises(side, client, figures, wire):
    with pytest.raises(cycles.BudgetExceeded):
        side.call(client.record, usd("5"), action=ACTION, overage_policy="REJECT")
    assert len(wire.seen) == 1
    assert figures() == (0, 0, 100)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metrics": {"tokens_input": 1}}, "give a cycles.Metrics"),
        ({"metrics": cycles.Metrics(tokens_input=-1)}, "metrics"),
        ({"overage_policy": "SOMETIMES"}, "overage_policy='SOMETIMES'"),
        ({"idempotency_key": ""}, "idempotency_key"),
    ],
)
def test_what_is_wrong_is_refused_before_sending(side, client, wire, options, said):
    with pytest.raises(cycles.InvalidRequest, match=said):
        side.call(client.record, usd("0.1"), action=ACTION, **options)
    with pytest.raises(cycles.InvalidRequest, match="actual"):
        side.call(client.record, 5, action=ACTION)
    assert wire.seen == []


@pytest.mark.parametrize("method", ["decide", "record", "reserve"])
def test_options_are_known_and_action_is_needed(side, client, method):
    with pytest.raises(TypeError, match=rf"{method}\(\) got an unexpected keyword argument 'tennant'"):
        side.call(getattr(client, method), usd("0.1"), action=ACTION, tennant="acme")
    with pytest.raises(TypeError, match=rf"{method}\(\) needs action"):
        side.call(getattr(client, method), usd("0.1"))


# -- lists -------------------------------------------------------------------------------------------------------------
@pytest.fixture
def seven(side, client, clock):
    """Ids of seven reservations, a minute apart, newest first; the first three (oldest) are released."""
    ids, kept = [], []
    for n in range(7):
        reservation = side.call(client.reserve, usd("0.01"), action=ACTION, agent=f"a{n % 2}", ttl=3600)
        if n < 3:
            side.call(reservation.release)
        ids.insert(0, reservation.id)
        kept.append(reservation)  # one that is dropped is given back
        clock.advance(60)
    yield ids
    del kept


def test_all_pages_of_reservations(client, rows, seven, wire):
    listed = rows(client.reservations(page_size=2))
    assert [row.reservation_id for row in listed] == seven
    assert all(type(row) is ReservationSummary for row in listed)
    assert [request.parameters()["limit"] for request in wire.seen] == ["2"] * 4
    assert [request.parameters()["tenant"] for request in wire.seen] == ["acme"] * 4


def test_filters_of_reservations(client, rows, seven):
    def ids(**filters):
        return [row.reservation_id for row in rows(client.reservations(page_size=1, **filters))]

    assert ids(status="RELEASED") == seven[4:]
    assert ids(status=cycles.State.ACTIVE, sort_dir="asc") == seven[3::-1]
    assert ids(agent="a1", tenant=None) == seven[1::2]
    assert ids(agent="nobody") == []


def test_windows_of_reservations(client, rows, seven, clock):
    def ids(**filters):
        return [row.reservation_id for row in rows(client.reservations(**filters))]

    start = datetime.fromtimestamp(clock.now / 1000, UTC) - timedelta(minutes=7)
    minute = timedelta(minutes=1)
    assert ids(created=(start, start)) == seven[-1:], "both ends are included"
    assert ids(created=(start + minute, start + 2 * minute)) == seven[4:6]
    assert ids(created=(None, start.strftime("%d %b %Y %H:%M:%S UTC"))) == seven[-1:]
    assert ids(finalized=(start, None)) == seven[4:]
    assert ids(expires=((start + 65 * minute).isoformat(), None)) == seven[:2]


def test_timedeltas_count_from_the_call_for_all_pages():
    """Another instant on the second page would be another list, and its cursor refused."""
    with LocalAuthority() as authority, authority.client(tenant="acme") as client:
        authority.budget(SCOPE, usd("1.00"))
        made = [client.reserve(usd("0.01"), action=ACTION, ttl=60) for _ in range(3)]
        hour, minute = timedelta(hours=1), timedelta(minutes=1)
        listed = client.reservations(created=(hour, None), expires=(None, 2 * minute), page_size=1)
        assert {row.reservation_id for row in listed} == {reservation.id for reservation in made}
        assert list(client.reservations(created=(None, minute))) == []
        assert list(client.reservations(expires=(2 * minute, None))) == []


def test_all_pages_of_balances(client, rows, authority, wire):
    for n in range(5):
        authority.budget(f"{SCOPE}/agent:a{n}", tokens(n + 1))
    listed = rows(client.balances(page_size=2))
    assert len(listed) == 6
    assert all(type(row) is Balance for row in listed)
    assert len(wire.seen) == 3
    assert [row.scope_path for row in rows(client.balances(agent="a3"))] == [f"{SCOPE}/agent:a3"]
    assert rows(client.balances(agent="a3", include_children=True))


def test_a_lost_page_is_asked_for_again(client, rows, seven, wire):
    wire.faults += [None, "lost", failed(503), failed(200, b"[]")]
    assert [row.reservation_id for row in rows(client.reservations(page_size=4))] == seven
    assert len({request.query for request in wire.seen[1:]}) == 1


def test_after_an_error_the_list_goes_on(side, client, rows, seven, wire):
    listing = client.reservations(page_size=4)
    step = listing.__next__ if side.kind == "sync" else listing.__anext__
    got = [side.call(step).reservation_id for _ in range(4)]
    wire.faults += ["lost"] * 5
    with pytest.raises(cycles.AuthorityUnavailable):
        side.call(step)
    assert got + [row.reservation_id for row in rows(listing)] == seven
    assert rows(listing) == []


def test_a_list_that_never_ends_is_cut_off(client, rows, wire):
    wire.faults += [failed(200, b'{"balances":[],"has_more":true,"next_cursor":"x"}')] * 9
    with pytest.raises(cycles.UnexpectedResponse, match="same next_cursor twice"):
        rows(client.balances())
    assert len(wire.seen) == 2


def test_filters_are_checked_before_anything_is_sent(client, wire):
    with pytest.raises(cycles.InvalidRequest, match="created from=datetime"):
        client.reservations(created=(datetime(2026, 1, 31), None))  # noqa: DTZ001 - what is refused
    with pytest.raises(cycles.InvalidRequest, match="page_size=201"):
        client.balances(page_size=201)
    with pytest.raises(TypeError, match=r"reservations\(\) got an unexpected keyword argument 'state'"):
        client.reservations(state="ACTIVE")
    with pytest.raises(cycles.InvalidRequest, match="CYCLES_TENANT"):
        client.balances(tenant=None)
    assert wire.seen == []


def test_a_list_can_be_left_early(side, seven, client):
    listing = client.reservations(page_size=1)

    first = side.call(listing.__next__ if side.kind == "sync" else listing.__anext__)
    assert first.reservation_id == seven[0]


# -- one reservation ---------------------------------------------------------------------------------------------------
def test_a_reservation_by_id(side, client, clock):
    held = side.call(client.reserve, usd("0.01"), action=ACTION, ttl=1, grace_period=0)
    detail = side.call(client.reservation, held.id)
    assert type(detail) is ReservationDetail
    assert (detail.reservation_id, detail.status) == (held.id, "ACTIVE")
    clock.advance(3600)  # its heartbeat may have prolonged it
    with pytest.raises(cycles.ReservationExpired):
        side.call(client.reservation, held.id)
    with pytest.raises(cycles.NotFound):
        side.call(client.reservation, "../balances")
    for wrong in ("", 5, "x" * 129):
        with pytest.raises(cycles.InvalidRequest, match="reservation_id"):
            side.call(client.reservation, wrong)


# -- with_options ------------------------------------------------------------------------------------------------------
def test_with_options_shares_the_connections(side):
    other = side.client.with_options(agent="planner", retry_max_attempts=1)
    assert type(other) is type(side.client)
    assert (other.config.agent, other.config.retry.max_attempts) == ("planner", 1)
    assert side.client.config.agent is None
    side.call(other.close)
    assert side.call(other.decide, usd("0.1"), action=ACTION).affected_scopes[-1] == f"{SCOPE}/agent:planner"
    assert side.call(side.client.decide, usd("0.1"), action=ACTION).allowed


def test_with_options_takes_another_key(side, authority):
    authority.budget("tenant:other", usd("2.00"))
    other = side.client.with_options(tenant="other", api_key=authority.key(tenant="other"))
    assert side.call(other.decide, usd("1.5"), action=ACTION).allowed
    assert not side.call(side.client.decide, usd("1.5"), action=ACTION).allowed


@pytest.mark.parametrize("changes", [{"base_url": "https://cycles.example"}, {"colour": 1}, {"read_timeout": -1}])
def test_options_that_can_not_change(side, changes):
    with pytest.raises(cycles.ConfigError, match=next(iter(changes))):
        side.client.with_options(**changes)


def test_with_options_of_a_local_authority():
    """The process is its own authority: another tenant gets a key of it, and is shared as before."""
    try:
        with cycles.Client(cycles.Config("local:?usd=1.00", tenant="acme")) as client:
            other = client.with_options(agent="x").with_options(tenant="other")
            assert other.shares_config
            assert other.decide(usd("0.1"), action=ACTION).reason_code == "BUDGET_NOT_FOUND"
    finally:
        forget_shared()


def test_a_client_of_its_own_connections_lends_them(authority):
    async def main():
        async with cycles.AsyncClient(cycles.Config("http://127.0.0.1:9", api_key="k", retry_enabled=False)) as client:
            other = client.with_options(base_url="http://127.0.0.1:8", connect_timeout=0.5)
            assert other.api.get_async_httpx_client() is client.api.get_async_httpx_client()
            with pytest.raises(cycles.AuthorityUnavailable):
                await other.decide(usd("0.1"), action=ACTION, tenant="acme")

    asyncio.run(main())
