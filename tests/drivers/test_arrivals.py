"""What arrives from outside while a request is under way comes out; what the transport raises is an answer."""

from __future__ import annotations

import asyncio
import ctypes
import queue
import signal
import socket
import threading
from collections import deque
from contextlib import contextmanager

import httpcore
import httpx
import pytest

import cycles
from cycles import usd
from cycles._core.effects import Forget, Record
from cycles._drivers.lanes import Lanes
from cycles._drivers.network import DeadlineBackend
from cycles._drivers.world import World
from cycles._outside.arrivals import Arrival, arrived, harmless
from cycles.local import LocalAuthority
from cycles_api.client import AuthenticatedClient
from tests.support.authorities import ACTION, SCOPE
from tests.support.net import HANG, HANG_AFTER
from tests.support.records import pending
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no signals")


class SoftTimeLimitExceeded(Exception):
    """As celery's."""


class OwnTimeout(TimeoutError):
    """Of a program."""


LIMITS = [SoftTimeLimitExceeded, OwnTimeout("over"), TimeoutError("timed out"), ConnectionResetError(104, "reset")]


RUNG = threading.Event()


def ring(limit):
    RUNG.clear()

    def handler(signum, frame):
        RUNG.set()
        raise limit

    return handler


def hit():
    """Send this thread the signal."""
    signal.raise_signal(signal.SIGUSR1)


@contextmanager
def limited(limit):
    """Let SIGUSR1 raise *limit*."""
    before = signal.signal(signal.SIGUSR1, ring(limit))
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@contextmanager
def hit_by(server, operation):
    """Send this thread the signal as soon as *server* has seen a request.

    One that comes just before the thread begins to wait for the answer is handled only when that wait is over; the next
    one ends it.
    """
    main = threading.get_ident()

    def watch():
        server.wait_for(operation)
        signal.pthread_kill(main, signal.SIGUSR1)
        while not RUNG.wait(5.0):
            signal.pthread_kill(main, signal.SIGUSR1)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    yield
    watcher.join(PATIENCE)


def throw(thread, kind):
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))


# -- whose it is -------------------------------------------------------------------------------------------------------
def caught(function):
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def read_nothing():
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(0.001)
        one.recv(1)


def raise_bare():
    raise TimeoutError


@pytest.mark.parametrize(
    "own",
    [
        read_nothing,
        raise_bare,
        lambda: queue.SimpleQueue().get_nowait(),
        lambda: httpx.get("http://127.0.0.1:1/"),
        lambda: {}["missing"],
        lambda: next(iter(())),
        lambda: open("/nowhere/at/all"),  # noqa: PTH123, SIM115 - fails
    ],
)
def test_what_code_raises_is_its_own(own):
    assert arrived(caught(own), causes=True) is None


@pytest.mark.parametrize("limit", LIMITS, ids=repr)
def test_what_a_signal_handler_raises_arrived(limit):
    with limited(limit):
        assert arrived(caught(hit)) is not None


def test_what_another_thread_throws_arrived():
    """As stopit does: a class, which comes up where nothing raises it."""

    def run():
        while True:
            pass

    main = threading.get_ident()
    threading.Timer(0.01, throw, (main, TimeoutError)).start()
    assert isinstance(arrived(caught(run)), TimeoutError)
    assert arrived(caught(raise_bare), thrown=True) is None


def test_what_a_library_made_of_it_is_seen_through():
    def wrapped():
        try:
            hit()
        except TimeoutError as error:
            raise httpx.ReadTimeout("slow") from error

    with limited(TimeoutError("limit")):
        error = caught(wrapped)
    assert arrived(error) is None
    assert str(arrived(error, causes=True)) == "limit"


def test_harmless_code_may_fail_but_keeps_nothing_from_outside():
    with harmless():
        raise ValueError
    with limited(SoftTimeLimitExceeded), pytest.raises(SoftTimeLimitExceeded), harmless():
        hit()


# -- requests ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("limit", LIMITS, ids=repr)
def test_in_a_reserve_it_comes_out_and_the_hold_is_given_back(server, client, limit, monkeypatch):
    monkeypatch.setattr("cycles._client.upkeep._SETTLING_IN", 0.01)
    server.plan["reservations"] = deque([HANG_AFTER])
    ran = []
    with limited(limit), hit_by(server, "reservations"), pytest.raises(_kind(limit)) as raised:
        cycles.Guard(usd("0.10"), action=ACTION, client=client)(ran.append)(1)
    assert isinstance(limit, type) or raised.value is limit
    assert ran == []
    until(lambda: server.of("release"))
    until(lambda: server.held() == 0)


@pytest.mark.parametrize("journal_enabled", [True, False])
@pytest.mark.parametrize("limit", LIMITS, ids=repr)
def test_in_a_commit_it_comes_out_and_the_charge_is_made(server, config, limit, journal_enabled, monkeypatch):
    monkeypatch.setattr("cycles._client.upkeep.LATER", 0.01)
    server.plan["commit"] = deque([HANG])
    told = []
    with cycles.Client(config.replace(journal_enabled=journal_enabled), on_settlement=told.append) as client:
        reservation = client.reserve(usd("0.10"), action=ACTION)
        with limited(limit), hit_by(server, "commit"), pytest.raises(_kind(limit)):
            reservation.commit(usd("0.07"))
        until(lambda: [details.outcome for details in told] == ["settled"])
    assert server.spent() == 7
    assert len(set(server.keys("commit"))) == 1


@pytest.mark.parametrize("limit", LIMITS, ids=repr)
def test_in_any_other_request_it_comes_out(server, client, limit):
    server.plan["decide"] = deque([HANG])
    with limited(limit), hit_by(server, "decide"), pytest.raises(_kind(limit)):
        client.decide(usd("0.10"), action=ACTION)


@pytest.mark.parametrize("step", ["looking up", "connecting"])
@pytest.mark.parametrize("limit", LIMITS, ids=repr)
def test_in_a_connect_it_comes_out_and_is_no_failure_of_one_address(server, config, limit, step, monkeypatch):
    """`socket.create_connection` would go on to the next address."""
    look_up, connect = socket.getaddrinfo, socket.socket.connect

    def looked_up(host, *args, **options):
        if host != "two.example":
            return look_up(host, *args, **options)
        if step == "looking up":
            hit()
        return [*look_up("127.0.0.2", *args, **options), *look_up("127.0.0.1", *args, **options)]

    def connected(sock, address):
        if address[0] == "127.0.0.2":
            sock.close()  # the system's way leaves it to the collector, which warns
            hit()
        connect(sock, address)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(socket.socket, "connect", connected)
    elsewhere = config.replace(base_url=config.base_url.replace("127.0.0.1", "two.example"))
    with limited(limit), cycles.Client(elsewhere) as client, pytest.raises(_kind(limit)) as raised:
        client.decide(usd("0.10"), action=ACTION)
    assert isinstance(limit, type) or raised.value is limit
    assert not server.of("decide")


def test_an_error_in_a_write_does_not_pass_for_a_closed_socket():
    """httpcore goes on after a WriteError, and reads."""

    class Stream(httpcore.NetworkStream):
        def write(self, buffer, timeout=None):
            try:
                hit()
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    class Backend(httpcore.NetworkBackend):
        def connect_tcp(self, *args, **options):
            return Stream()

    stream = DeadlineBackend(Backend(), httpcore).connect_tcp("a", 1)
    stream.write(b"x")
    with limited(OSError(5, "the limit")), pytest.raises(Arrival) as raised:
        stream.read(1)
    assert raised.value.error.args == (5, "the limit")


def test_what_comes_out_does_not_carry_the_request_with_its_key(server, client):
    server.plan["decide"] = deque([HANG])
    with limited(TimeoutError("mine")), hit_by(server, "decide"), pytest.raises(TimeoutError) as raised:
        client.decide(usd("0.10"), action=ACTION)
    seen = [raised.value]
    for error in seen:
        seen += [found for found in (error.__cause__, error.__context__) if found is not None]
    assert not any(isinstance(error, httpx.HTTPError) for error in seen)


def test_a_bug_of_a_transport_is_no_lost_answer(config):
    def broken(request):
        raise KeyError("bug")

    with (
        httpx.Client(transport=httpx.MockTransport(broken)) as http,
        cycles.Client(config, http_client=http) as client,
        pytest.raises(KeyError),
    ):
        client.decide(usd("0.10"), action=ACTION)


# -- the authority inside this process ---------------------------------------------------------------------------------
@pytest.mark.parametrize("limit", LIMITS, ids=repr)
def test_in_a_transaction_it_comes_out_and_undoes_that(tmp_path, limit, monkeypatch):
    with LocalAuthority(tmp_path / "ledger.db") as authority:
        authority.budget(SCOPE, usd("1.00"))
        client = authority.client(tenant="acme")
        real = authority.store.writing

        @contextmanager
        def writing():
            with real() as books:
                yield books
                hit()

        with limited(limit), monkeypatch.context() as patch:
            patch.setattr(authority.store, "writing", writing)
            with pytest.raises(_kind(limit)):
                client.reserve(usd("0.10"), action=ACTION)
        assert authority.balance(SCOPE, "USD_MICROCENTS").reserved == 0
        client.reserve(usd("0.10"), action=ACTION).release()
        client.close()


# -- hooks -------------------------------------------------------------------------------------------------------------
def test_in_actual_it_goes_on_after_the_estimate_is_charged(server, client):
    with limited(SoftTimeLimitExceeded), pytest.raises(SoftTimeLimitExceeded):
        cycles.Guard(usd("0.10"), action=ACTION, client=client, actual=lambda result: hit())(lambda: "done")()
    assert (server.spent(), server.held()) == (10, 0)


def test_in_on_settlement_it_comes_out(server, config):
    with cycles.Client(config, on_settlement=lambda details: hit()) as client:
        reservation = client.reserve(usd("0.10"), action=ACTION)
        with limited(OwnTimeout("over")), pytest.raises(OwnTimeout):
            reservation.commit(usd("0.07"))
        assert server.spent() == 7


def test_in_the_journal_it_comes_out_after_the_record_is_written(server, client, kept, monkeypatch):
    from cycles._journal import records  # noqa: PLC0415 - what is patched

    monkeypatch.setattr("cycles._client.upkeep.LATER", 0.01)
    reservation, real, hits = client.reserve(usd("0.10"), action=ACTION), records.flush_directory, [1]

    def flush(path):
        real(path)
        if hits:
            hits.pop()
            hit()

    monkeypatch.setattr(records, "flush_directory", flush)
    with limited(OSError(5, "limit")), pytest.raises(OSError, match="limit"):
        reservation.commit(usd("0.07"))
    until(lambda: server.spent() == 7)
    until(lambda: kept() == [])


def test_in_close_it_comes_out_and_all_is_closed(server, config, monkeypatch):
    client = cycles.Client(config)
    client.reserve(usd("0.10"), action=ACTION).release()
    beats = client._runtime.heartbeats._beats
    monkeypatch.setattr("cycles._background.schedule._ended", lambda ending: (ending.result(PATIENCE), hit()))
    with limited(OwnTimeout("over")), pytest.raises(OwnTimeout):
        client.close()
    until(beats.loop.is_closed)


def _kind(limit):
    return limit if isinstance(limit, type) else type(limit)


@pytest.mark.parametrize("step", ["write", "forget"])
def test_what_arrives_while_a_record_is_kept_is_no_full_disk(step):
    """A journal that fails is logged, and settlement goes on; a time limit is not the journal's."""

    class Journal:
        def write(self, record, claim):
            hit()

        def forget(self, record, refusal):
            hit()

    world = World(AuthenticatedClient("http://a", "key"), lambda event, facts: None, journal=Journal())
    effect = Record(pending()) if step == "write" else Forget(pending())
    with limited(OSError(5, "limit")), pytest.raises(OSError, match="limit"):
        world.perform(effect)


def test_what_is_thrown_into_a_loops_thread_by_a_signal_is_no_full_pool(server, config):
    """The queue for a connection ends in a TimeoutError too."""

    async def main():
        async with cycles.AsyncClient(config) as client:
            await client.decide(usd("0.10"), action=ACTION)

            class Full(Lanes):
                async def wait(self, call):
                    hit()

            client._runtime.world.gate = Full(0)
            await client.decide(usd("0.10"), action=ACTION)

    with limited(TimeoutError("mine")), pytest.raises(TimeoutError, match="mine"):
        asyncio.run(main())
