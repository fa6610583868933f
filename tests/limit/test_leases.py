"""The lease of a limit is kept like any; when it is lost, the sections inside see it as the heartbeat policy says."""

from __future__ import annotations

import asyncio

import pytest

import cycles
from cycles import Guard, Limit, State
from cycles.local import LocalAuthority
from cycles_api.api.reservations import release_reservation
from cycles_api.models.release_request import ReleaseRequest
from tests.limit.conftest import ACTION, CENT, RUN, cents
from tests.support.authorities import SCOPE, UNIT
from tests.support.waiting import until, until_async

SHORT = 8.0
"""A lease that is renewed at once: nothing is left of it after its safety budget."""


@pytest.fixture
def real():
    """An authority that lives in real time."""
    with LocalAuthority() as authority:
        authority.budget(SCOPE, cents(99))
        yield authority


@pytest.fixture
def policy(real):
    with real.client(tenant="acme") as plain:
        yield lambda heartbeat: plain.with_options(heartbeat=heartbeat)


def lost(limit, client) -> None:
    """Have somebody else release the hold, and wait until the next renewal finds it gone."""
    body = ReleaseRequest(idempotency_key="someone else")
    release_reservation.sync(limit.reservation_id, client=client.api, body=body)


@pytest.mark.slow
def test_by_default_sections_go_on_and_the_spend_is_charged(policy, real, caplog):
    client = policy("warn")
    with Limit(cents(50), action=RUN, client=client, ttl=SHORT, grace_period=0) as limit:
        with Guard(cents(10), action=ACTION, client=client) as reservation:
            lost(limit, client)
            until(lambda: reservation.state is State.LOST)
            reservation.commit(cents(3))
        assert reservation.state is State.COMMITTED
        with Guard(cents(10), action=ACTION, client=client):
            pass
    assert limit.spent == cents(13)
    until(lambda: "lease lost" in caplog.text)  # said once the limit knows


@pytest.mark.slow
def test_fail_on_finalize_raises_after_the_section(policy):
    client = policy("fail_on_finalize")
    with (
        pytest.raises(cycles.LeaseLost),
        Limit(cents(50), action=RUN, client=client, ttl=SHORT, grace_period=0) as limit,
    ):
        with (
            pytest.raises(cycles.LeaseLost, match="ttl"),
            Guard(cents(10), action=ACTION, client=client) as reservation,
        ):
            lost(limit, client)
            until(lambda: reservation.state is State.LOST)
        assert limit.spent == cents(10)


@pytest.mark.slow
def test_cancel_tells_a_blocking_section_at_its_next_call_and_admits_no_other(policy):
    client = policy("cancel")
    limit = Limit(cents(50), action=RUN, client=client, ttl=SHORT, grace_period=0)
    with pytest.raises(cycles.LeaseLost), limit:
        with pytest.raises(cycles.LeaseLost), Guard(cents(10), action=ACTION, client=client) as reservation:
            lost(limit, client)
            until(lambda: reservation.state is State.LOST)
            reservation.report(actual=cents(1))
            pytest.fail("went on")
        with pytest.raises(cycles.LeaseLost), Guard(cents(10), action=ACTION, client=client):
            pytest.fail("it ran")


@pytest.mark.slow
def test_cancel_cancels_each_asynchronous_section_once(real):
    async def main() -> list[BaseException | None]:
        async with real.async_client(tenant="acme") as plain:
            client = plain.with_options(heartbeat="cancel")
            causes: list[BaseException | None] = []
            running = 0

            async def section() -> None:
                nonlocal running
                try:
                    async with Guard(cents(1), action=ACTION, client=client):
                        running += 1
                        await asyncio.sleep(600)
                except asyncio.CancelledError as cancelled:
                    causes.append(cancelled.__cause__)
                    assert asyncio.current_task().cancelling() == 1

            try:
                async with Limit(cents(50), action=RUN, client=client, ttl=SHORT, grace_period=0) as limit:
                    tasks = [asyncio.create_task(section()) for _ in range(40)]
                    await until_async(lambda: running == len(tasks))
                    body = ReleaseRequest(idempotency_key="someone else")
                    await release_reservation.asyncio(limit.reservation_id, client=client.api, body=body)
                    await asyncio.wait(tasks)
                    await asyncio.sleep(600)
            except asyncio.CancelledError as cancelled:
                causes.append(cancelled.__cause__)
            return causes

    causes = asyncio.run(main())
    assert len(causes) == 41
    assert all(isinstance(cause, cycles.LeaseLost) for cause in causes)


@pytest.mark.slow
def test_the_lease_is_kept_and_the_spend_is_committed(real):
    """The hold outlives its ttl many times over when nothing goes wrong: its end finds it."""
    with real.client(tenant="acme") as client, Limit(cents(50), action=RUN, client=client, ttl=SHORT) as limit:
        held = limit._opened.limit.account.holds[0].section
        first = held.expires_at_ms
        with Guard(cents(10), action=ACTION, client=client):
            until(lambda: held.expires_at_ms > first)
    assert limit.settlement.via == "commit"
    assert real.balance(SCOPE, UNIT).spent == 10 * CENT
