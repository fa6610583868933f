"""A server's connections: idle ones keep nobody out and do not stay, and what goes wrong does not fill a log."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import subprocess
import sys
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest

from cycles.local import LocalAuthority
from cycles.local.wire import connections, log
from cycles.local.wire.server import serve
from tests.support.waiting import PATIENCE


def connected(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=PATIENCE)


def is_healthy(url: str) -> bool:
    return httpx.get(f"{url}/actuator/health", timeout=PATIENCE).status_code == 200


def closes(connection: socket.socket) -> bool:
    """Whether the other side closes; waits until it does."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(connections, "most_connections", lambda: 8)
    monkeypatch.setattr(connections, "REQUEST_WITHIN", 3600.0)  # it is not the time that closes them


def test_idle_connections_keep_nobody_out(few):
    with LocalAuthority() as authority, serve(authority) as url, ExitStack() as open_ones:
        idle = [open_ones.enter_context(connected(url)) for _ in range(30)]
        assert is_healthy(url)
        assert closes(idle[0]), "the one that was idle longest made room"


def test_a_connection_that_was_useful_goes_last(few):
    with (
        LocalAuthority() as authority,
        serve(authority) as url,
        httpx.Client(base_url=url, timeout=PATIENCE) as http,
        ExitStack() as open_ones,
    ):
        assert http.get("/actuator/health").status_code == 200
        (kept,) = http._transport._pool.connections  # type: ignore[attr-defined]
        for _ in range(30):
            open_ones.enter_context(connected(url))
        assert http.get("/actuator/health").status_code == 200
        assert http._transport._pool.connections == [kept]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /actuator/health HT",
        b"POST /v1/decide HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ],
)
def test_a_request_that_does_not_arrive_is_not_waited_for(monkeypatch, caplog, sent):
    """No first request, half of one, half of a body; none of them leaves a line in the log."""
    monkeypatch.setattr(connections, "REQUEST_WITHIN", 0.05)
    with LocalAuthority() as authority, serve(authority) as url, connected(url) as connection:
        connection.sendall(sent)
        assert closes(connection)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.slow
def test_half_of_a_second_request_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(connections, "REQUEST_WITHIN", 0.5)
    with LocalAuthority() as authority, serve(authority) as url, connected(url) as connection:
        connection.sendall(b"GET /actuator/health HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while b"UP" not in received:
            part = connection.recv(4096)
            assert part
            received += part
        connection.sendall(b"GET /actu")
        assert closes(connection)


def test_accept_errors_are_logged_once_in_a_while(caplog):
    now = [100.0]
    loop = asyncio.new_event_loop()
    try:
        handler = connections.quieter(loop, lambda: now[0])
        context = {
            "message": "socket.accept() out of system resource",
            "exception": OSError(errno.EMFILE, "Too many open files"),
        }
        with caplog.at_level(logging.ERROR):
            for _ in range(2000):
                handler(loop, context)
            now[0] += connections.ACCEPT_ERRORS_EVERY
            handler(loop, context)
            handler(loop, {"message": "something else", "exception": ValueError("x")})
    finally:
        loop.close()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "no connection can be taken: Too many open files (0 more times since the last such line)",
        "no connection can be taken: Too many open files (1999 more times since the last such line)",
        "something else",
    ]


def test_lines_that_strangers_cause_are_logged_once_in_a_while(caplog):
    """Those of the authority all pass, and so does a traceback."""
    now = [100.0]
    caplog.handler.addFilter(sparing := log.Sparing(lambda: now[0]))
    try:
        for _ in range(1000):
            logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        logging.getLogger("uvicorn.error").warning("another %s", "line")
        now[0] += log.EVERY
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
        for _ in range(2):
            logging.getLogger("cycles.local").error("GET / 500")
            logging.getLogger("uvicorn.error").error("failed", exc_info=ValueError("x"))
    finally:
        caplog.handler.removeFilter(sparing)
    assert [record.getMessage() for record in caplog.records] == [
        "Invalid HTTP request received.",
        "another line",
        "Invalid HTTP request received. (999 more times since the last such line)",
        *(["GET / 500", "failed"] * 2),
    ]


def test_half_of_the_open_files_are_connections():
    assert 8 <= connections.most_connections() <= connections.MOST


CROWD = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
import httpx
idle = [socket.create_connection(("127.0.0.1", int(sys.argv[1]))) for _ in range(1100)]
for _ in range(5):
    assert httpx.get(f"http://127.0.0.1:{sys.argv[1]}/actuator/health", timeout=300).status_code == 200
print("heard")
"""
SERVING = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
from cycles.cli import main
sys.argv = ["cycles", "serve", "--port", "0", "--db", sys.argv[1]]
main()
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no such limits there")
def test_a_crowd_of_idle_connections_does_not_deafen_it(tmp_path):
    """1,100 connections without a request, where a process may have 1,024 open files."""
    command = [sys.executable, "-c", SERVING, str(tmp_path / "ledger.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[0].removeprefix("CYCLES_BASE_URL=")
            crowd = [sys.executable, "-c", CROWD, str(urlsplit(url).port)]
            done = subprocess.run(crowd, capture_output=True, text=True, timeout=PATIENCE, check=False)
            assert (done.stdout, done.stderr) == ("heard\n", "")
        finally:
            process.terminate()
            log = process.communicate(timeout=PATIENCE)[1]
    assert len(log) < 2_000, log[:2_000]
