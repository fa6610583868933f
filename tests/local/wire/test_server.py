"""The authority over HTTP on loopback, in a thread of this process."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from cycles import tokens
from cycles._outside.extras import install
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
from cycles.local.wire.messages import MAX_BODY, Request, Response
from cycles.local.wire.routes import routes_of
from cycles.local.wire.server import Asgi, Server, listening, serve, url_of
from tests.support import document
from tests.support.authorities import SCOPE, Clock
from tests.support.waiting import PATIENCE, until
from tests.support.wire import Wire, failed


@pytest.fixture(params=["memory", "file"])
def served(request, tmp_path):
    clock = Clock()
    with LocalAuthority(None if request.param == "memory" else tmp_path / "ledger.db", clock=clock) as authority:
        authority.budget(SCOPE, tokens(100))
        wire = Wire(authority, clock)
        with (
            serve(authority) as url,
            httpx.Client(base_url=url, headers=wire.http.headers, event_hooks=wire.http.event_hooks) as http,
        ):
            wire.http = http
            yield wire


def test_the_protocol_over_http(served):
    held = served.reserve(40, metadata={"grüße": "✓"})
    assert held.headers["date"]
    assert served.extend(held, 1_000).json()["remaining_ttl_ms"] == 61_000
    assert served.commit(held, 30).json()["released"]["amount"] == 10
    assert served.event(5).status_code == 201
    assert failed(served.reserve(66), 409, "BUDGET_EXCEEDED")
    (row,) = served.get("/v1/reservations", status="COMMITTED").json()["reservations"]
    assert served.get(f"/v1/reservations/{row['reservation_id']}").json()["metadata"] == {"grüße": "✓"}
    assert failed(served.http.get("/v1/reservations/a%2F..%2Fb"), 404, "NOT_FOUND")
    assert served.get("/actuator/health").json() == {"status": "UP"}


def test_39_over_http(served):
    with ThreadPoolExecutor(5) as pool:
        codes = sorted(response.status_code for response in pool.map(served.reserve, [30] * 5))
    assert codes == [200, 200, 200, 409, 409]


def test_one_that_waits_for_the_file_holds_nobody_up(tmp_path):
    path = tmp_path / "ledger.db"
    with (
        LocalAuthority(path) as authority,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        serve(authority) as url,
        ThreadPoolExecutor(1) as pool,
    ):
        wire = Wire(authority, Clock())
        other.execute("BEGIN IMMEDIATE")
        waiting = pool.submit(httpx.post, f"{url}/v1/decide", json=wire.ask(1), headers=dict(wire.http.headers))
        time.sleep(0.1)  # or a little less: a request that has not come yet holds nobody up either
        assert httpx.get(f"{url}/actuator/health", timeout=PATIENCE).is_success
        assert not waiting.done()
        other.execute("COMMIT")
        assert waiting.result(PATIENCE).is_success


@pytest.mark.parametrize("size", [MAX_BODY + 1, 8 * MAX_BODY])
def test_a_body_that_is_too_large(served, size):
    try:
        response = served.http.post(
            "/v1/decide", content=b"x" * size, headers={"Content-Type": "application/json", "Connection": "close"}
        )
    except httpx.WriteError:
        assert size > MAX_BODY + 1, "only a long body may be cut off while it is being sent"
    else:
        assert failed(response, 413, "INVALID_REQUEST")
    assert served.decide(1).is_success


def test_idle_holds_are_swept(served, monkeypatch):
    """Nobody asks for anything, and still what is overdue is given back."""
    monkeypatch.setattr("cycles.local.wire.server.SWEEP_EVERY", 0.02)
    with serve(served.authority):
        served.reserve(10)
        served.clock.now += 1_000_000

        def reserved() -> int:
            with served.authority.store.reading() as books:
                return books.budget(SCOPE, "TOKENS").reserved

        until(lambda: reserved() == 0)


def test_a_ledger_that_is_gone_is_said_once(tmp_path, monkeypatch, caplog):
    """Not with each sweep, and without a traceback."""
    monkeypatch.setattr("cycles.local.wire.server.SWEEP_EVERY", 0.001)
    swept: list[int] = []
    with LocalAuthority(tmp_path / "ledger.db") as authority:
        (tmp_path / "ledger.db").rename(tmp_path / "elsewhere.db")
        sweep = authority.sweep
        monkeypatch.setattr(authority, "sweep", lambda: (swept.append(1), sweep())[1])
        with serve(authority):
            until(lambda: len(swept) >= 5)
    (line,) = caplog.records
    assert line.getMessage().startswith("the sweep failed: the ledger")
    assert line.exc_info is None


@pytest.mark.slow
def test_the_authority_outlives_its_server(served):
    with serve(served.authority) as url:
        assert httpx.get(f"{url}/actuator/health").json() == {"status": "UP"}
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/actuator/health")
    assert served.authority.balance(SCOPE, "TOKENS").remaining == 100


@pytest.mark.slow
def test_what_is_being_answered_when_it_ends_is_answered(tmp_path, monkeypatch):
    """Stopped in the middle of a request: it takes no new ones, lets that one be answered, and then is gone."""
    began, may_go_on = threading.Event(), threading.Event()
    with LocalAuthority(tmp_path / "ledger.db") as authority, listening(port=0) as listener:
        authority.budget(SCOPE, tokens(100))
        wire, url, handle = Wire(authority, Clock()), url_of(listener), authority.app.handle

        def slowly(request: Request) -> Response:
            began.set()
            assert may_go_on.wait(PATIENCE)
            return handle(request)

        monkeypatch.setattr(authority.app, "handle", slowly)
        server = Server(authority)
        running = threading.Thread(target=server.run, args=([listener],))
        running.start()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(
                httpx.post,
                f"{url}/v1/reservations",
                json=wire.ask(40),
                headers=dict(wire.http.headers),
                timeout=PATIENCE,
            )
            assert began.wait(PATIENCE)
            server.should_exit = True
            until(lambda: not _listens(listener))
            with pytest.raises(TimeoutError):
                asked.result(0.4)  # neither answered nor cut off
            assert running.is_alive()
            may_go_on.set()
            assert asked.result(PATIENCE).json()["decision"] == "ALLOW"
        running.join(PATIENCE)
        assert not running.is_alive()
        assert authority.balance(SCOPE, "TOKENS").reserved == 40


def _listens(listener: socket.socket) -> bool:
    return listener.fileno() >= 0


def test_errors_and_headers_over_http(served):
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Request-Id": "mine"}
    body = {"content": b"{}", "headers": parent | {"Content-Type": "text/plain"}}
    asked = [
        (404, "NOT_FOUND", served.http.get("/v1/nowhere", headers=parent)),
        (405, "INVALID_REQUEST", served.http.put("/v1/decide", headers=parent)),
        (415, "INVALID_REQUEST", served.http.post("/v1/decide", **body)),
        (401, "UNAUTHORIZED", served.http.get("/v1/nowhere", headers=parent | {"X-Cycles-API-Key": ""})),
    ]
    for status, code, response in asked:
        assert failed(response, status, code)
        assert response.headers["X-Cycles-Trace-Id"] == trace
        assert response.headers["X-Request-Id"] != "mine"
        assert ("X-Cycles-Tenant" in response.headers) == (status != 401)
    assert asked[1][2].headers["Allow"] == "POST"
    assert len({response.headers["X-Request-Id"] for _, _, response in asked}) == 4
    for probe in ("", "/readiness", "/liveness"):
        health = served.http.get(f"/actuator/health{probe}", headers={"X-Cycles-API-Key": ""})
        assert (health.status_code, health.json()) == (200, {"status": "UP"})


def test_it_listens_on_loopback_unless_told_otherwise():
    with listening(port=0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
    for everywhere in ("0.0.0.0", "::", ""):
        with pytest.raises(ConfigError, match=f"host '{everywhere}'"):
            listening(everywhere, 0)


LEFTOVERS = """
import gc, logging, os, threading, httpx
from cycles.local import LocalAuthority
from cycles.local.wire.server import serve

logging.getLogger("asyncio").setLevel("ERROR")  # in development mode it warns of steps that a busy machine made slow

def state():
    gc.collect()
    handlers = [*logging.root.handlers, *logging.getLogger("uvicorn").handlers]
    return threading.active_count(), len(os.listdir("/dev/fd")), handlers

found = []
with LocalAuthority() as authority:
    for _ in range(3):
        with serve(authority) as url:
            assert httpx.get(f"{url}/actuator/health").is_success
        found.append(state())
assert found[0] == found[2] and found[0][0] == 1 and not found[0][2], found
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="how many files are open is not to be seen here")
def test_a_server_leaves_nothing_behind():
    """No thread, no socket, no warning of either, and the process logs as it did."""
    line = [sys.executable, "-X", "dev", "-W", "error", "-c", LEFTOVERS]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_another_machine_needs_permission():
    with pytest.raises(ConfigError, match="beyond-loopback"):
        listening("0.0.0.0", 0)
    with listening("0.0.0.0", 0, beyond_loopback=True) as listener:
        assert url_of(listener).startswith("http://0.0.0.0:")
    with listening("localhost", 0) as listener:
        assert url_of(listener).startswith("http://")


def test_addresses_that_cannot_be_had():
    with listening() if _free(7878) else listening(port=0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}"):
            listening(port=port)
    with pytest.raises(ConfigError, match="no-such-host"):
        listening("no-such-host.invalid")


def _free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_without_the_extra():
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "from cycles.errors import ConfigError\n"
        "try:\n    import cycles.local.wire.server\nexcept ConfigError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout == f"serving over HTTP needs an extra: {install('server')}\n"


def test_only_http():
    async def connect() -> None:
        with LocalAuthority() as authority:
            await Asgi(authority)({"type": "websocket"}, None, None)

    with pytest.raises(RuntimeError, match="HTTP only"):
        asyncio.run(connect())


def test_an_endless_body_is_not_collected():
    async def go(sent: list) -> None:
        async def receive() -> dict:
            received.append(1)
            return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

        async def send(message: dict) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "raw_path": b"/v1/decide", "query_string": b""}
        with LocalAuthority() as authority:
            secret = authority.key(tenant="acme").encode()
            await asyncio.wait_for(
                Asgi(authority)(scope | {"headers": [(b"x-cycles-api-key", secret)]}, receive, send), 5
            )

    received: list = []
    sent: list = []
    asyncio.run(go(sent))
    assert sent[0]["status"] == 413
    assert len(received) == MAX_BODY // 65_536 + 1


def test_a_client_that_goes_away_is_no_error():
    """A request whose body never ends leaves no answer behind and no reservation."""

    async def go(sent: list) -> None:
        async def receive() -> dict:
            return messages.pop(0)

        async def send(message: dict) -> None:
            sent.append(message)

        messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
        scope = {"type": "http", "method": "POST", "raw_path": b"/v1/decide", "query_string": b"", "headers": []}
        with LocalAuthority() as authority:
            await Asgi(authority)(scope, receive, send)

    sent: list = []
    asyncio.run(go(sent))
    assert sent == []


def test_the_document_knows_every_route():
    """The table of routes and the document's operations are the same, health aside."""
    for method, pattern, _ in document.operations():
        path = pattern.pattern.replace("[^/]+", "x")
        routes = routes_of(path, path.split("/")[1:])
        assert routes, path
        assert method in routes, (method, path)
    assert len(document.operations()) == 11
