"""Steps on the network: a request leaves in one piece, and in blocking code each step is cut to what is left."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time

import httpcore
import pytest

import cycles
from cycles import usd
from cycles._drivers import network
from cycles._drivers.deadline import Deadline
from cycles._drivers.network import AsyncBackend, DeadlineBackend, EachAddress
from tests.support.authorities import ACTION


class Recorder:
    """Notes the timeout of each step that reaches the network."""

    def __init__(self):
        self.steps = []

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.steps.append(("connect", timeout))
        return self

    def connect_unix_socket(self, path, timeout=None, socket_options=None):
        self.steps.append((path, timeout))
        return self

    def start_tls(self, ssl_context, server_hostname=None, timeout=None):
        self.steps.append((server_hostname, timeout))
        return self

    def read(self, max_bytes, timeout=None):
        self.steps.append((max_bytes, timeout))
        return b""

    def write(self, buffer, timeout=None):
        self.steps.append((buffer, timeout))

    def sleep(self, seconds):
        self.steps.append(("sleep", seconds))


def each_step(backend: DeadlineBackend) -> None:
    stream = backend.connect_tcp("localhost", 80, 5.0).start_tls(ssl.create_default_context(), "name", 5.0)
    backend.connect_unix_socket("/socket", 5.0)
    stream.write(b"x", 5.0)
    stream.read(7, None)


NAMES = ["connect", "name", "/socket", b"x", 7]


def test_each_step_is_cut_to_what_is_left():
    network = Recorder()
    with Deadline(1.0, waiting_counts=True):
        each_step(DeadlineBackend(network, httpcore))
    assert [name for name, _ in network.steps] == NAMES
    assert all(timeout is not None and 0 < timeout <= 1.0 for _, timeout in network.steps)


def test_without_a_deadline_steps_keep_their_own_timeouts():
    network = Recorder()
    each_step(DeadlineBackend(network, httpcore))
    DeadlineBackend(network, httpcore).sleep(0.5)
    assert network.steps == [*zip(NAMES, [5.0, 5.0, 5.0, 5.0, None], strict=True), ("sleep", 0.5)]


def test_what_comes_too_late_never_reaches_the_network():
    network = Recorder()
    stream = DeadlineBackend(network, httpcore).connect_tcp("localhost", 80)
    network.steps.clear()
    with Deadline(0.0, waiting_counts=True):
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(1)
        stream.write(b"x")
        with pytest.raises(httpcore.WriteTimeout):
            stream.read(1)
        with pytest.raises(httpcore.ConnectTimeout):
            DeadlineBackend(network, httpcore).connect_tcp("localhost", 80)
    assert network.steps == []


def test_waiting_for_a_connection_may_not_count():
    network = Recorder()
    with Deadline(0.05, waiting_counts=False):
        time.sleep(0.06)  # as a busy pool would
        DeadlineBackend(network, httpcore).connect_tcp("localhost", 80)
    assert len(network.steps) == 1


# -- several addresses -------------------------------------------------------------------------------------------------
class Refusing(Recorder):
    """Refuses each address but the last."""

    def connect_tcp(self, host, port, timeout=None, local_address=None, socket_options=None):
        self.steps.append((host, timeout))
        if host != "192.0.2.3":
            raise (httpcore.ConnectTimeout if host == "192.0.2.2" else httpcore.ConnectError)(host)
        return self


@pytest.fixture
def found(monkeypatch):
    """What the system finds of each name."""
    places = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, **_: [(2, 1, 6, "", place) for place in places])
    return places


def test_addresses_are_tried_in_turn(found):
    found[:] = [(f"192.0.2.{number}", 80) for number in (1, 1, 2, 3, 4)]
    network = Refusing()
    assert EachAddress(network, httpcore).connect_tcp("cycles.example", 80, 5.0) is network
    assert network.steps == [("192.0.2.1", 5.0), ("192.0.2.2", 5.0), ("192.0.2.3", 5.0)]


def test_the_last_address_says_why_there_is_no_connection(found):
    found[:] = [("192.0.2.1", 80), ("192.0.2.2", 80)]
    with pytest.raises(httpcore.ConnectTimeout, match=r"192\.0\.2\.2"):
        EachAddress(Refusing(), httpcore).connect_tcp("cycles.example", 80)
    found.clear()
    with pytest.raises(httpcore.ConnectError, match=r"cycles\.example has no address"):
        EachAddress(Refusing(), httpcore).connect_tcp("cycles.example", 80)


def test_the_zone_of_an_address_goes_along(found):
    found[:] = [("fe80::1", 80, 0, 3), ("fe80::1%eth0", 80, 0, 3), ("2001:db8::1", 80, 0, 0), ("192.0.2.3", 80)]
    network = Refusing()
    EachAddress(network, httpcore).connect_tcp("cycles.example", 80)
    assert [host for host, _ in network.steps] == ["fe80::1%3", "fe80::1%eth0", "2001:db8::1", "192.0.2.3"]


def test_a_name_that_is_not_found_is_no_connection(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(httpcore.ConnectError, match="not known"):
        EachAddress(Recorder(), httpcore).connect_tcp("cycles.example", 80)


def test_other_steps_go_straight_through():
    network = Recorder()
    EachAddress(network, httpcore).connect_unix_socket("/socket", 5.0)
    EachAddress(network, httpcore).sleep(0.5)
    assert network.steps == [("/socket", 5.0), ("sleep", 0.5)]


# -- in one piece ------------------------------------------------------------------------------------------------------
class AsyncRecorder:
    """The asynchronous side of a `Recorder`."""

    def __init__(self, network):
        self.network = network

    async def connect_tcp(self, *args, **options):
        self.network.connect_tcp(*args, **options)
        return self

    async def connect_unix_socket(self, *args, **options):
        self.network.connect_unix_socket(*args, **options)
        return self

    async def start_tls(self, *args, **options):
        self.network.start_tls(*args, **options)
        return self

    async def read(self, *args):
        return self.network.read(*args)

    async def write(self, *args):
        return self.network.write(*args)

    async def sleep(self, seconds):
        self.network.sleep(seconds)


async def each_step_async(network: Recorder) -> None:
    backend = AsyncBackend(AsyncRecorder(network), httpcore)
    stream = await (await backend.connect_tcp("localhost", 80, 5.0)).start_tls(None, "name", 5.0)
    await backend.connect_unix_socket("/socket", 5.0)
    for part in (b"he", b"", b"ad"):
        await stream.write(part, 5.0)
    await stream.read(7, None)
    await stream.read(8, None)
    await backend.sleep(0.5)


def test_what_is_written_leaves_in_one_piece_with_the_next_read():
    network = Recorder()
    stream = DeadlineBackend(network, httpcore).connect_tcp("localhost", 80, 5.0)
    for part in (b"he", b"", b"ad"):
        stream.write(part, 5.0)
    assert len(network.steps) == 1
    stream.read(7, None)
    stream.read(8, None)
    assert network.steps[1:] == [(b"head", 5.0), (7, None), (8, None)]


def test_asynchronous_steps_are_the_same():
    network = Recorder()
    asyncio.run(each_step_async(network))
    steps = ["connect", "name", "/socket", b"head", 7, 8, "sleep"]
    assert network.steps == list(zip(steps, [5.0, 5.0, 5.0, 5.0, None, None, 0.5], strict=True))


# -- after the end of the main thread ----------------------------------------------------------------------------------
@pytest.fixture
def outliving(monkeypatch):
    """The main thread has ended, as when only worker threads are left: asyncio looks no name up any more."""
    ended = threading.Thread()
    monkeypatch.setattr(threading, "main_thread", lambda: ended)


class Naming(AsyncRecorder):
    """Notes to which hosts it connects; refuses those that are *closed*."""

    def __init__(self, closed=()):
        super().__init__(Recorder())
        self.hosts = []
        self.closed = closed

    async def connect_tcp(self, host, *args, **options):
        self.hosts.append(host)
        if host in self.closed:
            raise httpcore.ConnectError(host)
        return self


def connect(inner):
    async def main():
        await AsyncBackend(inner, httpcore).connect_tcp("cycles.example", 80)

    asyncio.run(main())
    return inner.hosts


@pytest.mark.parametrize("threads", [True, False])
def test_names_are_looked_up_without_asyncio(outliving, monkeypatch, threads):
    def none_left(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    place = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    found = [(*place, ("192.0.2.1", 0)), (*place, ("192.0.2.2", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    if not threads:
        monkeypatch.setattr(threading.Thread, "start", none_left)
    assert connect(Naming()) == ["192.0.2.1"]
    assert connect(Naming(closed=["192.0.2.1"])) == ["192.0.2.1", "192.0.2.2"]
    with pytest.raises(httpcore.ConnectError, match=r"192\.0\.2\.2"):
        connect(Naming(closed=["192.0.2.1", "192.0.2.2"]))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(httpcore.ConnectError, match="no address"):
        connect(Naming())


def test_a_name_that_nobody_knows_is_a_failed_connection(outliving, monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(httpcore.ConnectError, match="not known"):
        connect(Naming())


class Closing(Recorder):
    """Answers, and takes nothing."""

    def write(self, buffer, timeout=None):
        raise httpcore.WriteError("closed")


def test_an_answer_that_comes_before_the_end_of_its_request_is_read():
    network = Closing()
    stream = DeadlineBackend(network, httpcore).connect_tcp("localhost", 80)
    stream.write(b"x")
    assert stream.read(7) == b""

    async def main():
        stream = await AsyncBackend(AsyncRecorder(network), httpcore).connect_tcp("localhost", 80)
        await stream.write(b"x")
        return await stream.read(7)

    assert asyncio.run(main()) == b""


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("engine", ["httpx", "httpx2"])
def test_a_request_and_its_body_are_one_call_of_the_system(server, config, monkeypatch, engine, kind):
    heads, real = [], socket.socket.send

    def send(self, buffer, *flags):
        if bytes(buffer).startswith(b"POST"):
            heads.append(bytes(buffer))
        return real(self, buffer, *flags)

    async def main():
        async with cycles.AsyncClient(config) as client:
            await client.decide(usd("0.10"), action=ACTION)

    config = config.replace(http_engine=engine)
    monkeypatch.setattr(socket.socket, "send", send)
    if kind == "async":
        asyncio.run(main())
    else:
        with cycles.Client(config) as client:
            client.decide(usd("0.10"), action=ACTION)
    assert [b'"idempotency_key"' in head for head in heads] == [True]


class Idle:
    """An idle connection's stream, which counts how often its socket was looked up."""

    def __init__(self, end):
        self.end, self.looked_up = end, 0

    def get_extra_info(self, info):
        self.looked_up += info == "socket"
        return self.end if info == "socket" else f"the library's {info}"


def test_whether_an_idle_connection_was_ended_is_asked_of_its_socket(monkeypatch):
    near, far = socket.socketpair()
    with near, far:
        idle = Idle(near)
        stream = network._AsyncStream(idle, httpcore)
        assert not stream.get_extra_info("is_readable")
        assert not stream.get_extra_info("is_readable")
        far.close()
        assert stream.get_extra_info("is_readable")
        assert idle.looked_up == 1
        assert stream.get_extra_info("server_addr") == "the library's server_addr"
    assert network._AsyncStream(Idle(near), httpcore).get_extra_info("is_readable"), "a closed one is at its end"
    monkeypatch.setattr(network, "_HAS_POLL", False)
    assert stream.get_extra_info("is_readable") == "the library's is_readable"
