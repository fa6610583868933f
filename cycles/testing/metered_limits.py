"""Schedules of metered requests inside limits: their holds, reports and charges are the limit's.

The request is the client's own `Call`, in a section of `LimitSimulation`; the provider here knows its bill. What must
hold, beside what holds for each section in a limit:

    told        the authority takes what the provider told, whatever was held
    untold      else no less than the provider has billed for, and no more than the estimate
    kill        a stream that was begun costs its input, and the output that was reported, also when the process dies
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import httpx

from cycles._client.running_section import RunningSection, leave_to_background
from cycles._core.effects import Sleep
from cycles._core.jobs import Charge, GiveBack
from cycles._core.requests import terms
from cycles._metered.calls import Call
from cycles._metered.choices import Choices
from cycles._metered.meter import Meter
from cycles.testing.limit_model import LEVELS
from cycles.testing.limit_simulation import LimitSimulation
from cycles.testing.limit_tasks import until_done
from cycles.testing.metered_work import Answers
from cycles.testing.violation import must

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from cycles._core.effects import Effect, Flow
    from cycles._core.results import Settlement
    from cycles._core.section import Section
    from cycles.testing.limit_model import SimulatedLimit, Spender

    Ending = Callable[[Section], Flow[Settlement | None]]

_URL: Final = "https://api.openai.com/v1/chat/completions"
_MOST_OUTPUT: Final = 60
_STREAMED: Final = (Answers.STREAMS, Answers.STREAMS_UNTOLD, Answers.BREAKS)  # in an order that a seed repeats


class Asked:
    """One request of a schedule, and what the provider bills for it.

    Attributes:
        call: The request, as the client has it.
        answers: What the provider does with it.
        input, made: Tokens that the provider bills so far; 0 until it has accepted the request.
        reported: What it has cost at least when that was reported last.
        told: The usage, once it has reached the client.
        stays: Whether its caller reads a stream to its end.
        is_dropped: Whether a caller who leaves drops the stream, and does not close it.
        words: The tokens of each event.
    """

    def __init__(self, random: Random) -> None:
        choice = random.choice
        self.answers: Final = choice((*Answers, *_STREAMED, *_STREAMED))
        self.words: Final = [random.randrange(1, 9) for _ in range(random.randrange(6))]
        self.stays: Final = choice((False, True))
        self.is_dropped: Final = choice((False, True))
        self.over: Final = choice((0, 0, 90))
        self.input = self.made = self.reported = 0
        self.told: int | None = None
        self._bound: Final = random.randrange(1, 40)
        self._input: Final = random.randrange(1, self._bound + 1)
        choices = Choices(
            unit="TOKENS",
            estimate=lambda _: self._bound,
            partial=choice(("received", "received", "estimate")),
            on_5xx=choice(("release", "estimate")),
        )
        said = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "max_tokens": _MOST_OUTPUT}
        body = json.dumps(said | ({"stream": True} if self.answers in _STREAMED else {})).encode()
        self._request: Final = httpx.Request("POST", _URL, content=body)
        meter = Meter(choices, None, {})
        billable = meter.read(self._request, body)
        assert billable is not None  # noqa: S101 - types: its path bills
        self.call: Final = Call(meter, billable, httpx, None)

    def leaves(self) -> None:
        """Send it: the provider accepts it, and bills the input."""
        b"".join(self.call.sending(self._request).stream)
        self.input = self._input

    @property
    def billed(self) -> tuple[int, int]:
        """What it may be charged at least, and at most, if it ends now."""
        if self.told is not None:
            return self.told, self.told
        return self.input + self.made, self.call.estimate.amount

    def tells(self) -> bytes:
        """Return the usage as the provider tells it."""
        output = self.made + self.over
        self.told = self.input + output
        return json.dumps({"prompt_tokens": self.input, "completion_tokens": output}).encode()


class MeteredLimits(LimitSimulation):
    """A schedule of metered requests inside limits; see `LimitSimulation`."""

    scale = 10

    def perform(self, effect: Effect[Any]) -> Any:
        """Perform what a report of a stream asks for, in the thread that reads it."""
        self.trace.add(
            self.now, self.running.name, "report", effect, fault=None, outcome=(answer := self._local(effect))
        )
        return answer

    def section(self, limit: SimulatedLimit, number: int) -> Flow[None]:
        """Run a metered request, or a section of another kind."""
        if self.random.random() < 0.3:
            yield from super().section(limit, number)
            return
        asked = Asked(self.random)
        action = ("llm.completion", f"openai:{number % 3}")
        wanted = terms(asked.call.estimate, action=action, levels=LEVELS, ttl=5.0)
        admitted = yield from self.admitted(limit, wanted)
        if admitted is None:
            return
        section, spender = admitted
        yield from asked.call.granted(self._opened(section))
        try:
            ending = yield from self._answered(asked, section, spender)
        except (KeyboardInterrupt, httpx.HTTPError) as error:
            raised, _ = asked.call.end_raised(section, error)
            yield from self._settles(limit, section, spender, asked, raised)
            return
        if ending is None:
            yield from self._dropped(limit, section, spender, asked)
        else:
            yield from self._settles(limit, section, spender, asked, ending(section))

    def _opened(self, section: Section) -> Any:
        """Return what a client's code has of an open *section*."""
        running = SimpleNamespace(section=section, world=self, is_inherited=False, drop=lambda: self._drops(section))
        return SimpleNamespace(reservation=SimpleNamespace(caps=None), running=running)

    # -- the provider's answer ---------------------------------------------------------------------------------------
    def _answered(self, asked: Asked, section: Section, spender: Spender) -> Flow[Ending | None]:
        """Send the request, and read its answer; return how its section ends, None when it is dropped."""
        answers, call = asked.answers, asked.call
        if answers is Answers.UNREACHED:
            raise httpx.ConnectError("no connection")
        asked.leaves()
        yield from Sleep(self.random.choice((0.01, 0.3, 5.0)))
        if answers is Answers.LOST:
            raise httpx.ReadTimeout("no answer")
        if answers in (Answers.REFUSES, Answers.FAILS):
            asked.input = 0
            call.is_billed(429 if answers is Answers.REFUSES else 503)
            return call.answered(b"{}")
        call.is_billed(200)
        if answers in _STREAMED:
            return (yield from self._streamed(asked, section, spender))
        asked.made = sum(asked.words)
        usage = b', "usage": ' + asked.tells() if answers is Answers.WHOLE else b""
        return call.answered(b'{"choices": [{"index": 0, "message": {"content": "word"}}]' + usage + b"}")

    def _streamed(self, asked: Asked, section: Section, spender: Spender) -> Flow[Ending | None]:
        call, leaves_at = asked.call, None if asked.stays else self.random.randrange(6)
        self._reports_of(section, spender, asked, call.begin_stream)
        for number, length in enumerate(asked.words):
            yield from Sleep(self.random.choice((0.0, 0.0, 0.4, 8.0)))
            if number == leaves_at:
                return None if asked.is_dropped else call.streamed(whole=False)
            asked.made += length
            content = {"choices": [{"index": 0, "delta": {"content": "w" * length}}]}
            self._feeds(section, spender, asked, content)
        if asked.answers is Answers.BREAKS:
            raise httpx.ReadError("the connection broke")
        if asked.answers is Answers.STREAMS:
            self._feeds(section, spender, asked, {"choices": [], "usage": json.loads(asked.tells())})
        yield from Sleep(self.random.choice((0.0, 0.4)))
        call.rest()
        return call.streamed(whole=True)

    def _feeds(self, section: Section, spender: Spender, asked: Asked, content: object) -> None:
        reports = self.random.random() < 0.6
        asked.call._report_at = -math.inf if reports else math.inf  # noqa: SLF001 - its clock is the machine's
        event = b"data: " + json.dumps(content).encode() + b"\n\n"
        if reports:
            self._reports_of(section, spender, asked, lambda: asked.call.feed(event))
        else:
            asked.call.feed(event)

    def _reports_of(self, section: Section, spender: Spender, asked: Asked, work: Callable[[], object]) -> None:
        """Do *work*, which reports what the request has cost so far."""
        spender.moves_to(*asked.billed)
        work()
        asked.reported = spender.now[0]
        must(section.reported is not None, "a stream is reported as soon as it begins", section.reservation_id)
        self.in_flux[spender] = spender.now
        spender.held = max(spender.held, spender.now[0])

    # -- the end -----------------------------------------------------------------------------------------------------
    def _settles(
        self, limit: SimulatedLimit, section: Section, spender: Spender, asked: Asked, flow: Flow[Any]
    ) -> Flow[None]:
        least, most = asked.billed if asked.input or asked.answers is Answers.FAILS else (0, 0)
        spender.moves_to(least, most)
        spender.held = min(spender.held, least)
        try:
            yield from flow
            self.in_flux[spender] = spender.now
        except KeyboardInterrupt:  # before it was decided, what counts is what was reported last
            least = asked.reported if section.is_open else least
            leave_to_background(section, self)
            self._drops(section)
            spender.moves_to(least, most)
        limit.settled(spender, least)

    def _drops(self, section: Section) -> None:
        """Do what a client does with a *section* that nobody has any more."""
        dropped: Any = SimpleNamespace(section=section, keeper=self, is_inherited=False)
        RunningSection.drop(dropped)

    def give_back(self, section: Section) -> None:
        """Charge what a dropped *section* reported, else release its hold, as a client's background does."""
        if section.provisional is not None:
            self.start("charge", until_done(Charge(section.provisional, section.policy, due=self.now)))
        else:
            held = section.reservation_id
            self.start("give back", until_done(GiveBack(section.policy, reservation_id=held, due=self.now)))

    def _dropped(self, limit: SimulatedLimit, section: Section, spender: Spender, asked: Asked) -> Flow[None]:
        self._reports_of(section, spender, asked, asked.call.dropped)
        limit.settled(spender, asked.billed[0])
        with suppress(KeyboardInterrupt):  # nothing is left that it could cut off
            yield from Sleep(0.0)
