"""What the field breaks, inside a limit: signals and a hanging authority at its end, forks, copies, late work."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import signal
import sys
import threading
from collections import deque

import anyio
import anyio.to_thread
import cloudpickle
import pytest

import cycles
from cycles import Guard, Limit, usd
from tests.limit.conftest import ACTION, CENT, RUN, cents
from tests.support.net import HANG, HANG_AFTER
from tests.support.waiting import PATIENCE, until

signals = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no signals")
forks = pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="no safe fork here")


class SoftTimeLimitExceeded(Exception):
    """As celery's."""


@pytest.fixture
def time_limit():
    """SIGUSR1 raises SoftTimeLimitExceeded."""

    def over(signum, frame):
        raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGUSR1, over)
    yield lambda: signal.raise_signal(signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


# -- the end -----------------------------------------------------------------------------------------------------------
def in_pieces(client, end):
    """Spend 32 cents in pieces of 10, and call *end* as the last thing inside."""
    with Limit(cents(60), action=RUN, client=client, hold=cents(10)) as limit:
        for _ in range(4):
            with Guard(cents(8), action=ACTION, client=client) as reservation:
                reservation.commit(cents(8))
        end()
    return limit


@signals
@pytest.mark.parametrize("journal_enabled", [True, False])
def test_an_exception_from_outside_leaves_all_pieces_to_the_background(
    server, config, journal_enabled, time_limit, monkeypatch
):
    monkeypatch.setattr("cycles._client.upkeep.LATER", 0.01)
    main = threading.get_ident()

    def watch():
        server.wait_for("commit")
        signal.pthread_kill(main, signal.SIGUSR1)

    def end():
        server.plan["commit"] = deque([HANG])
        threading.Thread(target=watch, daemon=True).start()

    patient = config.replace(read_timeout=30.0, settle_wait=30.0, journal_enabled=journal_enabled)
    with cycles.Client(patient) as client:
        with pytest.raises(SoftTimeLimitExceeded):
            in_pieces(client, end)
        until(lambda: (server.spent(), server.held()) == (32, 0))
    assert sum(server.commits.values()) == 32 * CENT


@pytest.mark.parametrize("http_engine", ["httpx", "aiohttp"])
def test_an_end_that_goes_with_its_event_loop_is_on_record(server, config, http_engine):
    """A loop that ends cancels what charges the pieces, and the background in it."""

    def watch(loop):
        server.wait_for("commit")
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])

    async def run(client):
        async with Limit(cents(60), action=RUN, client=client, hold=cents(10)):
            for _ in range(4):
                async with Guard(cents(8), action=ACTION, client=client) as reservation:
                    await reservation.commit(cents(8))
            server.plan["commit"] = deque([HANG])
            threading.Thread(target=watch, args=(asyncio.get_running_loop(),), daemon=True).start()

    client = cycles.AsyncClient(config.replace(read_timeout=30.0, settle_wait=30.0, http_engine=http_engine))
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(run(client))
    with cycles.Client(config) as other:
        assert other.drain(timeout=PATIENCE).pending == 0
    assert server.spent() == 32
    assert sum(server.commits.values()) == 32 * CENT


@pytest.mark.parametrize("hold", [None, 10])
@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_a_limit_that_is_cancelled_at_its_beginning_holds_nothing(server, config, hold, library, monkeypatch):
    monkeypatch.setattr("cycles._client.upkeep._SETTLING_IN", 0.01)
    server.plan["reservations"] = deque([HANG_AFTER])

    async def run():
        async with cycles.AsyncClient(config.replace(read_timeout=30.0)) as client:
            with anyio.CancelScope() as scope:

                async def stop():
                    await anyio.to_thread.run_sync(server.wait_for, "reservations")
                    scope.cancel()

                async with anyio.create_task_group() as group:
                    group.start_soon(stop)
                    piece = None if hold is None else cents(hold)
                    async with Limit(cents(60), action=RUN, client=client, hold=piece):
                        pytest.fail("it began")
            await anyio.to_thread.run_sync(until, lambda: server.of("release") and server.held() == 0)

    anyio.run(run, backend=library)
    assert len(server.of("reservations")) == 1, "nothing is asked for ahead of a need that will not come"


def test_pieces_of_a_limit_that_does_not_begin_are_given_back(server, client, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cycles._client.upkeep.LATER", 0.01)
    monkeypatch.setattr("cycles._client.running_limit.RunningLimit.tell_news", interrupted)
    with pytest.raises(KeyboardInterrupt), Limit(cents(60), action=RUN, client=client, hold=cents(10)):
        pytest.fail("it began")
    until(lambda: server.of("release") and server.held() == 0)


@pytest.mark.slow
def test_all_pieces_together_wait_no_longer_than_one_section(server, config, monkeypatch):
    monkeypatch.setattr("cycles._client.upkeep.LATER", 0.01)

    def end():
        server.plan["commit"] = deque([HANG])

    with cycles.Client(config.replace(settle_wait=0.2)) as client:
        limit = in_pieces(client, end)
        assert [ended.attempts for ended in limit.settlements[1:4]] == [0, 0, 0], "the others did not wait again"
        until(lambda: (server.spent(), server.held()) == (32, 0))


@signals
def test_what_arrives_in_on_limit_comes_out(counted, time_limit):
    limit = Limit(cents(10), action=RUN, client=counted.client, on_limit=lambda it: time_limit())
    with limit:
        with pytest.raises(SoftTimeLimitExceeded), Guard(cents(9), action=ACTION, client=counted.client):
            pass
        assert (limit.spent, limit.held) == (cents(9), cents(0))
        with pytest.raises(SoftTimeLimitExceeded), Guard(cents(9), action=ACTION, client=counted.client):
            pytest.fail("it ran")
    assert (counted.spent, counted.reserved) == (9 * CENT, 0)


@signals
def test_a_section_that_does_not_begin_for_it_holds_nothing(counted, time_limit, monkeypatch):
    """The news of another section arrives while this one is being admitted."""
    limit = Limit(cents(10), action=RUN, client=counted.client)
    with limit:
        with monkeypatch.context() as patch:
            patch.setattr("cycles._client.running_limit.RunningLimit.tell_news", lambda it: time_limit())
            with pytest.raises(SoftTimeLimitExceeded), Guard(cents(9), action=ACTION, client=counted.client):
                pytest.fail("it ran")
        with Guard(cents(9), action=ACTION, client=counted.client):
            pass
    assert counted.spent == 9 * CENT


# -- as a value --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_has_all_its_fields_and_a_run_of_its_own(counted, copied, capsys):
    made = Limit(cents(50), action=RUN, hold=cents(10), workspace="w", ttl=7.0, metadata={"job": 1}, on_limit=print)
    other = copied(made)
    cycles.configure(counted.client)
    try:
        with other:
            with Guard(cents(3), action=ACTION):
                assert counted.reserved == 10 * CENT
            with Guard(cents(40), action=ACTION):
                pass
        assert (other.spent, made.spent) == (cents(43), cents(0))
    finally:
        cycles.configure(None)
    held = counted.client.reservation(other.reservation_id)
    assert (held.subject.workspace, held.metadata) == ("w", {"job": 1})
    assert capsys.readouterr().out.startswith("<Limit "), "on_limit was told"


def test_a_copy_of_a_running_one_does_not_run(counted):
    with Limit(cents(50), action=RUN, client=counted.client) as limit:
        other = copy.copy(limit)
        with other, Guard(cents(3), action=ACTION, client=counted.client):
            pass
        assert (other.spent, limit.spent) == (cents(3), cents(3)), "it drew on the outer one"


def test_a_decorated_closure_goes_by_value_and_a_client_does_not(counted):
    def made(**fields):
        @Limit(cents(50), action=RUN, hold=lambda: cents(10), **fields)
        def spending():
            with Guard(cents(3), action=ACTION):
                return counted.reserved // CENT

        return spending

    with pytest.raises(TypeError, match=r"leave client= out"):
        pickle.dumps(Limit(cents(50), action=RUN, client=counted.client))
    with pytest.raises(TypeError):
        cloudpickle.dumps(made(client=counted.client))


def test_a_refusal_is_pickled_whatever_the_limit_has_in_it(counted):
    limit = Limit(
        lambda: cents(10), action=lambda: RUN, hold=lambda: cents(5), client=counted.client, on_limit=lambda it: None
    )
    with limit, pytest.raises(cycles.BudgetExceeded) as caught, Guard(cents(50), action=ACTION, client=counted.client):
        pytest.fail("it ran")
    other = pickle.loads(pickle.dumps(caught.value))
    assert (other.limit.amount, other.limit.is_reached, str(other)) == (cents(10), True, str(caught.value))


# -- work that is late -------------------------------------------------------------------------------------------------
def test_run_takes_what_returns_a_coroutine_and_refuses_generators(counted):
    async def work():
        async with Guard(cents(3), action=ACTION, client=counted.async_client) as reservation:
            return reservation.id

    def lazy():
        yield 1

    async def lazy_too():
        yield 1

    with Limit(cents(50), action=RUN, client=counted.client) as limit:
        made = []
        thread = threading.Thread(target=lambda: made.append(asyncio.run(limit.run(lambda number: work(), 1))))
        thread.start()
        thread.join()
        assert made == [None], "it drew on the limit"
        for generator in (lazy, lazy_too, Guard(cents(3), action=ACTION, client=counted.client)(lazy)):
            with pytest.raises(TypeError, match="generator function"):
                limit.run(generator)
    assert counted.spent == 3 * CENT


# -- forks -------------------------------------------------------------------------------------------------------------
def in_child(*attempts):
    """Fork, and return what the child says of each attempt."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for attempt in attempts:
                try:
                    said = repr(attempt())
                except cycles.CyclesError as error:
                    said = f"{type(error).__name__} {error}"
                os.write(write, f"{said}\n".encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as lines:
        return lines.read().splitlines()


@forks
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_a_forked_child_can_not_spend_in_the_parents_sections(server, client, kept):
    def attempts(reservation):
        return (
            lambda: reservation.report(actual=cents(9)),
            lambda: reservation.commit(cents(9)),
            reservation.release,
        )

    with Limit(cents(50), action=RUN, client=client) as limit:
        inside = client.reserve(cents(10), action=ACTION)
        inside.report(actual=cents(2))
        said = in_child(*attempts(inside))
        assert [line.split()[:3] for line in said] == [
            ["InvalidRequest", "can't", f"{wanted}:"] for wanted in ("report", "commit", "release")
        ]
        until(lambda: [record["actual"]["amount"] for record in kept()] == [2 * CENT])
        inside.commit(cents(3))
    assert limit.spent == cents(3)
    alone = client.reserve(cents(10), action=ACTION)
    alone.report(actual=cents(2))
    (said,) = in_child(attempts(alone)[0])
    assert said.startswith("InvalidRequest can't report")
    until(lambda: [record["actual"]["amount"] for record in kept()] == [2 * CENT])
    alone.commit(cents(4))
    assert (server.spent(), server.held()) == (7, 0)


def test_in_its_own_process_everything_can_be_done(counted):
    reservation = counted.client.reserve(usd("0.10"), action=ACTION)
    reservation.report(actual=cents(2))
    reservation.commit(cents(2))
    assert counted.spent == 2 * CENT
