"""The authority over HTTP on loopback: a small ASGI adapter, run by uvicorn (extra `server`)."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from cycles._outside.extras import install
from cycles.errors import ConfigError
from cycles.local.ledger.values import Refusal
from cycles.local.wire import log, page
from cycles.local.wire.clock import ManualClock
from cycles.local.wire.messages import MAX_BODY, Request
from cycles.local.wire.workers import Workers

try:
    import uvicorn
except ModuleNotFoundError as missing:
    raise ConfigError(f"serving over HTTP needs an extra: {install('server')}") from missing

from cycles.local.wire import connections

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles.local.wire.app import App
    from cycles.local.wire.faults import Fault
    from cycles.local.wire.messages import Response

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 7878
SWEEP_EVERY: Final = 5.0
"""Seconds between sweeps of overdue holds; requests sweep as well, so this matters when none come."""

_STARTUP: Final = 10.0
_SHUTDOWN: Final = 5
_BACKLOG: Final = 512
"""Connections that wait to be taken; asyncio takes so many at once, and complains as often when there are no files."""

_log: Final = logging.getLogger("cycles.local")


class Served(Protocol):
    """An authority, as far as a server needs it."""

    @property
    def app(self) -> App: ...
    def sweep(self) -> int: ...


class Asgi:
    """An ASGI application on an authority; its owner closes the authority."""

    def __init__(self, authority: Served) -> None:
        self._authority: Final = authority
        self._app: Final = authority.app
        self._workers: Final = Workers()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            body = await _body(receive)
            if body is None:
                return
            request = _asked(scope, body)
            fault = self._app.fault_of(request)
            if fault is None:
                began = time.perf_counter()
                response = await self._answered(request)
                log.answered(request, response, time.perf_counter() - began)
                await _send(send, response)
            else:
                await self._spoilt(request, fault, receive, send)
        else:
            raise RuntimeError(f"this authority speaks HTTP only, not {scope['type']}")

    async def _answered(self, request: Request) -> Response:
        if page.is_asked_for(request):
            return page.PAGE
        response = self._app.handle_at_once(request)
        if response is None:  # it may wait for a disk or a network, and must not hold up the others
            response = await self._workers.run(self._app.handle, request)
        return response

    async def _spoilt(self, request: Request, fault: Fault, receive: Any, send: Any) -> None:
        """Answer as an injected fault says; where no answer arrives, cut the connection."""
        if isinstance(self._app.clock, ManualClock):
            self._app.clock.advance(fault.seconds)
        else:
            await asyncio.sleep(fault.seconds)
        response, arrives = await self._workers.run(self._app.handle_badly, request, fault)
        if response is not None and arrives:
            await _send(send, response)
        else:
            await _cut(receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        sweeper = asyncio.create_task(self._sweep())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        sweeper.cancel()
        with suppress(asyncio.CancelledError):
            await sweeper
        self._workers.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _sweep(self) -> None:
        told = None
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            try:
                await asyncio.to_thread(self._authority.sweep)
                told = None
            except Refusal as refusal:  # of a ledger file that is not there any more: said once
                if refusal.message != told:
                    told = refusal.message
                    _log.error("the sweep failed: %s", told)
            except Exception:  # noqa: BLE001 - logged; the next request or sweep tries again
                _log.exception("the sweep failed; the next one is in %s s", SWEEP_EVERY)


async def _cut(receive: Any, send: Any) -> None:
    """Cut the connection of a request that gets no answer."""
    # ASGI has no word for it; uvicorn's `send` belongs to the exchange, which knows its connection.
    send.__self__.transport.abort()
    while (await receive())["type"] != "http.disconnect":  # else uvicorn complains that there was no answer
        pass


async def _body(receive: Any) -> bytes | None:
    """Return the body, or its beginning when it is too large; None when the client has gone."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY or not message.get("more_body", False):
            return b"".join(parts)


def _asked(scope: Any, body: bytes) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    path = scope["raw_path"].decode("latin-1")
    return Request(scope["method"], path, scope["query_string"].decode("latin-1"), headers, body)


async def _send(send: Any, response: Response) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    headers.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to its owner and says when it is ready."""

    def __init__(self, authority: Served) -> None:
        super().__init__(
            uvicorn.Config(
                Asgi(authority),
                log_config=None,  # the owner of the process decides how it logs
                log_level="warning",
                access_log=False,
                server_header=False,
                ws="none",
                http=connections.limited(connections.most_connections()),
                backlog=_BACKLOG,
                lifespan="on",
                # Longer than clients keep an idle connection, or they would write into one that is just closing.
                timeout_keep_alive=75,
                timeout_graceful_shutdown=_SHUTDOWN,
            )
        )
        self.ready: Final = threading.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(connections.quieter(loop, loop.time))
        await super().startup(sockets)
        self.ready.set()


def listening(host: str = DEFAULT_HOST, port: int = DEFAULT_PORT, *, beyond_loopback: bool = False) -> socket.socket:
    """Return a socket that listens.

    Args:
        host: An address or name of this machine.
        port: 0 takes a free one.
        beyond_loopback: Whether other machines may reach it: keys and amounts travel in plain text.

    Raises:
        ConfigError: when the address can't be used, or is not on loopback.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise ConfigError(f"host {host!r}: {error.strerror}") from None
    if not (ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback or beyond_loopback):
        raise ConfigError(
            f"host {host!r} is reachable from other machines, and keys travel in plain text: allow it explicitly "
            "(--beyond-loopback), or use 127.0.0.1"
        )
    # The protocol is named, for asyncio sends small answers at once (TCP_NODELAY) only where it is: else 40 ms each.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # there it would let two servers have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(address[0]), port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigError(f"can't listen on {host} port {port}: {error.strerror or error}") from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Return the base URL of *listener*."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def serve(authority: Served, *, host: str = DEFAULT_HOST, port: int = 0) -> Iterator[str]:
    """Serve *authority* from a thread of this process while the block lasts, and give the base URL.

    Args:
        authority: Stays open afterwards.
        host: An address on loopback.
        port: 0 takes a free one.

    Raises:
        ConfigError: when the address can't be used.
    """
    with listening(host, port) as listener:
        server = Server(authority)
        thread = threading.Thread(target=server.run, args=([listener],), name="cycles-authority", daemon=True)
        thread.start()
        try:
            if not server.ready.wait(_STARTUP):
                raise ConfigError("the server did not start; its log says why")
            yield url_of(listener)
        finally:
            server.should_exit = True
            thread.join(_SHUTDOWN + 5)
