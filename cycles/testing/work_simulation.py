"""Schedules of work that begins, or goes on, after its call returned: generators, streams, tasks, metered answers.

The client's own code runs here, above the core: handovers, iterators, policies, metered transports. Coroutines take
turns effect by effect. Blocking code holds its thread while an effect is performed, so nothing of the process runs
beside it; the world does.
"""

from __future__ import annotations

import contextvars
import gc
import sys
import weakref
from asyncio import CancelledError
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cycles._core.effects import Sleep
from cycles.errors import CyclesError, UnreportedSpend
from cycles.testing.client_code import Process, awaited, worked
from cycles.testing.faults import INTERRUPTS
from cycles.testing.programs import Killed, Program
from cycles.testing.simulation import Simulation
from cycles.testing.violation import Broken, must

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from random import Random

    from cycles._core.effects import Effect, Flow
    from cycles._core.jobs import Charge, GiveBack
    from cycles._core.section import Section
    from cycles.testing.cases import Case
    from cycles.testing.faults import Interrupt

T = TypeVar("T")

_MOST_LAST_WORDS: Final = 1000
"""Effects that code of a dead process asks for at most, one after the other, before it is given up."""


class Caller(Program):
    """A thread of control that runs code of the client, or of its user, in a context of its own."""

    __slots__ = ("context",)

    def __init__(self, name: str, interrupts: list[Interrupt]) -> None:
        super().__init__(name, interrupts)
        self.context: Final = contextvars.copy_context()

    def advance(self, error: BaseException | None) -> Effect[Any]:
        """See `Program.advance`."""
        return self.context.run(Program.advance, self, error)


class WorkSimulation(Simulation):
    """A schedule of work that outlasts its call, from its seed; see `Simulation`.

    Attributes:
        process: The process that the code runs in.
        running: The program that runs.
        random: The source of all choices.
        kept: What programs keep until the process ends.
        loop_is_ending, loop_is_closed: Whether the event loop is about to end, and whether it has.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.process: Final = Process()
        self.running = Program("", [])
        self.kept: Final[list[Any]] = []
        self._generators: Final[list[weakref.ref[Any]]] = []
        self._loop_ends_at = self._random.randrange(60) if self._random.random() < 0.2 else None
        self._leaves_holds = False
        self.loop_is_ending = self.loop_is_closed = False

    @property
    def random(self) -> Random:
        """The source of all choices."""
        return self._random

    # -- the whole schedule --------------------------------------------------------------------------------------------
    def run(self) -> None:
        """Run it to its end, as `Simulation.run`; nothing is collected in between but what nobody has any more."""
        hooks, collects, unraisable = sys.get_asyncgen_hooks(), gc.isenabled(), sys.unraisablehook
        gc.disable()
        sys.unraisablehook = self._is_ignored
        sys.set_asyncgen_hooks(self._is_iterated, self._is_dropped)
        try:
            super().run()
        finally:
            self._bury()
            sys.set_asyncgen_hooks(*hooks)
            sys.unraisablehook = unraisable
            if collects:
                gc.enable()

    def begin(self, name: str, work: Coroutine[Any, Any, Any]) -> Program:
        """Let *work* run from now on, in a context like the one that runs."""
        program = Caller(name, self._plan.interrupts())
        flow: Any = work
        self.start(program, flow)
        return program

    def _finish(self) -> None:
        if not self.process.is_alive:
            return
        self.loop_is_ending = True
        for number, seen in enumerate(self._generators):  # the loop ends: it closes all of them at the same time
            if (generator := seen()) is not None:
                self.begin(f"close {number}", _closed(generator))
            del generator
        self._until_idle()
        self.loop_is_closed = True
        self.kept.clear()
        gc.collect(0)
        self._until_idle()
        if self.process.is_alive and not self._leaves_holds and set(self.faults) <= set(INTERRUPTS):
            left = {case.section.reservation_id for case in self.cases if case.section and _is_left(case, case.section)}
            holds = self.authority.books.holds.values()
            live = [hold for hold in holds if hold.status == "ACTIVE" and hold.reservation_id not in left]
            must(not live, "nothing is held when all work is over", live)

    def _crash(self) -> None:
        super()._crash()
        self.process.is_alive = False

    def _bury(self) -> None:
        """Unwind the code of a dead process: none of what it asks for is performed."""
        self.process.is_alive = False
        for program in (*self._dead, *self._programs):
            for _ in range(_MOST_LAST_WORDS):
                try:
                    program.advance(Killed())
                except BaseException:  # noqa: BLE001 - whatever the dead say
                    break
        self._dead.clear()
        self.kept.clear()
        gc.collect(0)

    def _is_ignored(self, raised: Any) -> None:
        """Check what comes out of code that the collector runs, where nobody can catch it."""
        error: BaseException = raised.exc_value
        may_be = isinstance(error, UnreportedSpend) or not isinstance(error, Exception)
        self.check(may_be or not self.process.is_alive, "no program fails", f"{error!r} in {raised.object!r}")

    # -- the event loop ------------------------------------------------------------------------------------------------
    def _is_iterated(self, generator: AsyncGenerator[Any, Any]) -> None:
        self._generators.append(weakref.ref(generator))

    def _is_dropped(self, generator: AsyncGenerator[Any, Any]) -> None:
        if self.process.is_alive:
            self.begin(f"drop {self.running.name}", _closed(generator))

    def _step(self, program: Program) -> None:
        if self._loop_ends_at is not None and self.effects >= self._loop_ends_at:
            self._loop_ends_at = None
            self._cancel_all()
        self.running = program
        super()._step(program)

    def _cancel_all(self) -> None:
        """Cancel what runs, as the end of an event loop does."""
        self.loop_is_ending = True
        for case in self.cases:
            if not case.has_ended:
                case.was_interrupted = True
        for program in self._programs:
            if isinstance(program, Caller):
                self.cancel(program)

    def cancel(self, program: Program) -> None:
        """Throw a cancellation into *program* when its turn comes."""
        program.error, program.ready_at = CancelledError(), self.now
        self._leaves_holds = True  # one that is cut off in a reserve may leave its hold

    def is_running(self, program: Program) -> bool:
        """Return whether *program* has not ended."""
        return program in self._programs

    # -- effects of code that runs in here -----------------------------------------------------------------------------
    def perform(self, case: Case, intent: str, effect: Effect[Any], *, calm: bool = False) -> Any:
        """Perform *effect* in the thread that runs, which waits for it; no interrupt comes in if *calm*."""
        program = self.running
        before = program.case, program.intent
        program.case, program.intent = case, intent
        try:
            return self._done_at_once(program, effect, calm=calm)
        finally:
            program.case, program.intent = before

    def _done_at_once(self, program: Program, effect: Effect[Any], *, calm: bool = False) -> Any:
        if not self.process.is_alive:
            raise Killed
        if self._is_crash_due() and not calm:
            self._crash()
            raise Killed
        try:
            if calm:
                self.effects += 1
                self._performed(program, effect, delivered=True)
            else:
                self._take(program, effect)
            error, program.error = program.error, None
            self.now = max(self.now, program.ready_at)
            self._world_turns()
            self.invariants.after_effect()
        except Broken as broken:
            self._broken = self._broken or broken
            self.process.is_alive = False
            raise Killed from None
        if error is not None:
            raise error
        return program.answer

    def blocking(self, case: Case, intent: str, flow: Flow[T]) -> T:
        """Run *flow* in the thread that runs, which waits for it."""
        program = self.running
        driven = program.within(case, intent, flow)
        try:
            effect = next(driven)
            while True:
                try:
                    answer = self._done_at_once(program, effect)
                except BaseException as error:  # noqa: BLE001 - the flow decides what an interrupt means
                    effect = driven.throw(error)
                else:
                    effect = driven.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            driven.close()

    async def sleep(self, case: Case, seconds: float) -> None:
        """Let others run for *seconds*, in asynchronous code."""
        if not self.process.is_alive:
            raise Killed
        await awaited(self.running.within(case, "work", iter(Sleep(seconds))))

    def job(self, case: Case, job: Charge | GiveBack, delay: float) -> None:
        """Let the client's background do *job*."""
        program = Program(f"{case.name}&", [])
        self.start(program, worked(program, case, job, delay))

    def _interrupted(self, program: Program, effect: Effect[Any], interrupt: Interrupt) -> None:
        self._leaves_holds = self._leaves_holds or program.intent == "reserve"
        super()._interrupted(program, effect, interrupt)

    def check(self, holds: bool, invariant: str, detail: object) -> None:  # noqa: FBT001 - as `must`
        """Keep a violation until the program has yielded: inside it, its own handlers would catch it."""
        if not holds:
            self._broken = self._broken or Broken(invariant, detail)


def _is_left(case: Case, section: Section) -> bool:
    """Whether a hold is left to its expiry: its charge was refused, or nobody said what it is and that is an error."""
    return section.is_unreported or case.was_refused


async def _closed(generator: AsyncGenerator[Any, Any]) -> None:
    with suppress(CyclesError):  # nobody's to know
        await generator.aclose()
