"""A local endpoint that speaks the providers' wire, and counts to the token what it bills.

There is no model and no network. What the "model" says is planned, and each token that it generates is billed at once:
a stream that is left has cost its input and what was generated until the connection ended. A `Gate` lets a test decide
when the next token is generated, so nothing sleeps and nothing depends on how quick the machine is.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from tests.metering.bill import Billed, Counts
from tests.metering.connection import Body, Connection, Gone, Head
from tests.metering.wires import WIRES
from tests.metering.wires.asked import Asked, Called, Refusal, Reply, Wire, compact, example, pieces

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

PATIENCE = 60.0  # seconds until a test that waits in vain says so


class Gate:
    """Lets the model generate: one token for each permit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._permits = 0
        self._wake: Callable[[], object] = lambda: None

    def open(self, tokens: int = 1) -> None:
        """Let *tokens* more be generated. Any thread may call this."""
        with self._lock:
            self._permits += tokens
            wake = self._wake
        wake()

    async def passed(self, connection: Connection) -> None:
        """Wait for a permit, and take it.

        Raises:
            Gone: the client left first.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            self._wake = lambda: loop.call_soon_threadsafe(connection.woken.set)
        await connection.until(self._taken)

    def _taken(self) -> bool:
        with self._lock:
            self._permits -= 1 if (taken := self._permits > 0) else 0
            return taken


@dataclass
class Turn:
    """What happens to one request that bills.

    Attributes:
        output: How many tokens the model says when nothing bounds it. A tool call and structured output have a length
            of their own.
        calls: The tools that it calls, with their arguments; () for none. None: it calls the first one on offer.
        reasoning: How many it thinks before that; they are billed as output, and nobody sees them.
        read, written: How much of the input is found in the cache, and put into it.
        status: Refuse with this status, and bill nothing.
        gate: Generate only what the gate lets through.
        drop: End the connection before the request was read, or after the model has said all.
        cut: End the connection after so many events of a stream.
        fail: Say after so many events that the model failed, and end the stream.
        tells: Whether the usage is told.
        gzip: Whether the answer is compressed; `piece`: in how small pieces it is sent.
    """

    output: int = 12
    calls: tuple[tuple[str, dict[str, Any]], ...] | None = None
    reasoning: int = 0
    read: int = 0
    written: int = 0
    status: int | None = None
    gate: Gate | None = None
    drop: Literal["before", "after"] | None = None
    cut: int | None = None
    fail: int | None = None
    tells: bool = True
    gzip: bool = False
    piece: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Provider:
    """The endpoint, in a thread of its own.

    Attributes:
        url: Where it listens, without a path.
        turns: What happens to the next requests; `usual` happens when it is empty.
        bills: All requests that reached the model, or were refused by it.
        seen: The path and JSON of each POST, and its headers.
        events: What the last stream consisted of.
    """

    def __init__(self) -> None:
        self.turns: deque[Turn] = deque()
        self.usual = Turn()
        self.bills: list[Billed] = []
        self.seen: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.events: list[bytes] = []
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="provider", daemon=True)
        self._thread.start()
        self._connections: set[Connection] = set()
        listening = asyncio.run_coroutine_threadsafe(
            self._loop.create_server(self._connected, "127.0.0.1", 0, backlog=512), self._loop
        )
        self._server = listening.result(PATIENCE)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all connections; nothing listens any more. Raise what went wrong in the endpoint itself."""
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._closed(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()
        for connection in self._connections:
            if connection.error is not None:
                raise connection.error

    async def _closed(self) -> None:
        self._server.close()
        for connection in list(self._connections):
            connection.connection_lost(None)
        await self._server.wait_closed()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)

    # -- the test's side -----------------------------------------------------------------------------------------------
    def plan(self, *turns: Turn) -> None:
        self.turns.extend(turns)

    def wait(self, ready: Callable[[Provider], object]) -> None:
        """Wait until *ready* is true of what was billed."""
        with self._changed:
            assert self._changed.wait_for(lambda: ready(self), PATIENCE), f"in vain: {self.bills}"

    def over(self) -> list[Billed]:
        """Wait until nothing will be billed any more, and return the bills."""
        self.wait(lambda _: all(bill.over for bill in self.bills))
        return self.bills

    @property
    def microcents(self) -> int:
        """What all requests have cost until now, each rounded up by itself."""
        return sum(bill.microcents for bill in self.bills)

    # -- the client's side ---------------------------------------------------------------------------------------------
    def _connected(self) -> Connection:
        connection = Connection(self._serve)
        self._connections.add(connection)
        return connection

    async def _serve(self, connection: Connection) -> None:
        while True:
            head = await connection.head()
            wire = next((wire for wire in WIRES if head.method == "POST" and wire.reads(head.path)), None)
            if wire is None:
                await self._free(connection, head)
            elif not await self._billable(connection, head, wire):
                return

    async def _free(self, connection: Connection, head: Head) -> None:
        """Answer what costs nothing: lists of models, and the counting of tokens."""
        await connection.body(head)
        found: dict[str, Any] = {"object": "list", "data": [], "models": [], "has_more": False}
        if "ount" in head.path and "okens" in head.path:
            found = {"input_tokens": 7, "totalTokens": 7}
        known = head.path.endswith("/models") or "okens" in head.path
        connection.answer(200 if known else 404, compact(found).encode(), {"content-type": "application/json"}, Body())

    async def _billable(self, connection: Connection, head: Head, wire: Wire) -> bool:
        """Serve one request; return whether the connection may have another."""
        turn = self.turns.popleft() if self.turns else self.usual
        if turn.drop == "before":
            return False
        raw = await connection.body(head)
        sent = json.loads(raw)
        self.seen.append((head.path, sent, head.headers))
        how = Body(gzip=turn.gzip and "gzip" in head.headers.get("accept-encoding", ""), piece=turn.piece)
        headers = {"content-type": "application/json", "x-request-id": f"req_{len(self.seen)}", **turn.headers}
        try:
            asked = wire.asked(head.path, head.query, sent)
        except (Refusal, KeyError) as refusal:
            status = getattr(refusal, "status", 400)
            connection.answer(status, compact(wire.error(status, str(refusal))).encode(), headers, how)
            return True
        bill = Billed(wire.name, asked.model, asked.most, asked.streamed)
        with self._changed:
            self.bills.append(bill)
        try:
            if turn.status is not None:
                bill.status = turn.status
                body = compact(wire.error(turn.status, "as the test has planned")).encode()
                connection.answer(turn.status, body, headers | {"retry-after-ms": "1"}, how)
                return True
            reply = _reply(asked, turn, bill, len(self.seen))
            self.events = []
            generation = _Generation(connection, turn, bill, reply, self.events, self._notice)
            return await (generation.streamed if asked.streamed else generation.whole)(wire, headers, how)
        finally:
            bill.over = True
            self._notice()

    def _notice(self) -> None:
        with self._changed:
            self._changed.notify_all()


def _reply(asked: Asked, turn: Turn, bill: Billed, number: int) -> Reply:
    """Decide what the model says, and bill the input: that is billed as soon as a request is taken."""
    if turn.calls is not None and not turn.calls:
        asked = replace(asked, tool=None)
    calls = _calls(asked, turn, number)
    if asked.texts:
        tokens = []
    elif asked.schema is not None:
        tokens = pieces(compact(example(asked.schema)))
    elif calls:
        tokens = [token for call in calls for token in call.tokens]
    else:
        tokens = [f"w{index:02} " for index in range(turn.output)]
    most = len(tokens) if asked.most is None else max(asked.most - turn.reasoning, 0)
    said = tokens[:most]
    if len(said) < len(tokens):
        assert len(calls) <= 1, f"{asked.most} tokens are too few for the calls that the test has planned"
        calls = [replace(call, tokens=said) for call in calls]
    read = min(turn.read, asked.input)
    written = min(turn.written, asked.input - read)
    bill.counts = Counts(asked.input - read - written, read, written)
    output = 0 if asked.texts else turn.reasoning + len(said) * asked.candidates
    counts = Counts(bill.counts.fresh, read, written, output)
    return Reply(asked, counts, said, len(said) < len(tokens), turn.reasoning, turn.tells, number, calls)


def _calls(asked: Asked, turn: Turn, number: int) -> list[Called]:
    if turn.calls is not None:
        made = enumerate(turn.calls, 1)
        return [Called(f"call_{number}_{index}", name, pieces(compact(given))) for index, (name, given) in made]
    if asked.tool is None or asked.schema is not None:
        return []
    return [Called("call_1", asked.tool, pieces(compact({"query": "tokens of a call"})))]


@dataclass
class _Generation:
    """The model at work on one request."""

    connection: Connection
    turn: Turn
    bill: Billed
    reply: Reply
    events: list[bytes]
    notice: Callable[[], None]

    async def _token(self) -> None:
        if self.turn.gate is not None:
            await self.turn.gate.passed(self.connection)
        self.bill.counts.output += 1
        self.notice()

    def _think(self) -> None:
        self.bill.counts.output += self.turn.reasoning
        self.notice()

    async def whole(self, wire: Wire, headers: dict[str, str], how: Body) -> bool:
        self._think()
        while self.bill.counts.output < self.reply.counts.output:
            await self._token()
        if self.connection.gone:
            raise Gone
        if self.turn.drop == "after":
            return False
        self.bill.status, self.bill.told = 200, self.reply.tells
        self.connection.answer(200, compact(wire.body(self.reply)).encode(), headers, how)
        return True

    async def streamed(self, wire: Wire, headers: dict[str, str], how: Body) -> bool:
        self.connection.begin(headers | {"content-type": "text/event-stream; charset=utf-8"}, how)
        self.bill.status = 200
        self._think()
        for frame in wire.events(self.reply):
            if len(self.events) == self.turn.cut:
                return False
            if len(self.events) == self.turn.fail:
                self.connection.chunk(wire.failure())
                self.connection.end()
                return True
            if frame is None:
                await self._token()
                continue
            if self.connection.gone:
                raise Gone
            self.connection.chunk(frame)
            self.events.append(frame)
        self.bill.told = self.reply.tells and self.reply.asked.wants_usage
        if self.turn.drop == "after":
            return False
        self.connection.end()
        return True
