"""What a section has cost: a constant, a Decimal of dollars, `cycles.report`; and what the budget did not cover."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from decimal import Decimal

import pytest

import cycles
from cycles import tokens, usd
from tests.support.authorities import ACTION, SCOPE


# -- actual= -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("cent", [usd("0.01"), Decimal("0.01"), Decimal("0.0099999999999")])
def test_a_constant_is_what_each_section_costs(side, guard, figures, cent):
    tool = guard(actual=cent)
    assert side.call(tool(side.function(lambda: "found"))) == "found"
    assert figures() == (1, 0, 99)
    with side.block(tool):
        pass
    assert figures() == (2, 0, 98)


def test_a_constant_of_an_asynchronous_stream(authority, figures):
    """It has no return value to make an actual of; a constant needs none."""

    async def run():
        async with authority.async_client(tenant="acme") as client:

            @cycles.Guard(usd("0.10"), action=ACTION, client=client, actual=usd("0.01"))
            async def stream():
                yield 1

            return [chunk async for chunk in stream()]

    assert asyncio.run(run()) == [1]
    assert figures() == (1, 0, 99)


def test_a_report_knows_more_than_a_constant(side, guard, figures):
    with side.block(guard(actual=usd("0.01"))) as reservation:
        reservation.report(actual=usd("0.05"))
    assert figures() == (5, 0, 95)


def test_a_constant_is_not_the_cost_of_what_raised(side, guard, figures):
    with pytest.raises(ZeroDivisionError), side.block(guard(actual=usd("0.01"))):
        raise ZeroDivisionError
    assert figures() == (0, 0, 100)


def test_a_callable_may_give_dollars_which_are_rounded_up(side, guard, figures):
    call = guard(actual=lambda rate: rate * 7)(side.function(lambda: Decimal("0.000000001")))
    assert side.call(call) == Decimal("0.000000001")
    assert figures()[0] * 1e6 == 1  # 0.7 microcents


@pytest.mark.parametrize("bad", [Decimal("NaN"), Decimal(-1), Decimal("1e30")])
def test_dollars_that_are_no_amount_count_as_failing(side, guard, figures, caplog, bad):
    assert side.call(guard(actual=lambda _: bad)(side.function(lambda: "fine"))) == "fine"
    assert figures() == (10, 0, 90)
    assert any("actual failed" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (5, "callable of the result"),
        ("0.01", "callable of the result"),
        (0.01, "callable of the result"),
        (tokens(5), "unit TOKENS, but the estimate was in USD"),
        (Decimal("NaN"), "finite"),
        (cycles.Amount(unit="USD_MICROCENTS", amount=-1), "not an integer from 0"),
    ],
)
def test_a_constant_that_is_no_cost_is_refused_at_once(bad, says):
    with pytest.raises(cycles.InvalidRequest, match=says):
        cycles.Guard(usd("0.01"), action=ACTION, actual=bad)


def test_an_async_callable_is_refused_at_once():
    async def cost(reply):
        return usd("0.01")

    with pytest.raises(cycles.InvalidRequest, match="not async"):
        cycles.Guard(usd("0.01"), action=ACTION, actual=cost)


def test_a_constant_of_another_unit_than_the_calls_estimate_is_refused_before_sending(side, guard, figures):
    call = guard(estimate=lambda: tokens(5), actual=usd("0.01"))(side.function(lambda: "ran"))
    with pytest.raises(cycles.InvalidRequest, match="a reservation keeps one unit"):
        side.call(call)
    assert figures() == (0, 0, 100)


# -- cycles.report -----------------------------------------------------------------------------------------------------
def test_report_is_of_the_innermost_reservation(side, guard, figures, authority):
    def work():
        cycles.report(actual=usd("0.03"), metadata={"step": 1}, metrics=cycles.Metrics(tokens_input=5))

    side.call(guard()(side.function(work)))
    assert figures() == (3, 0, 97)
    assert authority.reservations()[-1].committed_metadata == {"step": 1}


def test_report_follows_a_copied_context_into_a_thread(authority, figures):
    with authority.client(tenant="acme") as client, cycles.Guard(usd("0.10"), action=ACTION, client=client):
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: cycles.report(actual=usd("0.02")),))
        thread.start()
        thread.join()
    assert figures() == (2, 0, 98)


def test_report_without_a_reservation_says_what_is_missing():
    with pytest.raises(cycles.InvalidRequest, match=r"no reservation.*copy_context"):
        cycles.report(actual=usd("0.01"))


def test_report_refuses_what_a_reservation_refuses(side, guard):
    with side.block(guard()):
        pass

    def work():
        with pytest.raises(cycles.InvalidRequest, match="unit TOKENS"):
            cycles.report(actual=tokens(1))

    side.call(guard()(side.function(work)))


# -- what the budget did not cover -------------------------------------------------------------------------------------
def uncovered_lines(caplog):
    return [record for record in caplog.records if record.cycles_event == "charged less than the actual"]


def test_what_was_not_charged_is_said_once(side, guard, authority, figures, caplog):
    """$0.90 of work on a budget of $0.10: the ledger can't show the rest, so somebody has to."""
    authority.budget(SCOPE, usd("0.10"))
    with side.block(guard()) as reservation:
        reservation.report(actual=usd("0.90"))
    settlement = reservation.settlement
    assert (settlement.charged, settlement.uncovered) == (usd("0.10"), usd("0.80"))
    assert "uncovered $0.80" in repr(settlement)
    assert figures() == (10, 0, 0)
    (line,) = uncovered_lines(caplog)
    assert line.levelname == "WARNING"
    assert (line.cycles_actual, line.cycles_charged, line.cycles_uncovered) == (90_000_000, 10_000_000, 80_000_000)
    assert line.cycles_reservation_id == reservation.id


def test_an_event_that_is_not_covered_says_so(side, authority, caplog):
    settlement = side.call(side.client.record, usd("1.30"), action=ACTION)
    assert (settlement.charged, settlement.uncovered) == (usd("1.00"), usd("0.30"))
    (line,) = uncovered_lines(caplog)
    assert (line.cycles_via, line.cycles_reservation_id) == ("event", None)


@pytest.mark.parametrize("actual", ["0", "0.05", "0.10", "0.30"])
def test_what_is_charged_in_full_is_covered(side, guard, caplog, actual):
    with side.block(guard()) as reservation:
        settlement = side.call(reservation.commit, usd(actual))
    assert (settlement.charged, settlement.uncovered) == (usd(actual), None)
    assert uncovered_lines(caplog) == []


@pytest.mark.parametrize(
    ("policy", "overdraft", "outcome", "uncovered"),
    [
        ("REJECT", None, "rejected", None),
        ("ALLOW_IF_AVAILABLE", None, "settled", usd("0.10")),
        ("ALLOW_WITH_OVERDRAFT", usd("0.15"), "settled", None),
        ("ALLOW_WITH_OVERDRAFT", usd("0.05"), "rejected", None),
    ],
)
def test_every_policy_tells_on_settlement(authority, policy, overdraft, outcome, uncovered):
    authority.budget(SCOPE, usd("1.00"), overdraft_limit=overdraft)
    told = []
    config = cycles.Config("local:", api_key=authority.session_key(tenant="acme"), tenant="acme")
    client = cycles.Client(config, http_client=authority.http_client(), on_settlement=told.append)
    with client, cycles.Guard(usd("0.80"), action=ACTION, client=client, overage_policy=policy) as reservation:
        reservation.report(actual=usd("1.10"))
    (details,) = told
    assert (details.outcome, details.uncovered) == (outcome, uncovered)
    assert (reservation.settlement_error is None) is (outcome == "settled")
