"""What both drivers stand on: effects without waiting, deadlines of blocking I/O, and names of aiohttp's trouble."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time

import aiohttp
import anyio
import httpcore
import httpx
import pytest

from cycles import usd
from cycles._core import requests
from cycles._core.effects import Call, Clock, Ready
from cycles._core.operations import CREATE_RESERVATION
from cycles._core.outcomes import Trouble
from cycles._drivers import aio, blocking
from cycles._drivers.aiohttp_engine import _meant
from cycles._drivers.deadline import deadline
from cycles._drivers.network import DeadlineBackend
from cycles._drivers.world import World
from cycles_api.client import AuthenticatedClient


def world() -> World:
    return World(AuthenticatedClient("http://a", "key"), lambda event, facts: None)


def test_the_time_of_day_is_in_milliseconds():
    assert abs(world().perform(Clock()) - time.time() * 1000) < 60_000


def test_nothing_can_be_kept_without_a_journal():
    assert world().perform(Ready()) is False


class Recorder(httpcore.NetworkBackend, httpcore.NetworkStream):
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
    with deadline(1.0, waiting_counts=True):
        each_step(DeadlineBackend(network))
    assert [name for name, _ in network.steps] == NAMES
    assert all(timeout is not None and 0 < timeout <= 1.0 for _, timeout in network.steps)


def test_without_a_deadline_steps_keep_their_own_timeouts():
    network = Recorder()
    each_step(DeadlineBackend(network))
    DeadlineBackend(network).sleep(0.5)
    assert network.steps == [*zip(NAMES, [5.0, 5.0, 5.0, 5.0, None], strict=True), ("sleep", 0.5)]


def test_what_comes_too_late_never_reaches_the_network():
    network = Recorder()
    stream = DeadlineBackend(network).connect_tcp("localhost", 80)
    network.steps.clear()
    with deadline(0.0, waiting_counts=True):
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(1)
        with pytest.raises(httpcore.WriteTimeout):
            stream.write(b"")
        with pytest.raises(httpcore.ConnectTimeout):
            DeadlineBackend(network).connect_tcp("localhost", 80)
    assert network.steps == []


def test_waiting_for_a_connection_may_not_count():
    network = Recorder()
    with deadline(0.05, waiting_counts=False):
        time.sleep(0.06)  # as a busy pool would
        DeadlineBackend(network).connect_tcp("localhost", 80)
    assert len(network.steps) == 1


def answer(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"decision": "ALLOW", "affected_scopes": []})


def asked():
    """A flow of one request."""
    terms = requests.terms(usd("1"), action=("a", "b"), levels={"tenant": "acme"})
    return (yield from Call(CREATE_RESERVATION, body=terms.create_body("key")))


def test_the_time_in_a_queue_is_no_time_on_the_wire():
    """A lease is judged by its round trips: 1,000 guards that began at once lost most of theirs to the queue."""
    lanes = threading.Semaphore(0)
    api = AuthenticatedClient("http://a", "key", httpx_args={"transport": httpx.MockTransport(answer)})
    with api:
        threading.Timer(0.3, lanes.release).start()
        began = time.monotonic()
        found = blocking.run(asked(), World(api, lambda event, facts: None, lanes=lanes))
    assert found.status == 200
    assert found.sent_at - began >= 0.29
    assert lanes.acquire(blocking=False), "the lane is free again"


def test_who_waits_too_long_for_a_turn_has_sent_nothing():
    api = AuthenticatedClient("http://a", "key")

    def one():
        return (yield from Call(CREATE_RESERVATION, within=0.05, body=None))

    found = blocking.run(one(), World(api, lambda event, facts: None, lanes=threading.Semaphore(0)))
    assert found.trouble is Trouble.NOT_SENT
    assert "no connection was free in time" in found.reason


def test_the_same_queue_in_an_event_loop():
    async def main():
        gate = anyio.Semaphore(0)
        api = AuthenticatedClient("http://a", "key", httpx_args={"transport": httpx.MockTransport(answer)})
        async with api:
            asyncio.get_running_loop().call_later(0.3, gate.release)
            began = time.monotonic()
            found = await aio.run(asked(), World(api, lambda event, facts: None, gate=gate))
        assert found.status == 200
        assert found.sent_at - began >= 0.29

    asyncio.run(main())


KEY = aiohttp.client_reqrep.ConnectionKey("h", 80, False, True, None, None, None)


@pytest.mark.parametrize(
    ("cause", "meant"),
    [
        (aiohttp.ClientProxyConnectionError(KEY, OSError("refused")), httpx.ProxyError),
        (aiohttp.ClientConnectorError(KEY, OSError("refused")), httpx.ConnectError),
        (aiohttp.ConnectionTimeoutError("connect"), httpx.ConnectTimeout),
        (aiohttp.ServerDisconnectedError(), httpx.RemoteProtocolError),
        (aiohttp.ClientPayloadError("cut off"), httpx.RemoteProtocolError),
        (aiohttp.ClientOSError("reset"), httpx.ReadError),
        (aiohttp.SocketTimeoutError("read"), httpx.ReadTimeout),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_only_what_never_connected_is_called_so(cause, meant):
    """Everything else may have reached the authority."""
    said = httpx.ReadTimeout("said") if meant is httpx.ReadTimeout else httpx.ConnectTimeout("said")
    said.__cause__ = cause
    assert type(_meant(said, httpx.Request("GET", "http://h"))) is meant
