"""The client's own code above the core, in a schedule: runtimes and sections whose effects the simulator performs.

Sections, handovers, policies, iterators and metered transports are the client's own. What is here stands in for what is
beneath them: the two drivers, and the client's upkeep.
"""

from __future__ import annotations

import functools
from types import coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from cycles._client.access import Access
from cycles._client.checked import Checked
from cycles._client.running_section import RunningSection
from cycles._core.effects import Forget, Record, Sleep
from cycles._core.jobs import Charge, GiveBack
from cycles.config import Config
from cycles.errors import CyclesError, UnreportedSpend
from cycles.testing.programs import reserved

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from cycles._core.effects import Effect, Flow
    from cycles._core.section import Section
    from cycles.testing.cases import Case, Plan
    from cycles.testing.programs import Program

T = TypeVar("T")
H = TypeVar("H")

_LATER: Final = 1.0
"""Seconds after which the background goes on with what an end has left."""


class Process:
    """The process that code runs in; when it was killed, nothing that its code asks for is performed.

    Attributes:
        is_alive: Whether it was not killed.
    """

    def __init__(self) -> None:
        self.is_alive = True


class Host(Protocol):
    """The simulator, as the client's code knows it."""

    running: Program

    @property
    def process(self) -> Process:
        """The process that its code runs in."""
        ...

    def enters(self, plan: Plan) -> Case:
        """A section is about to reserve; return where to write down what it does."""
        ...

    def opened(self, case: Case, section: Section) -> None:
        """A section runs."""
        ...

    def refused(self, case: Case, error: Exception) -> None:
        """A section does not run, because of *error*."""
        ...

    def left(self, case: Case) -> None:
        """A section is over."""
        ...

    def perform(self, case: Case, intent: str, effect: Effect[Any], *, calm: bool = False) -> Any:
        """Perform *effect* in the thread that runs, which waits for it; no interrupt comes in if *calm*."""
        ...

    def blocking(self, case: Case, intent: str, flow: Flow[T]) -> T:
        """Run *flow* in the thread that runs, which waits for it."""
        ...

    def job(self, case: Case, job: Charge | GiveBack, delay: float) -> None:
        """Let the client's background do *job*."""
        ...

    def check(self, holds: bool, invariant: str, detail: object) -> None:  # noqa: FBT001 - as `must`
        """Keep a violation until the program has yielded."""
        ...


@coroutine
def awaited(flow: Flow[T]) -> Generator[Effect[Any], Any, T]:
    """Await *flow*: the simulator performs its effects, one by one."""
    return (yield from flow)


class SimulatedWorld:
    """What the client's code takes for its world: local effects are performed at once."""

    def __init__(self, host: Host, case: Case) -> None:
        self._host: Final = host
        self._case: Final = case

    def perform(self, effect: Effect[Any]) -> Any:
        """Perform an effect that needs no waiting."""
        return self._host.perform(self._case, "report", effect)


class Background:
    """What a client's upkeep does with a section that its end left."""

    def __init__(self, host: Host, case: Case) -> None:
        self._host: Final = host
        self._process: Final = host.process
        self._case: Final = case

    def give_back(self, section: Section) -> None:
        """Charge what a dropped *section* reported, else release its hold."""
        if section.provisional is not None:
            self._begin(Charge(section.provisional, section.policy, due=0.0), 0.0)
        else:
            self._begin(GiveBack(section.policy, reservation_id=section.reservation_id), 0.0)

    def settle_later(self, section: Section) -> None:
        """Go on with the charge of *section*."""
        if section.owed is not None and self._process.is_alive:
            self._host.perform(self._case, "later", Record(section.owed), calm=True)
            self._begin(Charge(section.owed, section.policy, due=0.0), _LATER)

    def release_later(self, section: Section) -> None:
        """Go on with giving back the hold of *section*."""
        if section.provisional is not None and self._process.is_alive:
            self._host.perform(self._case, "later", Forget(section.provisional), calm=True)
        self._begin(GiveBack(section.policy, reservation_id=section.reservation_id), _LATER)

    def _begin(self, job: Charge | GiveBack, delay: float) -> None:
        if self._process.is_alive:
            self._host.job(self._case, job, delay)


def worked(program: Program, case: Case, job: Charge | GiveBack, delay: float) -> Flow[None]:
    """Do *job* until it is done, as a client's schedule does."""
    number, wait = 0, delay
    while True:
        yield from program.within(case, "pause", iter(Sleep(wait)))
        again = yield from program.within(case, f"job {number}", job.attempt())
        if again is None:
            return
        number, wait = number + 1, again


class SimulatedSection(RunningSection):
    """A running section whose flows the simulator runs."""

    __slots__ = ("_case", "_host", "_process")

    def __init__(self, section: Section, case: Case, host: Host) -> None:
        world: Any = SimulatedWorld(host, case)
        asked = Checked(
            section.terms, section.policy, None, 0.0, raise_on_unsettled=False, lease_policy="warn", own=False
        )
        super().__init__(section, world, Background(host, case), asked, None)
        self._case: Final = case
        self._host: Final = host
        self._process: Final = host.process

    def settle(self, flow: Flow[T], *, hurried: bool = False) -> T | None:
        """See `RunningSection.settle`."""
        if not self._process.is_alive:
            flow.close()
            return None
        del hurried
        try:
            with self:
                result = self._host.blocking(self._case, "end", flow)
                self._case.has_ended = True
        except UnreportedSpend:
            self._case.has_ended = True
            raise
        finally:
            self._host.left(self._case)
        return result

    async def settle_async(self, flow: Flow[T], *, hurried: bool = False) -> T | None:
        """See `RunningSection.settle_async`; an interrupt reaches the flow, as when patience is over."""
        if not self._process.is_alive:
            flow.close()
            return None
        del hurried
        try:
            with self:
                result = await awaited(self._host.running.within(self._case, "end", flow))
                self._case.has_ended = True
        except UnreportedSpend:
            self._case.has_ended = True
            raise
        finally:
            self._host.left(self._case)
        return result

    def drop(self) -> bool:
        """See `RunningSection.drop`."""
        if not self._process.is_alive or not super().drop():
            return False
        self._host.left(self._case)
        return True


@functools.cache
def _access() -> Access:
    """Return the way of every schedule's clients to their authority; nobody takes it."""
    return Access(Config("http://127.0.0.1:9", api_key="simulated", tenant="acme", journal_enabled=False), None)


class SimulatedRuntime:
    """The runtime of a client that makes one reservation, for blocking code.

    Attributes:
        case: What the simulator has seen of its section; None before it is asked for one.
        section: The section, once it runs.

    Args:
        host: The simulator.
        plan: What is reserved; with *own_terms*, whatever the code asks for in place of that.
        own_terms: See there.
    """

    def __init__(self, host: Host, plan: Plan, *, own_terms: bool = False) -> None:
        self.access: Final = _access()
        self.case: Case | None = None
        self.section: Section | None = None
        self._host: Final = host
        self._plan: Final = plan
        self._own_terms: Final = own_terms

    def reserve(self, asked: Checked, made: Callable[[RunningSection], H]) -> tuple[RunningSection, H]:
        """See `BlockingRuntime.reserve`."""
        case = self._asks(asked)
        try:
            section = self._host.blocking(case, "reserve", reserved(case.plan))
        except CyclesError as error:
            self._host.refused(case, error)
            raise
        running = self._running(case, section)
        return running, made(running)

    def _asks(self, asked: Checked) -> Case:
        plan = self._plan._replace(terms=asked.terms) if self._own_terms else self._plan
        self.case = self._host.enters(plan)
        return self.case

    def _running(self, case: Case, section: Section) -> RunningSection:
        self.section = section
        self._host.opened(case, section)
        return SimulatedSection(section, case, self._host)


class AsyncSimulatedRuntime(SimulatedRuntime):
    """The same for asynchronous code."""

    async def reserve(  # type: ignore[override]
        self, asked: Checked, made: Callable[[RunningSection], H]
    ) -> tuple[RunningSection, H]:
        """See `AsyncRuntime.reserve`."""
        case = self._asks(asked)
        try:
            section = await awaited(self._host.running.within(case, "reserve", reserved(case.plan)))
        except CyclesError as error:
            self._host.refused(case, error)
            raise
        running = self._running(case, section)
        return running, made(running)
