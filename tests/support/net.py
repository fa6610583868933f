"""A whole authority on a loopback port that loses, delays and spoils answers as a test plans it."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple

from cycles import usd
from cycles.local import LocalAuthority
from cycles.local.wire.messages import Request
from tests.support.authorities import SCOPE, UNIT
from tests.support.waiting import PATIENCE

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable


class Seen(NamedTuple):
    """A request that reached the server."""

    operation: str  # "commit", "events", "extend", ...
    key: str | None
    body: dict[str, Any]
    at: float  # seconds since the epoch


class Answer(NamedTuple):
    """An answer of the plan's own, instead of the authority's."""

    status: int
    body: Any = None
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


LOSE = "lose the answer"  # the authority has done it
DROP = "drop the request"  # the authority never sees it
HANG = "hang before"  # never answered; the authority never sees it
HANG_AFTER = "hang after"  # never answered; the authority has done it


class Quiet(ThreadingHTTPServer):
    """A server that makes no noise about killed clients' connections."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, address: Any) -> None:
        pass


class Server:
    """See the module. `plan["commit"]` holds what happens to the next commits, one after the other.

    Attributes:
        charges: Of each key that charged: the metadata's `work` and the amount, as the authority took it.
        commits: Of each reservation that was committed: the amount.
    """

    def __init__(self, authority: LocalAuthority) -> None:
        self.authority = authority
        self.seen: list[Seen] = []
        self.plan: dict[str, deque[Any]] = {}
        self.always: dict[str, Any] = {}
        self.chance: Callable[[str], Any] = lambda operation: None
        self.charges: dict[str, tuple[str, int]] = {}
        self.commits: dict[str, int] = {}
        self.closing = threading.Event()
        self._arrived = threading.Condition()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                server.handle(self)

            do_GET = do_POST = _any  # noqa: N815

            def log_message(self, *args: Any) -> None:
                pass

        self._handler = Handler
        self._listen(0)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def _listen(self, port: int) -> None:
        self._http = Quiet(("127.0.0.1", port), self._handler)
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def restart(self, pause: float) -> None:
        """Be gone for *pause* seconds; an authority on a file is opened anew."""
        port = self._http.server_address[1]
        self._http.shutdown()
        self._http.server_close()
        path = self.authority.store.path
        if path is not None:
            self.authority.close()
            self.authority = LocalAuthority(path)
        time.sleep(pause)
        self._listen(port)

    def handle(self, http: BaseHTTPRequestHandler) -> None:
        body = http.rfile.read(int(http.headers.get("content-length") or 0))
        path, _, query = http.path.partition("?")
        operation = path.rstrip("/").rpartition("/")[2] if http.command == "POST" else "read"
        sent = json.loads(body) if body else {}
        with self._arrived:
            self.seen.append(Seen(operation, sent.get("idempotency_key"), sent, time.time()))
            self._arrived.notify_all()
        planned = self.plan.get(operation)
        what = planned.popleft() if planned else self.always.get(operation, self.chance(operation))
        if what in (DROP, HANG) or isinstance(what, Answer):
            response = None
        else:
            headers = {name.lower(): value for name, value in http.headers.items()}
            response = self.authority.app.handle(Request(http.command, path, query, headers, body))
            if operation in ("commit", "events") and response.status < 300:
                self.charges[sent["idempotency_key"]] = (
                    sent.get("metadata", {}).get("work", ""),
                    sent["actual"]["amount"],
                )
                if operation == "commit":
                    self.commits[path.split("/")[-2]] = sent["actual"]["amount"]
        if what in (HANG, HANG_AFTER):
            self.closing.wait(PATIENCE)
        if what in (HANG, HANG_AFTER, DROP, LOSE):
            http.close_connection = True
            return
        if isinstance(what, Answer):
            content = what.body if isinstance(what.body, bytes) else json.dumps(what.body).encode()
            self._answer(http, what.status, list(what.headers.items()), content)
        else:
            assert response is not None
            self._answer(http, response.status, response.headers, response.body)

    def _answer(self, http: Any, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        http.send_response(status)
        for name, value in headers:
            http.send_header(name, value)
        http.send_header("content-length", str(len(body)))
        http.end_headers()
        http.wfile.write(body)

    def wait_for(self, operation: str, count: int = 1, timeout: float = PATIENCE) -> None:
        """Wait until *count* requests of *operation* have arrived."""
        with self._arrived:
            arrived = self._arrived.wait_for(lambda: len(self.of(operation)) >= count, timeout)
        assert arrived, f"no {operation} in {timeout} s: {[seen.operation for seen in self.seen]}"

    def of(self, *operations: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.operation in operations]

    def keys(self, *operations: str) -> list[str | None]:
        return [seen.key for seen in self.of(*operations)]

    def spent(self) -> float:
        """Cents that were charged."""
        return self.authority.balance(SCOPE, UNIT).spent / 1e6

    def held(self) -> int:
        """Microcents that are reserved."""
        return self.authority.balance(SCOPE, UNIT).reserved

    def close(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()


def error(code: str, message: str = "by the plan") -> dict[str, str]:
    return {"error": code, "message": message, "request_id": "req-planned"}


@contextmanager
def serving(authority: LocalAuthority | None = None):
    """A server with a budget of one dollar for tenant acme."""
    authority = authority or LocalAuthority()
    authority.budget(SCOPE, usd("1.00"))
    server = Server(authority)
    try:
        yield server
    finally:
        server.close()
        authority.close()
