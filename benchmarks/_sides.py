"""Both sides of a benchmark: what answers, in processes of its own, and what calls, bare and guarded.

Servers are `python benchmarks/_sides.py stub` and `cycles serve`; a stub answers everything at once, so that only the
client's side is left to measure.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import subprocess
import sys
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cycles import AsyncClient, Client, Config, Guard, usd
from cycles.local import LocalAuthority
from cycles_api import models

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

T = TypeVar("T")

ACTION: Final = ("llm.completion", "gpt-4o")
ESTIMATE, ACTUAL = usd("0.0001"), usd("0.00005")

GRANT: Final = (
    b'{"decision":"ALLOW","reservation_id":"019ab7f0-7c3e-7d5a-9c0e-3f1d5b7a9c0e","affected_scopes":["tenant:acme"],'
    b'"expires_at_ms":4102444800000,"remaining_ttl_ms":60000,"scope_path":"tenant:acme","status":"%s",'
    b'"charged":{"unit":"USD_MICROCENTS","amount":5000},"reserved":{"unit":"USD_MICROCENTS","amount":10000},'
    b'"balances":[{"scope":"tenant:acme","scope_path":"tenant:acme",'
    b'"remaining":{"unit":"USD_MICROCENTS","amount":899999990000},'
    b'"reserved":{"unit":"USD_MICROCENTS","amount":10000},"spent":{"unit":"USD_MICROCENTS","amount":0},'
    b'"allocated":{"unit":"USD_MICROCENTS","amount":900000000000}}]}'
)
"""What the stub says to everything; its status is that of a commit, or of an extension."""

_FIRST: Final = b"019ab7f0-7c3e-7d5a-9c0e-3f1d5b7a9c0e"


# -- what answers ------------------------------------------------------------------------------------------------------
class Stub(asyncio.Protocol):
    """A server that says the same to everybody, at once; each reservation has its own id, and so its own record."""

    granted = itertools.count()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"content-length: *([0-9]+)", self.received[:end], re.IGNORECASE)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.received) < size:
                return
            self.transport.write(self.answer(self.received[:size]))
            self.received = self.received[size:]

    def answer(self, request: bytes) -> bytes:
        asked = request.partition(b"\r\n")[0]
        answer = GRANT % (b"ACTIVE" if b"/extend " in asked else b"COMMITTED")
        if asked.startswith(b"POST /v1/reservations "):
            answer = answer.replace(_FIRST, b"%s%012x" % (_FIRST[:-12], next(self.granted)))
        return answered(answer)


def answered(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


async def serve(protocol: type[asyncio.Protocol]) -> None:
    """Serve *protocol* on a free port, whose URL goes to standard output."""
    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


@contextmanager
def child(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program in a process of its own, and end it."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, *command], stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """Return the next line that *process* prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def asked(process: subprocess.Popen[str]) -> None:
    """Ask *process* for a line."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@contextmanager
def stub(program: str = __file__) -> Iterator[str]:
    """A stub in a process of its own: that of *program*, run with the argument `stub`."""
    with child(program, "stub") as process:
        yield line_of(process)


@contextmanager
def authority(**settings: Any) -> Iterator[Config]:
    """An authority on a file, in a process of its own, that extends as often as it is asked; its configuration."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / "ledger.db"
        with LocalAuthority(path) as local:
            local.tenant("acme", max_extensions=1_000_000)
            local.budget("tenant:acme", usd("90000"))
        command = ("-m", "cycles.cli", "serve", "--port", "0", "--json", "--db", str(path), "--tenant", "acme")
        with child(*command) as process:
            ready = json.loads(line_of(process))
            yield config(ready["base_url"], api_key=ready["api_key"], **settings)


def config(url: str, **settings: Any) -> Config:
    """Return the configuration of a client without a journal, which waits for its settlements."""
    usual: dict[str, Any] = {"api_key": "key", "tenant": "acme", "journal_enabled": False, "settle_wait": 60.0}
    return Config(url, **(usual | settings))


def bare_settings(config: Config) -> dict[str, Any]:
    """Return what a bare HTTP client is made with; it waits for a connection of its pool however long that takes."""
    timeout = (60.0, 60.0, 60.0, None)
    return {"base_url": config.base_url, "headers": {"x-cycles-api-key": config.api_key}, "timeout": timeout}


# -- what calls --------------------------------------------------------------------------------------------------------
def reserve_body() -> dict[str, Any]:
    return {
        "idempotency_key": uuid.uuid4().hex,
        "subject": {"tenant": "acme"},
        "action": {"kind": ACTION[0], "name": ACTION[1]},
        "estimate": ESTIMATE.to_dict(),
        "ttl_ms": 60_000,
    }


def commit_body() -> dict[str, Any]:
    return {"idempotency_key": uuid.uuid4().hex, "actual": ACTUAL.to_dict()}


def bare(client: Any) -> None:
    """Send the two posts of a guarded call, and nothing else."""
    held = client.post("/v1/reservations", json=reserve_body()).json()["reservation_id"]
    client.post(f"/v1/reservations/{held}/commit", json=commit_body()).json()


async def bare_async(client: Any) -> None:
    held = (await client.post("/v1/reservations", json=reserve_body())).json()["reservation_id"]
    (await client.post(f"/v1/reservations/{held}/commit", json=commit_body())).json()


def by_hand(client: Any) -> None:
    """Send the two posts as a client must that checks what it sends and reads: typed bodies, typed answers."""
    asked = models.ReservationCreateRequest(
        idempotency_key=uuid.uuid4().hex,
        subject=models.Subject(tenant="acme"),
        action=models.Action(*ACTION),
        estimate=ESTIMATE,
        ttl_ms=60_000,
    )
    answer = client.post("/v1/reservations", json=asked.to_dict()).json()
    held = models.ReservationCreateResponse.from_dict(answer).reservation_id
    spent = models.CommitRequest(idempotency_key=uuid.uuid4().hex, actual=ACTUAL)
    answer = client.post(f"/v1/reservations/{held}/commit", json=spent.to_dict()).json()
    models.CommitResponse.from_dict(answer)


def nothing() -> None:
    """Work that costs nothing itself."""


def decorated(client: Client, inside: Callable[[], T] = nothing) -> Callable[[], T]:  # type: ignore[assignment]
    """Return a guarded function, which is decorated once, and does what *inside* does."""

    @Guard(ESTIMATE, action=ACTION, actual=ACTUAL, client=client)
    def work() -> T:
        return inside()

    return work


def decorated_async(client: AsyncClient, inside: Callable[[], T] = nothing) -> Callable[[], Awaitable[T]]:  # type: ignore[assignment]
    @Guard(ESTIMATE, action=ACTION, actual=ACTUAL, client=client)
    async def work() -> T:
        return inside()

    return work


def guarded(client: Client) -> None:
    """Make a guard for one with-block."""
    with Guard(ESTIMATE, action=ACTION, client=client) as reservation:
        reservation.commit(ACTUAL)


async def guarded_async(client: AsyncClient) -> None:
    async with Guard(ESTIMATE, action=ACTION, client=client) as reservation:
        await reservation.commit(ACTUAL)


if __name__ == "__main__":
    asyncio.run(serve(Stub))
