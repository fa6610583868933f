"""Deadlines of blocking I/O: each step on the network is cut to what is left."""

from __future__ import annotations

import ssl
import time

import httpcore
import pytest

from cycles._drivers.deadline import deadline
from cycles._drivers.network import DeadlineBackend


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
