"""What `cycles doctor` said, and servers that are no good authority."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def state(said: dict[str, Any]) -> dict[str, str]:
    """Return the worst state of each check, by name."""
    order = ["ok", "note", "wrong"]
    worst: dict[str, str] = {}
    for check in said["checks"]:
        worst[check["name"]] = max(worst.get(check["name"], "ok"), check["state"], key=order.index)
    return worst


def only_wrong(said: dict[str, Any]) -> dict[str, Any]:
    (check,) = [check for check in said["checks"] if check["state"] == "wrong"]
    assert check["remedy"], "something wrong needs a remedy"
    assert said["ok"] is False
    return check


@contextmanager
def answering(
    status: int, body: bytes = b"{}", by_path: dict[str, tuple[int, bytes]] | None = None, **headers: str
) -> Iterator[str]:
    """A server on loopback that answers everything alike, but for *by_path*."""
    usual = status, body

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = (by_path or {}).get(self.path.partition("?")[0], usual)
            self.send_response_only(status)
            for name, value in {
                "Content-Type": "application/json",
                "Content-Length": str(len(body)),
                **headers,
            }.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
