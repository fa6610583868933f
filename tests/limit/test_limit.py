"""A Limit around guards: one hold at the authority, admission in this process, one charge at the end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import cycles
from cycles import Guard, Limit, State, usd
from tests.limit.conftest import ACTION, CENT, RUN, cents


# -- one hold, one charge ----------------------------------------------------------------------------------------------
def test_guards_inside_ask_nobody(counted, limit, guard):
    with limit:
        assert counted.reserved == 50 * CENT
        asked = list(counted.asked)
        for _ in range(3):
            with guard as reservation:
                reservation.commit(cents(4))
        assert counted.asked == asked
        assert (limit.spent, limit.held, limit.remaining, limit.sections) == (cents(12), cents(0), cents(38), 3)
    assert (counted.creates, counted.commits) == (1, 1)
    assert (counted.spent, counted.reserved) == (12 * CENT, 0)
    assert limit.settlement.charged == cents(12)
    assert limit.spent == cents(12)


def test_the_commit_has_a_breakdown_by_action(counted, limit):
    with limit:
        for name, actual in (("a", 1), ("b", 5), ("a", 2)):
            with Guard(cents(5), action=("tool", name), client=counted.client) as reservation:
                reservation.commit(cents(actual))
    assert counted.committed(limit.reservation_id) == {
        "limit": {
            "sections": 3,
            "actions": [
                {"kind": "tool", "name": "b", "count": 1, "amount": 5 * CENT},
                {"kind": "tool", "name": "a", "count": 2, "amount": 3 * CENT},
            ],
        }
    }


def test_the_breakdown_is_bounded(counted, limit):
    with limit:
        for number in range(30):
            with Guard(usd("0.001"), action=("tool", f"t{number:02}"), client=counted.client):
                pass
    said = counted.committed(limit.reservation_id)["limit"]
    assert len(said["actions"]) == 20
    assert said["others"] == {"count": 10, "amount": 10 * CENT // 10}


def test_a_run_that_spent_nothing_is_released(counted, limit):
    with limit:
        pass
    assert limit.settlement.state is State.RELEASED
    assert (counted.spent, counted.reserved) == (0, 0)


def test_a_run_that_raises_is_charged_what_it_spent(counted, limit, guard):
    with pytest.raises(ZeroDivisionError), limit:
        with guard as reservation:
            reservation.commit(cents(7))
        raise ZeroDivisionError
    assert (counted.spent, counted.reserved) == (7 * CENT, 0)


def test_a_denied_run_does_not_begin(counted):
    with pytest.raises(cycles.BudgetExceeded) as caught, Limit(usd("2.00"), action=RUN, client=counted.client):
        pytest.fail("it began")
    assert caught.value.limit is None


# -- admission ---------------------------------------------------------------------------------------------------------
def test_what_goes_over_the_limit_is_refused(counted, limit, guard):
    with limit, guard:
        asked = len(counted.asked)
        assert limit.held == cents(10)
        with (
            pytest.raises(cycles.BudgetExceeded, match=r"limit of \$0\.50") as caught,
            Guard(cents(41), action=ACTION, client=counted.client),
        ):
            pytest.fail("it ran")
        assert caught.value.limit is limit
        assert caught.value.scope == "limit agent.run/research"
        assert len(counted.asked) == asked
        with Guard(cents(40), action=ACTION, client=counted.client):  # to the unit
            assert limit.remaining == cents(0)


def test_overspend_counts_in_full(counted, limit, guard):
    with limit:
        with guard as reservation:
            reservation.commit(cents(45))
        assert limit.spent == cents(45)
        with pytest.raises(cycles.BudgetExceeded), guard:
            pytest.fail("it ran")
        with Guard(cents(5), action=ACTION, client=counted.client) as reservation:
            reservation.commit(cents(20))
        assert limit.spent == cents(65)
        assert limit.remaining == cents(0)
    assert counted.spent == 65 * CENT


def test_a_report_above_the_estimate_is_held(limit, guard):
    with limit, guard as reservation:
        reservation.report(actual=cents(30))
        assert limit.held == cents(30)
        reservation.report(actual=cents(20))
        assert limit.held == cents(20)


def test_admission_is_exact_over_threads(counted, limit):
    """However many threads ask at once, what they hold together never goes over the limit."""
    barrier, admitted = threading.Barrier(16), []

    def ask():
        barrier.wait()
        for _ in range(20):
            try:
                admitted.append(counted.client.reserve(cents(1), action=ACTION))
            except cycles.BudgetExceeded:
                assert limit.held.amount <= 50 * CENT

    with limit, ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(limit.run, ask) for _ in range(16)]:
            done.result()
        assert len(admitted) == 50
        assert limit.remaining == cents(0)
        with ThreadPoolExecutor(8) as settling:
            list(settling.map(lambda reservation: reservation.commit(cents(1)), admitted))
        assert (limit.spent, limit.held) == (cents(50), cents(0))
    assert counted.spent == 50 * CENT


def test_waiting_inside_a_limit_waits_for_room(limit, counted):
    with limit, Guard(cents(50), action=ACTION, client=counted.client) as reservation:
        waiting, inside = threading.Event(), []

        def ask():
            waiting.set()
            with Guard(cents(50), action=ACTION, client=counted.client, wait=60.0):
                inside.append(limit.held)

        thread = threading.Thread(target=limit.run, args=(ask,))
        thread.start()
        waiting.wait()
        reservation.commit(cents(0))
        thread.join()
        assert inside == [cents(50)]


def test_waiting_is_no_use_when_nothing_is_open(limit, counted):
    with (
        limit,
        pytest.raises(cycles.BudgetExceeded),
        Guard(cents(60), action=ACTION, client=counted.client, wait=3600.0),
    ):
        pytest.fail("it ran")


# -- an inner reservation is one like any ------------------------------------------------------------------------------
def test_current_is_the_section_and_never_the_limit(limit, guard):
    with limit:
        assert cycles.current() is None
        with guard as reservation:
            assert cycles.current() is reservation
        assert cycles.current() is None


def test_an_inner_reservation_reports_and_ends_like_any(limit, guard):
    with limit:
        with guard as reservation:
            assert (reservation.state, reservation.reserved, reservation.id) == (State.ACTIVE, cents(10), None)
            assert reservation.expires_at is not None
            reservation.report(actual=cents(3))
        assert (reservation.state, reservation.settlement.via) == (State.COMMITTED, "limit")
        assert (reservation.settlement.charged, reservation.settlement.released) == (cents(3), cents(7))
        with pytest.raises(cycles.AlreadySettled):
            reservation.commit(cents(1))
        with guard as reservation:
            reservation.release("not needed")
            assert reservation.state is State.RELEASED
        with pytest.raises(KeyError), guard as reservation:
            raise KeyError
        assert reservation.state is State.RELEASED
        assert limit.spent == cents(3)


def test_extend_prolongs_the_lease_of_the_limit(counted, limit, guard):
    with limit, guard as reservation:
        before = reservation.expires_at
        reservation.extend(30)
        assert (reservation.expires_at - before).total_seconds() == 30
        assert counted.asked[-1].endswith("/extend")
    with pytest.raises(cycles.AlreadySettled):
        reservation.extend(30)


def test_a_dry_run_asks_the_limit(counted, limit, guard):
    @Guard(cents(10), action=ACTION, client=counted.client, dry_run=True)
    def small():
        pytest.fail("it ran")

    @Guard(cents(60), action=ACTION, client=counted.client, dry_run=True)
    def large():
        pytest.fail("it ran")

    with limit:
        asked = len(counted.asked)
        assert small().decision == "ALLOW"
        assert (large().decision, large().reason_code) == ("DENY", "BUDGET_EXCEEDED")
        assert (len(counted.asked), limit.held, limit.sections) == (asked, cents(0), 0)


def test_the_hooks_hear_of_inner_sections(authority):
    heard = []
    client = cycles.Client(
        cycles.Config("local:", api_key=authority.key(tenant="acme"), tenant="acme"),
        http_client=authority.http_client(),
        on_settlement=heard.append,
    )
    with Limit(cents(50), action=RUN, client=client), Guard(cents(10), action=ACTION, client=client):
        pass
    assert [(details.via, details.charged) for details in heard] == [("limit", cents(10)), ("commit", cents(10))]
    client.close()


def test_by_hand_too(counted, limit):
    with limit:
        reservation = counted.client.reserve(cents(10), action=ACTION)
        assert limit.held == cents(10)
        reservation.commit(cents(2))
    assert (counted.creates, counted.spent) == (1, 2 * CENT)


@pytest.mark.parametrize("reported", [0, 3])
def test_a_dropped_reservation_gives_back_what_it_has(counted, limit, reported):
    with limit:
        reservation = counted.client.reserve(cents(50), action=ACTION)
        if reported:
            reservation.report(actual=cents(reported))
        del reservation
        with Guard(cents(50 - reported), action=ACTION, client=counted.client) as other:
            other.release()
        assert limit.spent == cents(reported)
    assert counted.spent == reported * CENT


# -- on_limit ----------------------------------------------------------------------------------------------------------
def test_on_limit_is_told_once_near_and_once_reached(counted):
    told = []
    limit = Limit(
        cents(50), action=RUN, client=counted.client, on_limit=lambda it: told.append((it.spent, it.is_reached))
    )
    with limit:
        for _ in range(4):
            with Guard(cents(10), action=ACTION, client=counted.client):
                assert told == []
        assert told == [(cents(40), False)]
        for _ in range(2):
            with pytest.raises(cycles.BudgetExceeded), Guard(cents(11), action=ACTION, client=counted.client):
                pytest.fail("it ran")
        assert told == [(cents(40), False), (cents(40), True)]
        with Guard(cents(10), action=ACTION, client=counted.client):
            pass
    assert len(told) == 2


def test_what_on_limit_raises_is_logged(counted, caplog):
    limit = Limit(cents(10), action=RUN, client=counted.client, on_limit=lambda it: 1 / 0)
    with limit, Guard(cents(10), action=ACTION, client=counted.client):
        pass
    assert "on_limit failed" in caplog.text
    assert counted.spent == 10 * CENT


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"on_limit": "stop"}, "on_limit"),
        ({"hold": cycles.tokens(1)}, "hold"),
        ({"hold": usd(0)}, "hold"),
        ({"ttl": 0}, "ttl"),
    ],
)
def test_what_can_not_be_is_refused(counted, fields, said):
    with (
        pytest.raises(cycles.InvalidRequest, match=said),
        Limit(cents(50), action=RUN, client=counted.client, **fields),
    ):
        pytest.fail("it began")
    assert counted.asked == []
