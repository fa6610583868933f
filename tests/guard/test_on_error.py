"""What a section had spent when it raised: `on_error=`, in every shape that a guard has."""

from __future__ import annotations

import asyncio
import gc
from decimal import Decimal

import pytest
import trio

import cycles
from cycles import tokens, usd
from tests.support.authorities import ACTION


class Timeout(Exception):
    """A provider that did not answer in time, and bills for it."""


def raising(error):
    def work():
        raise error

    return work


def last(authority):
    return authority.reservations()[-1]


# -- the words ---------------------------------------------------------------------------------------------------------
def test_by_default_a_section_that_raised_is_released(side, guard, figures):
    with pytest.raises(Timeout):
        side.call(guard()(side.function(raising(Timeout()))))
    assert figures() == (0, 0, 100)


def test_estimate_commits_the_estimate_marked(side, guard, figures, authority):
    with pytest.raises(Timeout):
        side.call(guard(on_error="estimate")(side.function(raising(Timeout()))))
    assert figures() == (10, 0, 90)
    assert last(authority).committed_metadata == {"actual_source": "estimate"}


def test_a_with_block_does_as_well(side, guard, figures):
    with pytest.raises(Timeout), side.block(guard(on_error="estimate")):
        raise Timeout
    assert figures() == (10, 0, 90)


def test_what_was_reported_wins(side, guard, figures):
    asked = []
    with pytest.raises(Timeout), side.block(guard(on_error=asked.append)) as reservation:
        reservation.report(actual=usd("0.02"))
        raise Timeout
    assert figures() == (2, 0, 98)
    assert asked == []


def test_what_was_settled_stays_settled(side, guard, figures):
    with pytest.raises(Timeout), side.block(guard(on_error="estimate")) as reservation:
        side.call(reservation.release)
        raise Timeout
    assert figures() == (0, 0, 100)


def test_a_section_that_ended_well_is_none_of_its_business(side, guard, figures):
    with side.block(guard(unreported="release", on_error="estimate")):
        pass
    assert figures() == (0, 0, 100)


def test_a_denied_section_never_ran_and_is_not_charged(side, guard, figures):
    with pytest.raises(cycles.BudgetExceeded):
        side.call(guard(usd("5"), on_error="estimate")(side.function(lambda: None)))
    assert figures() == (0, 0, 100)


def test_a_dry_run_charges_nothing(side, guard, figures):
    with pytest.raises(Timeout), side.block(guard(dry_run=True, on_error="estimate")):
        raise Timeout
    assert figures() == (0, 0, 100)


# -- a callable --------------------------------------------------------------------------------------------------------
def spent(error):
    return usd("0.04") if isinstance(error, Timeout) else None


@pytest.mark.parametrize(
    ("error", "shown"), [(Timeout(), (4, 0, 96)), (ConnectionRefusedError(), (0, 0, 100)), (ValueError(), (0, 0, 100))]
)
def test_a_callable_says_what_the_exception_has_cost(side, guard, figures, authority, error, shown):
    with pytest.raises(type(error)) as caught:
        side.call(guard(on_error=spent)(side.function(raising(error))))
    assert caught.value is error
    assert figures() == shown
    assert not last(authority).committed_metadata  # it is the program's own figure, and no estimate


def test_a_callable_may_give_dollars(side, guard, figures):
    with pytest.raises(Timeout):
        side.call(guard(on_error=lambda _: Decimal("0.0400000000001"))(side.function(raising(Timeout()))))
    assert figures()[0] == 4.000001  # the next microcent


@pytest.mark.parametrize("bad", [5, tokens(1), "0.05", float("nan")])
def test_a_callable_without_a_usable_amount_charges_the_estimate(side, guard, figures, authority, caplog, bad):
    with pytest.raises(Timeout):
        side.call(guard(on_error=lambda _: bad)(side.function(raising(Timeout()))))
    assert figures() == (10, 0, 90)
    assert last(authority).committed_metadata == {"actual_source": "estimate"}
    (line,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "on_error failed" in line.message


def test_a_callable_that_fails_hides_nothing(side, guard, figures):
    with pytest.raises(Timeout):
        side.call(guard(on_error=lambda error: error.cost)(side.function(raising(Timeout()))))
    assert figures() == (10, 0, 90)


def test_an_interrupt_in_the_callable_comes_out_after_the_charge(authority, figures):
    def interrupted(error):
        raise KeyboardInterrupt

    error = Timeout()
    with authority.client(tenant="acme") as client:
        guarded = cycles.Guard(usd("0.10"), action=ACTION, client=client, on_error=interrupted)(raising(error))
        with pytest.raises(KeyboardInterrupt) as caught:
            guarded()
    assert caught.value.__cause__ is error
    assert figures() == (10, 0, 90)


def test_an_interrupt_in_the_callable_of_a_coroutine_comes_out_after_the_charge(authority, figures):
    async def run():
        def interrupted(error):
            raise asyncio.CancelledError

        async def work():
            raise Timeout

        async with authority.async_client(tenant="acme") as client:
            guarded = cycles.Guard(usd("0.10"), action=ACTION, client=client, on_error=interrupted)(work)
            with pytest.raises(asyncio.CancelledError) as caught:
                await guarded()
        return caught.value.__cause__

    assert isinstance(asyncio.run(run()), Timeout)
    assert figures() == (10, 0, 90)


# -- what arrives from outside -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_section_had_spent_too(authority, figures, interrupt):
    with authority.client(tenant="acme") as client:
        guarded = cycles.Guard(usd("0.10"), action=ACTION, client=client, on_error="estimate")(raising(interrupt()))
        with pytest.raises(interrupt):
            guarded()
    assert figures() == (10, 0, 90)


def test_a_cancelled_task_had_spent_too(authority, figures):
    async def run():
        async with authority.async_client(tenant="acme") as client:
            begun = asyncio.Event()

            @cycles.Guard(usd("0.10"), action=ACTION, client=client, on_error=lambda error: usd("0.07"))
            async def work():
                begun.set()
                await asyncio.Event().wait()

            task = asyncio.create_task(work())
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    assert figures() == (7, 0, 93)


def test_a_cancelled_scope_of_trio_had_spent_too(authority, figures):
    async def run():
        async with authority.async_client(tenant="acme") as client:
            with trio.CancelScope() as scope:
                async with cycles.Guard(usd("0.10"), action=ACTION, client=client, on_error="estimate"):
                    scope.cancel()
                    await trio.sleep_forever()

    trio.run(run)
    assert figures() == (10, 0, 90)


# -- streams -----------------------------------------------------------------------------------------------------------
def test_a_stream_that_is_left_early_had_spent_too(authority, figures):
    with authority.client(tenant="acme") as client:

        @cycles.Guard(usd("0.10"), action=ACTION, client=client, on_error="estimate")
        def stream():
            yield from range(100)

        for chunk in stream():
            if chunk == 10:
                break
        gc.collect()
    assert figures() == (10, 0, 90)


def test_an_asynchronous_stream_that_is_left_early_had_spent_too(authority, figures):
    async def run():
        async with authority.async_client(tenant="acme") as client:

            @cycles.Guard(usd("0.10"), action=ACTION, client=client, on_error=lambda error: usd("0.06"))
            async def stream():
                for chunk in range(100):
                    yield chunk

            chunks = stream()
            assert await anext(chunks) == 0
            await chunks.aclose()

    asyncio.run(run())
    assert figures() == (6, 0, 94)


# -- what can be seen to be wrong --------------------------------------------------------------------------------------
async def later(error):
    return usd("0.01")


@pytest.mark.parametrize("bad", ["charge", None, usd("0.01"), 5, later])
def test_what_it_can_not_be_is_refused_at_once(bad):
    with pytest.raises(cycles.InvalidRequest, match="on_error="):
        cycles.Guard(usd("0.01"), action=ACTION, on_error=bad)
