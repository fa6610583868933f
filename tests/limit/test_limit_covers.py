"""What a limit covers, and what it does not; where else its sections run."""

from __future__ import annotations

import asyncio
import contextvars
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

import cycles
from cycles import Guard, Limit, usd
from cycles.local import LocalAuthority
from tests.limit.conftest import ACTION, CENT, RUN, cents


# -- what it covers ----------------------------------------------------------------------------------------------------
def test_own_reserves_by_itself(counted, limit):
    with limit:
        with Guard(cents(10), action=ACTION, client=counted.client, own=True) as reservation:
            assert reservation.id is not None
            assert limit.held == cents(0)
        counted.client.reserve(cents(10), action=ACTION, own=True).release()
        with Limit(cents(20), action=RUN, client=counted.client, own=True):
            assert limit.held == cents(0)
    assert counted.creates == 4
    assert counted.spent == 10 * CENT


def test_another_unit_or_tenant_goes_to_the_authority(authority, counted, limit):
    authority.budget("tenant:acme", cycles.tokens(100))
    authority.budget("tenant:other", usd("1.00"))
    other = authority.client(tenant="other")
    with limit:
        with Guard(cycles.tokens(5), action=ACTION, client=counted.client) as reservation:
            assert reservation.id is not None
        with Guard(cents(5), action=ACTION, client=other) as reservation:
            assert reservation.id is not None
        assert limit.sections == 0
    other.close()


def test_another_authority_is_asked(counted, limit):
    with LocalAuthority() as elsewhere:
        elsewhere.budget("tenant:acme", usd("1.00"))
        other = elsewhere.client(tenant="acme")
        with limit, Guard(cents(5), action=ACTION, client=other) as reservation:
            assert reservation.id is not None
        other.close()


def test_a_limit_inside_a_limit_draws_on_it(counted, limit, guard):
    with limit:
        with Limit(cents(30), action=("agent.run", "part"), client=counted.client) as inner:
            assert limit.held == cents(30)
            with guard as reservation:
                reservation.commit(cents(8))
            assert (inner.spent, limit.spent) == (cents(8), cents(0))
            with pytest.raises(cycles.BudgetExceeded) as caught, Guard(cents(25), action=ACTION, client=counted.client):
                pytest.fail("it ran")
            assert caught.value.limit is inner
        assert (limit.spent, limit.held) == (cents(8), cents(0))
        with pytest.raises(cycles.BudgetExceeded) as caught, Limit(cents(43), action=RUN, client=counted.client):
            pytest.fail("it ran")
        assert caught.value.limit is limit
    assert (counted.creates, counted.commits, counted.spent) == (1, 1, 8 * CENT)


def test_a_section_that_outlives_its_limit_is_charged_by_itself(counted, limit):
    with limit:
        late = counted.client.reserve(cents(10), action=ACTION)
        late.report(actual=cents(2))
        with Guard(cents(10), action=ACTION, client=counted.client) as reservation:
            reservation.commit(cents(5))
    assert (limit.settlement.charged, counted.spent) == (cents(5), 5 * CENT)
    settlement = late.commit(cents(3))
    assert (settlement.via, settlement.charged) == ("event", cents(3))
    assert counted.spent == 8 * CENT


def test_a_guard_after_the_end_of_its_limit_asks_the_authority(counted, limit):
    """A task or thread begun inside has the limit around it for as long as it lives."""
    with limit:
        context = contextvars.copy_context()

    def later():
        return counted.client.reserve(cents(10), action=ACTION)

    assert context.run(later).id is not None


# -- elsewhere ---------------------------------------------------------------------------------------------------------
def test_run_carries_it_into_threads(counted, limit, guard):
    with limit, ThreadPoolExecutor(4) as pool:
        assert [done.result() for done in [pool.submit(limit.run, guard(lambda n: n), n) for n in range(5)]] == [
            *range(5)
        ]
        assert limit.sections == 5
        assert pool.submit(lambda: counted.client.reserve(cents(1), action=ACTION)).result().id is not None


def test_run_carries_it_into_coroutines(counted):
    async def main():
        async with Limit(cents(50), action=RUN, client=counted.async_client) as limit:
            made = limit.run(Guard(cents(10), action=ACTION, client=counted.async_client)(_one))
        before = contextvars.Context()
        async with Limit(cents(50), action=RUN, client=counted.async_client) as limit:
            made.close()
            guarded = Guard(cents(10), action=ACTION, client=counted.async_client)(_one)
            assert await asyncio.get_running_loop().create_task(limit.run(guarded), context=before) == 1
            assert limit.sections == 1
        await counted.async_client.close()

    asyncio.run(main())


async def _one():
    return 1


def test_it_is_pickled_as_what_it_says(counted, limit, guard, caplog):
    with limit:
        with guard as reservation:
            reservation.commit(cents(4))
        with pytest.raises(cycles.BudgetExceeded) as caught, Guard(cents(50), action=ACTION, client=counted.client):
            pytest.fail("it ran")
        copied = pickle.loads(pickle.dumps(caught.value))
        assert (copied.limit.spent, copied.limit.remaining, copied.limit.sections) == (cents(4), cents(46), 1)
        assert copied.limit.is_reached
        assert copied.limit.run(lambda: "ran") == "ran"
    assert "limit of another process, not drawn on" in caplog.text


def test_it_is_no_block_that_overlaps_itself(limit):
    with limit, pytest.raises(RuntimeError, match="entered already"), limit:
        pytest.fail("it was entered twice")
    with limit:
        pass
