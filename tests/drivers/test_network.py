"""Deadlines of blocking I/O: each step on the network is cut to what is left."""

from __future__ import annotations

import socket
import ssl
import time

import httpcore
import pytest

from cycles._drivers.deadline import deadline
from cycles._drivers.network import DeadlineBackend, EachAddress


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
    with deadline(1.0, waiting_counts=True):
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
    with deadline(0.0, waiting_counts=True):
        with pytest.raises(httpcore.ReadTimeout):
            stream.read(1)
        with pytest.raises(httpcore.WriteTimeout):
            stream.write(b"")
        with pytest.raises(httpcore.ConnectTimeout):
            DeadlineBackend(network, httpcore).connect_tcp("localhost", 80)
    assert network.steps == []


def test_waiting_for_a_connection_may_not_count():
    network = Recorder()
    with deadline(0.05, waiting_counts=False):
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
