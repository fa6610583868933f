"""One schedule: programs that take turns on a virtual clock, effect by effect, while the fault plan does its worst.

This is the third driver of the core's flows, beside `_drivers.blocking` and `_drivers.aio`.
"""

from __future__ import annotations

import math
from asyncio import CancelledError
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, Final

from cycles._core.effects import Call, Clock, Forget, Jitter, NewKey, Notify, Now, Ready, Record, Sleep, Take, Tell
from cycles._core.recovery import Recovery
from cycles.testing.authority import SimulatedAuthority
from cycles.testing.cases import Case, draw
from cycles.testing.disk import Disk, Single
from cycles.testing.faults import INTERRUPTS, Fault, FaultPlan
from cycles.testing.invariants import Invariants
from cycles.testing.programs import Exited, Killed, Program, guarded, recorded, renewing, replayed
from cycles.testing.trace import Trace
from cycles.testing.violation import Broken
from cycles.testing.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cycles._core.effects import Effect, Flow
    from cycles._core.outcomes import Answer
    from cycles._core.section import Section
    from cycles.testing.cases import Plan
    from cycles.testing.faults import Interrupt

_MOST_EFFECTS: Final = 20_000
"""Effects of one schedule; the bounds on attempts keep it far below, so reaching it is a loop."""

_NETWORKS: Final = ((0.001, 0.02), (0.005, 0.1, 0.4), (0.02, 0.4, 5.0))
"""Seconds that requests take on networks of which each schedule has one; the last is a timeout."""

_LEAVING: Final[tuple[type[BaseException], ...]] = (StopIteration, Exited, Killed, *INTERRUPTS.values())
"""What a program may end with."""

_JUMPS: Final = (0.2, 1.5, 7.0, 30.0, 120.0)

_SETTINGS: Final = (-86_400_000, -60_000, -700, 700, 60_000, 86_400_000)
"""Milliseconds by which the time of day is set forward or back."""

_EPOCH_MS: Final = 1_800_000_000_000

_MOST_ROUNDS: Final = 50
"""Recoveries until everything must be settled once nothing goes wrong any more."""


class Simulation:
    """A schedule, from its seed.

    Args:
        seed: Decides everything.
        companions: Returns flows that run beside a section and share it, until it ends (by default its heartbeat).

    Attributes:
        trace: What happened.
        faults: How often each fault occurred.
        effects: How many effects it has performed.
    """

    def __init__(self, seed: int, *, companions: Callable[[Case, Section], Iterable[Flow[None]]] = renewing) -> None:
        self.seed: Final = seed
        self._companions: Final = companions
        self._random: Final = Random(seed)  # noqa: S311 - reproducible on purpose
        self._plan: Final = FaultPlan(self._random)
        choice = self._random.choice
        self.authority: Final = self._funded()
        self._network: Final = choice(_NETWORKS)
        self.invariants: Final = self._watching()
        self._wire: Final = Wire(self.authority, self._random)
        self.trace: Final = Trace()
        self.faults: Final[Counter[Fault]] = Counter()
        self.effects = 0
        self.now = 0.0
        self._keys = 0
        self._frozen = False
        self._broken: Broken | None = None
        self.cases: Final[list[Case]] = []
        self._programs: Final[list[Program]] = []
        self._unsure: list[Case] = []
        self.disk: Final = Disk()
        self._clock_set_by = 0
        self._crash_at = self._plan.crash()
        self._dead: Final[list[Program]] = []

    def _funded(self) -> SimulatedAuthority:
        """Return the authority, with budgets that are drawn."""
        choice = self._random.choice
        return SimulatedAuthority(
            choice((8, 20, 40, 100, 1000)), overdraft_limit=choice((0, 0, 5, 30)), agent=choice((None, None, 10, 25))
        )

    def _watching(self) -> Invariants:
        """Return what watches the schedule."""
        return Invariants(self.authority)

    # -- the whole schedule --------------------------------------------------------------------------------------------
    def run(self) -> None:
        """Run it to its end.

        Raises:
            Broken: when an invariant does not hold.
        """
        self._begin()
        self._until_idle()
        self._finish()
        for mark in "+", "++":
            self._replay(mark, calm=False)
        self._plan.calm, self._crash_at = True, None
        self.authority.freeze(frozen=False)
        for number in range(_MOST_ROUNDS):
            pause = self._replay(f"*{number}", calm=True)
            if not self.disk.files and not self._unsure:
                break
            self.now += pause + 1.0
        while self._wire.late:
            self.now = max(self.now, min(when for when, _ in self._wire.late))
            self._world_turns()
            self.invariants.after_effect()
        self.now = max(self.now, self.authority.last_deadline) + 1.0
        self._world_turns()
        self.invariants.after_effect()
        for case in self.cases:
            self.invariants.ended(case)
        self.invariants.at_quiescence(self.cases, self.disk)

    def _begin(self) -> None:
        """Start the programs of the schedule."""
        for number in range(self._random.choice((1, 1, 2, 3, 4, 5))):
            plan = draw(self._random, f"s{number}")
            program = Program(plan.name, self._plan.interrupts())
            self.start(program, guarded(program, plan, self))

    def _finish(self) -> None:
        """Do what is left when all that was started has ended."""

    def start(self, program: Program, flow: Flow[Any]) -> None:
        """Let *program* run *flow* from now on."""
        program.flow, program.ready_at, program.began = flow, self.now, self.effects
        self._programs.append(program)

    def _replay(self, mark: str, *, calm: bool) -> float:
        """Settle what the journal holds, as fresh processes do; two may replay the same record at once.

        Returns:
            Seconds after which it is worth while to come again.
        """
        if self._crash_at is not None and not calm:
            self._crash_at = self.effects + self._random.randrange(60)
        if not calm and self._random.random() < 0.3:
            self._happens(Fault.CLOCK_SET)  # between two runs is where it matters
        recoveries = []
        for name in list(self.disk.files):
            case = self.invariants.owners.get(name)
            pending = self.disk.read(name)
            if case is None or pending is None:
                continue  # a torn file: nobody's
            self.invariants.replays(case, pending)
            for number in range(1 if calm else self._random.choice((1, 1, 2))):
                program = Program(f"{case.name}{mark}{number}", [] if calm else self._plan.interrupts())
                recoveries.append(Recovery())
                self.start(program, replayed(program, case, Single(self.disk, name), recoveries[-1]))
        unsure, self._unsure = self._unsure, []
        for case in unsure:
            self.start(program := Program(f"{case.name}{mark}", []), recorded(program, case, self))
        self._until_idle()
        pause = max((recovery.again_in or 0.0 for recovery in recoveries), default=0.0)
        self.invariants.comes_again(pause)
        return pause

    def _is_crash_due(self) -> bool:
        return self._crash_at is not None and self.effects >= self._crash_at

    def _crash(self) -> None:
        """Kill the process: no code of it runs any more, and what it knew is gone but for the disk."""
        self._crash_at = None
        self.faults[Fault.CRASH] += 1
        self.trace.add(self.now, "world", "", "kill", fault=Fault.CRASH, outcome="")
        # Kept: the collector would close a dropped generator, and that would run code of the dead.
        self._dead.extend(self._programs)
        self._programs.clear()
        self._unsure.clear()
        on_disk = {case.name: name for name, case in self.invariants.owners.items() if name in self.disk.files}
        for case in self.cases:
            if not case.has_ended:
                name = on_disk.get(case.name)
                self.invariants.died(case, None if name is None else self.disk.read(name))

    def _until_idle(self) -> None:
        while self._programs:
            now = self.now
            ready = [program for program in self._programs if program.ready_at <= now]
            if not ready:
                self.now = min(program.ready_at for program in self._programs)
                continue
            program = ready[0] if len(ready) == 1 else self._random.choice(ready)
            if self._is_crash_due():
                self._crash()
                continue
            self._step(program)
            self._world_turns()
            self.invariants.after_effect()
            if self.effects > _MOST_EFFECTS:
                raise Broken("a schedule ends", f"{self.effects} effects")

    # -- one effect ----------------------------------------------------------------------------------------------------
    def _step(self, program: Program) -> None:
        error, program.error = program.error, None
        try:
            effect = program.advance(error)
        except _LEAVING:
            if program in self._programs:  # else its process was killed while it ran
                self._programs.remove(program)
            return
        except Exception as failure:
            raise Broken("no program fails", repr(failure)) from failure
        finally:
            if self._broken is not None:
                raise self._broken
        self._take(program, effect)

    def _take(self, program: Program, effect: Effect[Any]) -> None:
        """Perform the next *effect* of *program*, interrupts included."""
        self.effects += 1
        program.effects += 1
        interrupt = program.interrupts.get(program.effects)
        if interrupt is None:
            self._performed(program, effect, delivered=True)
            return
        # Record is not interruptible in either driver; what drops the record is no earlier than the answer.
        if interrupt.after or isinstance(effect, Record | Forget):
            self._performed(program, effect, delivered=False)
        self._interrupted(program, effect, interrupt)

    def _interrupted(self, program: Program, effect: Effect[Any], interrupt: Interrupt) -> None:
        kind = INTERRUPTS[interrupt.fault]
        program.error = Exited() if kind is GeneratorExit else kind()
        self.faults[interrupt.fault] += 1
        assert program.case is not None  # noqa: S101 - types: every effect comes from within a section
        program.case.was_interrupted = True
        self.trace.add(self.now, program.name, program.intent, effect, fault=interrupt.fault, outcome="thrown")

    def _performed(self, program: Program, effect: Effect[Any], *, delivered: bool) -> None:
        """Perform *effect*; when *delivered* is false, an interrupt takes the place of its answer."""
        case, wait = program.case, 0.0
        assert case is not None  # noqa: S101 - types: every effect comes from within a section
        fault: Fault | None = None
        answer: Any = None
        match effect:
            case Call():
                wait = min(self._random.choice(self._network), math.inf if effect.within is None else effect.within)
                answer, fault = self._called(program, case, effect, wait, delivered=delivered)
            case Sleep():
                wait = effect.seconds
                self.invariants.pauses(case, wait)
            case Now():
                answer = self.now
            case Jitter():
                answer = self._random.random()
            case NewKey():
                self._keys += 1
                answer = f"key-{self._keys}"
            case Clock():
                answer = self._clock_ms
            case Record():
                self.invariants.records(case, self.disk.write(effect.pending), effect.pending)
                self.invariants.sets_floor(program.name, self.effects, effect.pending, self._clock_ms)
                answer = True
            case Forget():
                self.invariants.forgets(case, program.name, effect.pending)
                self.disk.forget(effect.pending, rejected=effect.refusal is not None)
            case Take():
                answer = effect.queue.take()
            case _:
                assert isinstance(effect, Notify | Tell | Ready), f"the simulator can't perform {effect!r}"  # noqa: S101
                answer = True  # Ready: its disk is never full
        self.invariants.holds_up(case, program.intent, wait)
        program.answer, program.ready_at = answer, self.now + wait
        self.trace.add(self.now, program.name, program.intent, effect, fault=fault, outcome=answer)

    @property
    def _clock_ms(self) -> int:
        return _EPOCH_MS + round(self.now * 1000) + self._clock_set_by

    def _called(
        self, program: Program, case: Case, call: Call[Any], took: float, *, delivered: bool
    ) -> tuple[Answer[Any], Fault | None]:
        """Send a request; return its answer and the fault, if any."""
        self.invariants.leaves(case, program.name, program.intent, call, self.now)
        self.invariants.waits_out(program.name, program.began, call, self._clock_ms)
        planned = self._plan.of_request()
        if planned is None and took == call.within:
            planned = Fault.LOST_RESPONSE  # the driver gave it up; what it asked for may be done
        answer, raw, fault = self._wire.send(call, case, planned, self.now, took)
        if fault is not None:
            self.faults[fault] += 1
        if delivered:
            self.invariants.arrives(case, program.name, call, raw, fault)
        self.invariants.handled(case)
        return answer, fault

    # -- sections ------------------------------------------------------------------------------------------------------
    def enters(self, plan: Plan) -> Case:
        """Take note of a section that is about to reserve."""
        case = Case(plan)
        self.cases.append(case)
        return case

    def opened(self, case: Case, section: Section) -> None:
        """Take note of a section whose body is about to run, and start what runs beside it."""
        case.section = section
        self._check(lambda: self.invariants.opened(case, section))
        for number, flow in enumerate(self._companions(case, section)):
            program = Program(f"{case.name}~{number}", self._plan.interrupts())
            program.accompanies = case
            self.start(program, program.within(case, "renew", flow))

    def refused(self, case: Case, error: Exception) -> None:
        """Take note of a section whose body does not run."""
        self._check(lambda: self.invariants.refused(case, error))

    def unsure(self, case: Case) -> None:
        """Keep a charge without a reservation to be made again."""
        self._unsure.append(case)

    def left(self, case: Case) -> None:
        """Cancel what runs beside a section that is over."""
        for program in self._programs:
            if program.accompanies is case:
                program.error, program.ready_at = CancelledError(), self.now

    def _check(self, check: Callable[[], None]) -> None:
        """Keep a violation until the program has yielded: inside it, its own handlers would catch it."""
        try:
            check()
        except Broken as broken:
            self._broken = self._broken or broken

    # -- the world between two effects ---------------------------------------------------------------------------------
    def _world_turns(self) -> None:
        fault = self._plan.of_world()
        if fault is not None:
            self._happens(fault)
        for request in self._wire.deliver_late(self.now):
            name, what = request.case.name, f"late {request.operation}"
            self.trace.add(self.now, name, "", what, fault=None, outcome="delivered")
            self.invariants.handled(request.case)
        if self._random.random() < 0.1 or self._plan.calm:
            expired = self.authority.sweep(self.now)
            if expired:
                self.faults[Fault.HOLD_EXPIRED] += expired
                self.trace.add(self.now, "world", "", "sweep", fault=Fault.HOLD_EXPIRED, outcome=expired)

    def _happens(self, fault: Fault) -> None:
        self.faults[fault] += 1
        outcome: object = ""
        if fault is Fault.TIME_JUMP:
            outcome = self._random.choice(_JUMPS)
            self.now += outcome
        elif fault is Fault.CLOCK_SET:
            outcome = self._random.choice(_SETTINGS)
            self._clock_set_by += outcome
            self.invariants.clock_set()
        elif fault is Fault.TORN_FILE:
            outcome = self.disk.tear(self._random)
        elif fault is Fault.FUNDED:
            outcome = self._random.randrange(30)
            self.authority.fund(outcome)
        else:
            self._frozen = not self._frozen
            self.authority.freeze(frozen=self._frozen)
        self.trace.add(self.now, "world", "", "operator", fault=fault, outcome=outcome)
