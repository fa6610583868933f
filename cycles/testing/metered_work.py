"""Schedules of metered requests: reserve, send, report in parts, and the end: read, left, cut, dropped, killed.

The provider here speaks OpenAI's wire and knows its own bill. What must hold, beside `invariants`:

    told        a usage that reached the client whole is what is charged, whatever was held
    untold      else at least what was reported, and what the provider had made and sent; at most the estimate
    began       once a caller has seen part of a stream, its input is on record, should the process die
    failed      an answer of 4xx or 5xx costs nothing; an attempt that was lost costs the estimate, or nothing
"""

from __future__ import annotations

import json
import math
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import httpx

from cycles._core.effects import Sleep
from cycles._metered.choices import Choices
from cycles._metered.meter import Meter
from cycles._metered.transports import AsyncMeteredTransport, MeteredTransport
from cycles.errors import CyclesError
from cycles.testing.authority import SimulatedAuthority
from cycles.testing.cases import draw
from cycles.testing.client_code import AsyncSimulatedRuntime, SimulatedRuntime
from cycles.testing.drains import simulated
from cycles.testing.invariants import Invariants
from cycles.testing.violation import must
from cycles.testing.work_simulation import WorkSimulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cycles._core.effects import Call
    from cycles._core.records import Pending
    from cycles.testing.cases import Case, Plan

_URL: Final = "https://api.openai.com/v1/chat/completions"
_DONE: Final = b"data: [DONE]\n\n"


class Answers(Enum):
    """What the provider does with a request."""

    STREAMS = "streams"
    STREAMS_UNTOLD = "streams, and tells no usage"
    BREAKS = "streams, and the connection breaks"
    WHOLE = "answers as a whole"
    WHOLE_UNTOLD = "answers as a whole, and tells no usage"
    REFUSES = "429"
    FAILS = "503"
    LOST = "the answer is lost"
    UNREACHED = "no connection"


_STREAMED: Final = (Answers.STREAMS, Answers.STREAMS, Answers.STREAMS_UNTOLD, Answers.BREAKS)


class Leaves(Enum):
    """How the caller ends a stream."""

    READ = "reads it to its end"
    CLOSE = "closes it"
    DROP = "drops it"
    KEEP = "keeps it until the process ends"
    ELSEWHERE = "reads it, and another task closes it meanwhile, to have it read on"


class Bill:
    """What the provider bills for one request, and what the client was told of it.

    Attributes:
        estimate: What was held for it.
        input: Tokens of the request.
        made: Tokens of the output that were sent.
        told: The usage in an answer, once the client has read it whole.
        began: Whether the caller has seen part of a stream.
        reported: The most that was put on record before the end.
        status: Of the answer, or None.
    """

    def __init__(self, estimate: int, tokens_input: int) -> None:
        self.estimate: Final = estimate
        self.input: Final = tokens_input
        self.made = 0
        self.told: int | None = None
        self.began = False
        self.reported = 0
        self.status: int | None = None

    def must_be(self, amount: int, name: str) -> None:
        """Check what is about to be charged for it."""
        failed = self.status is not None and self.status >= 400
        must(not failed, "an answer that failed is not charged", f"{name}: {amount}")
        if self.told is not None:
            must(amount == self.told, "a usage that was told is what is charged", f"{name}: {amount}, not {self.told}")
            return
        least = self.input + self.made if self.began else self.input
        must(amount >= least, "what was made is charged", f"{name}: {amount}, {least} made")
        must(amount >= self.reported, "what was reported is charged", f"{name}: {amount}, {self.reported} reported")
        must(amount <= self.estimate, "no more than the estimate is charged untold", f"{name}: {amount}")


class MeteredInvariants(Invariants):
    """The invariants of every schedule, and those of bills; see `Invariants`.

    Attributes:
        bills: By the name of their section.
    """

    def __init__(self, authority: SimulatedAuthority) -> None:
        super().__init__(authority)
        self.bills: Final[dict[str, Bill]] = {}

    def _may_settle(self, case: Case, name: str, call: Call[Any]) -> None:
        amount: int = call.arguments["body"].actual.amount
        bill = self.bills[case.name]
        if not case.died:
            bill.must_be(amount, case.name)
            case.known = amount if case.known is None or "settle" not in case.keys else case.known
        super()._may_settle(case, name, call)

    def records(self, case: Case, name: str, pending: Pending) -> None:
        """See `Invariants.records`."""
        super().records(case, name, pending)
        if pending.provisional:
            bill = self.bills[case.name]
            grows = pending.actual.amount >= bill.reported or bill.told is not None
            must(grows, "reports of one stream grow until its usage is told", case.name)
            bill.reported = pending.actual.amount

    def died(self, case: Case, on_disk: Pending | None) -> None:
        """See `Invariants.died`."""
        bill = self.bills[case.name]
        if bill.began and not case.keys.get("settle") and case.section is not None and case.section.is_open:
            must(on_disk is not None, "what a stream has cost is on record as soon as its caller sees it", case.name)
        if on_disk is not None and on_disk.provisional:
            must(on_disk.actual.amount >= bill.input, "what is on record of a stream has its input", case.name)
        super().died(case, on_disk)

    def ended(self, case: Case) -> None:
        """See `Invariants.ended`."""
        super().ended(case)
        is_released = case.section is not None and case.section.state == "RELEASED"
        gave_back = case.has_ended and is_released and self.bills[case.name].began
        must(not gave_back, "what a stream has cost is settled", case.name)


class Provider:
    """The provider, as the transport beneath a metered one; it answers one request."""

    def __init__(self, host: MeteredWork, request: Request) -> None:
        self._host: Final = host
        self._request: Final = request

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer in blocking code."""
        sent = self._request
        self._host.perform(sent.case, "work", Sleep(sent.latency))
        return self._answer(request, _Stream(self._host, sent))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer in asynchronous code."""
        sent = self._request
        await self._host.sleep(sent.case, sent.latency)
        return self._answer(request, _AsyncStream(self._host, sent))

    def close(self) -> None:
        """Nothing is open."""

    async def aclose(self) -> None:
        """Nothing is open."""

    def _answer(self, request: httpx.Request, stream: Any) -> httpx.Response:
        answers, bill = self._request.answers, self._request.bill
        if answers is Answers.UNREACHED:
            raise httpx.ConnectError("no connection", request=request)
        b"".join(request.stream)  # type: ignore[arg-type]  # it leaves
        if answers is Answers.LOST:
            raise httpx.ReadTimeout("no answer", request=request)
        if answers in (Answers.REFUSES, Answers.FAILS):
            bill.status = 429 if answers is Answers.REFUSES else 503
            return httpx.Response(bill.status, content=b"{}")
        bill.status = 200
        if answers in (Answers.WHOLE, Answers.WHOLE_UNTOLD):
            return httpx.Response(200, content=self._request.whole())
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)


class Request:
    """One metered request of a schedule: what is asked, what the provider makes of it, and how its caller leaves.

    Attributes:
        bill: What it costs; None until it is reserved.
        body: Its JSON.
    """

    def __init__(self, host: MeteredWork, plan: Plan) -> None:
        random, choice = host.random, host.random.choice
        self.answers: Final = choice((*Answers, *2 * _STREAMED))
        leaves = choice(tuple(Leaves))
        self.most: Final = random.randrange(6)
        self.latency: Final = choice((0.01, 0.3, 5.0))
        self.words: Final = [random.randrange(1, 5) for _ in range(random.randrange(6))]
        self.pauses: Final = [choice((0.0, 0.0, 0.4, 3.0, 70.0)) for _ in self.words]
        self.breaks_after: Final = random.randrange(len(self.words) + 1)
        self.is_async: Final = choice((False, True))
        self.over: Final = choice((0, 0, 0, 400))
        streamed = self.answers not in (Answers.WHOLE, Answers.WHOLE_UNTOLD)
        said = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 20}
        self.body: Final = json.dumps(said | ({"stream": True} if streamed else {})).encode()
        self.input: Final = random.randrange(1, 8)
        self.choices: Final = Choices(
            unit="TOKENS",
            estimate=choice((None, lambda _: 40)),
            partial=choice(("received", "received", "estimate", "drain")),
            lost=choice(("estimate", "release")),
        )
        made: Any = AsyncSimulatedRuntime if self.is_async else SimulatedRuntime
        self.runtime: Final[SimulatedRuntime] = made(host, plan, own_terms=True)
        authority: Any = _Client(self.runtime)
        options = {"ttl": choice((1.0, 10.0, 60.0)), "grace_period": choice((None, 0.0, 2.0))}
        self.meter: Final = Meter(self.choices, None, options, authority=authority)
        is_read_on = self.is_async and self.choices.partial == "drain"
        self.leaves: Final = Leaves.READ if leaves is Leaves.ELSEWHERE and not is_read_on else leaves
        self._host: Final = host

    @property
    def case(self) -> Case:
        """What the simulator has seen of its section."""
        case = self.runtime.case
        assert case is not None  # noqa: S101 - types: nothing is sent before
        return case

    @property
    def bill(self) -> Bill:
        """What it costs."""
        return self._host.bills[self.case.name]

    def usage(self) -> bytes:
        """Return the usage as the provider tells it."""
        bill, output = self.bill, self.bill.made + self.over
        said = {"prompt_tokens": bill.input, "completion_tokens": output, "total_tokens": bill.input + output}
        return json.dumps(said).encode()

    def events(self) -> Iterator[tuple[float, bytes]]:
        """Yield the events of its stream, each after a pause."""
        bill = self.bill
        for number, (length, pause) in enumerate(zip(self.words, self.pauses, strict=True)):
            if self.answers is Answers.BREAKS and number == self.breaks_after:
                raise httpx.ReadError("the connection broke")
            bill.made += length
            delta = {"choices": [{"index": 0, "delta": {"content": "word" * length}}]}
            yield pause, b"data: " + json.dumps(delta).encode() + b"\n\n"
            bill.began = True
        if self.answers is Answers.BREAKS:
            raise httpx.ReadError("the connection broke")
        if self.answers is Answers.STREAMS:
            told = bill.input + bill.made + self.over
            bill.told = told  # as it is handed over: the client reads what it is given
            yield 0.0, b'data: {"choices": [], "usage": ' + self.usage() + b"}\n\n"
        yield 0.0, _DONE

    def whole(self) -> bytes:
        """Return its answer as a whole."""
        bill = self.bill
        bill.made = sum(self.words)
        content = b'{"choices": [{"index": 0, "message": {"content": "word"}}]'
        if self.answers is Answers.WHOLE_UNTOLD:
            return content + b"}"
        bill.told = bill.input + bill.made + self.over
        return content + b', "usage": ' + self.usage() + b"}"


class _Client:
    """The clients of the authority that a meter asks for."""

    def __init__(self, runtime: SimulatedRuntime) -> None:
        self._runtime: Final = runtime
        self.config: Final = runtime.access.config

    def client(self) -> _Client:
        """Return itself."""
        return self

    async_client = client


class _Stream(httpx.SyncByteStream):
    def __init__(self, host: MeteredWork, request: Request) -> None:
        self._host: Final = host
        self._request: Final = request

    def __iter__(self) -> Iterator[bytes]:
        for pause, event in self._request.events():
            if pause:
                self._host.perform(self._request.case, "work", Sleep(pause))
            yield event


class _AsyncStream(httpx.AsyncByteStream):
    def __init__(self, host: MeteredWork, request: Request) -> None:
        self._host: Final = host
        self._request: Final = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for pause, event in self._request.events():
            if pause:
                await self._host.sleep(self._request.case, pause)
            yield event


class MeteredWork(WorkSimulation):
    """A schedule of metered requests; see `WorkSimulation`.

    What callers leave is read on (`partial="drain"`) by programs of the schedule; see `cycles.testing.drains`.
    """

    def run(self) -> None:
        """See `WorkSimulation.run`."""
        with simulated(self):
            super().run()

    def _funded(self) -> SimulatedAuthority:
        choice = self._random.choice
        return SimulatedAuthority(choice((600, 2000, 5000)), overdraft_limit=choice((0, 0, 100)))

    def _watching(self) -> MeteredInvariants:
        watching = MeteredInvariants(self.authority)
        self.bills = watching.bills
        return watching

    def enters(self, plan: Plan) -> Case:
        """See `Simulation.enters`."""
        case = super().enters(plan)
        self.bills[case.name] = Bill(plan.terms.estimate.amount, self._inputs[case.name])
        return case

    def _begin(self) -> None:
        self._inputs: dict[str, int] = {}
        for number in range(self.random.choice((1, 1, 2, 3))):
            plan = draw(self.random, f"m{number}")._replace(key=None, unguarded=False)
            request = Request(self, plan)
            self._inputs[plan.name] = request.input
            calls = self._async_calls(request) if request.is_async else self._calls(request)
            self.begin(plan.name, calls)

    def _times(self, stream: Any) -> None:
        """Choose whether the next part of *stream* is reported: its clock is the machine's, and not the schedule's."""
        if (call := getattr(stream, "_call", None)) is not None:
            call._report_at = self.random.choice((-math.inf, math.inf))  # noqa: SLF001 - see above

    async def _calls(self, request: Request) -> None:
        transport = MeteredTransport(Provider(self, request), request.meter, httpx, None)
        try:
            response = transport.handle_request(httpx.Request("POST", _URL, content=request.body))
        except (CyclesError, httpx.HTTPError):
            return
        stream: Any = response.stream
        del response
        self._times(stream)
        try:
            for number, _ in enumerate(stream):
                if request.leaves is not Leaves.READ and number >= request.most:
                    break
                await self.sleep(request.case, 0.01)
                self._times(stream)
        except httpx.HTTPError:
            stream.close()
        if request.leaves in (Leaves.READ, Leaves.CLOSE):
            stream.close()
        elif request.leaves is Leaves.KEEP:
            self.kept.append(stream)

    async def _async_calls(self, request: Request) -> None:
        transport = AsyncMeteredTransport(Provider(self, request), request.meter, httpx, None)
        try:
            response = await transport.handle_async_request(httpx.Request("POST", _URL, content=request.body))
        except (CyclesError, httpx.HTTPError):
            return
        stream: Any = response.stream
        del response
        self._times(stream)
        try:
            number = 0
            if request.leaves is Leaves.ELSEWHERE:
                self.begin(f"close {self.running.name}", self._closes(request, stream))
            async for _ in stream:
                if request.leaves not in (Leaves.READ, Leaves.ELSEWHERE) and number >= request.most:
                    break
                number += 1
                await self.sleep(request.case, 0.01)
                self._times(stream)
        except httpx.HTTPError:
            await stream.aclose()
        if request.leaves in (Leaves.READ, Leaves.CLOSE):
            await stream.aclose()
        elif request.leaves is Leaves.KEEP:
            self.kept.append(stream)

    async def _closes(self, request: Request, stream: Any) -> None:
        """Close *stream*, which another task reads."""
        await self.sleep(request.case, self.random.choice((0.0, 0.2, 2.0)))
        await stream.aclose()
