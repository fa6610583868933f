"""`hold=`: the limit takes its amount from the authority in pieces, as needed and ahead of need."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

import cycles
from cycles import Guard, Limit, usd
from tests.limit.conftest import ACTION, CENT, RUN, cents
from tests.support.authorities import SCOPE
from tests.support.waiting import until


@pytest.fixture
def limit(counted):
    return Limit(cents(50), action=RUN, client=counted.client, hold=cents(10))


def spend(counted, estimate, actual):
    with Guard(cents(estimate), action=ACTION, client=counted.client) as reservation:
        reservation.commit(cents(actual))


def test_it_begins_with_one_piece(counted, limit):
    with limit:
        assert counted.reserved == 10 * CENT
        spend(counted, 2, 2)
        assert counted.creates == 1
    assert (counted.spent, counted.reserved) == (2 * CENT, 0)


def test_the_next_piece_is_asked_for_ahead_of_need(counted, limit):
    with limit:
        reservation = counted.client.reserve(cents(6), action=ACTION)
        until(lambda: counted.reserved == 20 * CENT)
        asked = len(counted.asked)
        with Guard(cents(10), action=ACTION, client=counted.client):
            pass
        assert not [line for line in counted.asked[asked:] if line != "POST /v1/reservations"]
        reservation.commit(cents(6))


def test_a_section_that_needs_more_gets_a_larger_piece(counted, limit):
    with limit:
        spend(counted, 35, 33)
        assert counted.reserved >= 35 * CENT
    until(lambda: (counted.spent, counted.reserved) == (33 * CENT, 0))  # a piece may have been on its way


def test_it_never_holds_more_than_the_limit(counted, limit):
    with limit:
        for _ in range(5):
            counted.client.reserve(cents(10), action=ACTION).commit(cents(9))
            assert counted.reserved <= 50 * CENT
        with pytest.raises(cycles.BudgetExceeded) as caught:
            counted.client.reserve(cents(10), action=ACTION)
        assert caught.value.limit is limit
        spend(counted, 5, 5)
        until(lambda: counted.reserved == 50 * CENT)
    assert (counted.spent, counted.reserved) == (50 * CENT, 0)


def test_after_a_denial_no_piece_is_asked_for_ahead_of_need(authority, counted):
    authority.budget(SCOPE, cents(10))
    with Limit(cents(50), action=RUN, client=counted.client, hold=cents(10)):
        spend(counted, 6, 6)
        until(lambda: counted.creates == 2)
        for _ in range(3):
            spend(counted, 1, 1)
        assert counted.creates == 2


def test_each_piece_is_charged_up_to_its_size_and_the_last_one_has_the_rest(counted, limit):
    with limit:
        for _ in range(4):
            spend(counted, 10, 10)
        spend(counted, 10, 15)
    charged = [settlement.charged.amount // CENT for settlement in limit.settlements if settlement.via == "commit"]
    assert sum(charged) == 55
    assert set(charged[:-1]) == {10}
    assert (counted.spent, counted.reserved) == (55 * CENT, 0)
    assert counted.committed(limit.reservation_id)["limit"]["sections"] == 5


def test_a_denied_piece_denies_the_section_and_not_the_run(authority, counted):
    authority.budget(SCOPE, cents(25))
    with Limit(usd("5.00"), action=RUN, client=counted.client, hold=cents(20)) as limit:
        spend(counted, 4, 4)
        with pytest.raises(cycles.BudgetExceeded) as caught:
            counted.client.reserve(cents(40), action=ACTION)
        assert caught.value.limit is None
        spend(counted, 10, 10)
        spend(counted, 10, 10)  # only what it lacks is asked for when a piece is denied
        assert limit.spent == cents(24)
    assert (counted.spent, counted.reserved) == (24 * CENT, 0)


def test_a_run_begins_without_a_piece(authority, counted):
    authority.budget(SCOPE, cents(3))
    with Limit(cents(50), action=RUN, client=counted.client, hold=cents(10)) as limit:
        assert (counted.reserved, limit.reservation_id) == (0, None)
        with pytest.raises(cycles.BudgetExceeded):
            counted.client.reserve(cents(4), action=ACTION)
        spend(counted, 3, 1)
        counted.client.reserve(usd(0), action=ACTION).commit(cents(1))
    assert (counted.spent, counted.reserved) == (2 * CENT, 0)


def test_the_first_section_may_be_free(authority, counted):
    """Nothing is spent without a hold to charge it to."""
    authority.budget(SCOPE, cents(3))
    with Limit(cents(50), action=RUN, client=counted.client, hold=cents(10)):
        authority.budget(SCOPE, cents(60))
        counted.client.reserve(usd(0), action=ACTION).commit(cents(1))
    assert (counted.spent, counted.reserved) == (CENT, 0)


def test_an_inner_limit_takes_its_pieces_from_the_outer_one(counted):
    with Limit(cents(50), action=RUN, client=counted.client) as outer:
        with Limit(cents(30), action=RUN, client=counted.client, hold=cents(5)) as inner:
            assert outer.held == cents(5)
            spend(counted, 12, 12)
            assert inner.spent == cents(12)
            assert outer.held.amount >= 12 * CENT
        assert (outer.spent, outer.held) == (cents(12), cents(0))
    assert (counted.creates, counted.spent) == (1, 12 * CENT)


def test_many_threads_take_pieces_at_once(counted, limit):
    barrier, admitted = threading.Barrier(8), []

    def ask():
        barrier.wait()
        for _ in range(10):
            with suppress(cycles.BudgetExceeded):
                admitted.append(counted.client.reserve(cents(1), action=ACTION))

    with limit:
        threads = [threading.Thread(target=limit.run, args=(ask,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(admitted) == 50
        for reservation in admitted:
            reservation.commit(cents(1))
    assert (counted.spent, counted.reserved) == (50 * CENT, 0)


def test_a_piece_that_comes_too_late_is_given_back(counted):
    """The limit ends while a piece is being asked for."""
    from cycles._core.limits import Account  # noqa: PLC0415

    grants = Account.grants
    limit = Limit(cents(50), action=RUN, client=counted.client, hold=cents(10))

    def late(account, section, size, grant):
        if account.holds:
            account.ends()
        return grants(account, section, size, grant)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Account, "grants", late)
        with limit:
            reservation = counted.client.reserve(cents(40), action=ACTION)
            assert reservation.id is not None  # by itself
            reservation.release()
        until(lambda: counted.reserved == 10 * CENT)  # ended by hand: its first piece is left to its expiry
