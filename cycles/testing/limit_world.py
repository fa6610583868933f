"""The world of a schedule with limits: its clock, its tasks, its disk, its network, and what goes wrong there."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any, Final

from cycles._core.effects import Call, Clock, Forget, Jitter, NewKey, Now, Record, Sleep, Take
from cycles.testing.authority import SimulatedAuthority
from cycles.testing.cases import Case, draw
from cycles.testing.disk import Disk
from cycles.testing.faults import Fault, FaultPlan
from cycles.testing.limit_tasks import Task
from cycles.testing.messages import Raw
from cycles.testing.trace import Trace
from cycles.testing.violation import Broken, must
from cycles.testing.wire import Wire, decoded

if TYPE_CHECKING:
    from cycles._core.effects import Effect, Flow

_EPOCH_MS: Final = 1_800_000_000_000
_MOST_EFFECTS: Final = 20_000


class LimitWorld:
    """Performs the effects of its tasks in turns, each at its time.

    Attributes:
        trace: What happened.
        faults: How often each fault occurred.
        effects: How many effects it has performed.
    """

    def __init__(self, seed: int) -> None:
        self.seed: Final = seed
        self.random: Final = Random(seed)  # noqa: S311 - reproducible on purpose
        self.plan: Final = FaultPlan(self.random)
        self.calm_network: Final = self.random.random() < 0.4
        # Rich enough that no charge is ever cut: what is taken can be compared with what was spent.
        self.authority: Final = SimulatedAuthority(100_000)
        self.wire: Final = Wire(self.authority, self.random)
        self.trace: Final = Trace()
        self.faults: Final[Counter[Fault]] = Counter()
        self.effects = 0
        self.now = 0.0
        self.disk: Final = Disk()
        self.tasks: Final[list[Task]] = []
        self.running = Task("", iter(()), 0.0)  # type: ignore[arg-type]
        self.has_crashed = False
        self._case_plan: Final = draw(Random(0), "limit")  # noqa: S311 - only to fill a field
        self._cases: Final[dict[str, Case]] = {}
        self._dead: Final[list[Task]] = []
        self._keys = 0
        self._denies: Final = self.random.choice((0.0, 0.1, 0.5))
        self._crash_at = self.random.randrange(120) if self.random.random() < 0.5 else None
        self._broken: Broken | None = None

    def calm_down(self) -> None:
        """Let nothing go wrong any more."""
        self.plan.calm, self._crash_at = True, None

    def start(self, name: str, flow: Flow[Any]) -> Task:
        """Run *flow* as a task."""
        task = Task(name, flow, self.now)
        self.tasks.append(task)
        return task

    def check(self, holds: bool, invariant: str, detail: object) -> None:  # noqa: FBT001 - as `must`
        """Keep a violation until the program has yielded: inside it, its own handlers would catch it."""
        if not holds and self._broken is None:
            self._broken = Broken(invariant, detail)

    def until_idle(self) -> None:
        """Take steps until no task is left, or all are killed."""
        while self.tasks:
            ready = [task for task in self.tasks if task.ready_at <= self.now]
            if not ready:
                self.now = min(task.ready_at for task in self.tasks)
                continue
            if self.effects == self._crash_at:
                self._crash()
                return
            self._step(self.random.choice(ready))
            self._world_turns()
            must(self.effects <= _MOST_EFFECTS, "a schedule ends", f"{self.effects} effects")

    def _crash(self) -> None:
        self._crash_at, self.has_crashed = None, True
        self.faults[Fault.CRASH] += 1
        self.trace.add(self.now, "world", "", "kill", fault=Fault.CRASH, outcome="")
        self._dead.extend(self.tasks)  # kept: a dropped generator would run code of the dead
        self.tasks.clear()

    def _step(self, task: Task) -> None:
        self.running = task
        try:
            effect = task.next()
        except StopIteration:
            self.tasks.remove(task)
            self._stepped()
            return
        except Broken:
            raise
        except Exception as failure:
            raise Broken("no program fails", repr(failure)) from failure
        if self._broken is not None:
            raise self._broken
        self.effects += 1
        wait, fault = 0.0, None
        answer: Any = None
        if task.is_interrupted:
            self.faults[Fault.KEYBOARD_INTERRUPT] += 1
        if task.is_cut:
            self.trace.add(self.now, task.name, "", effect, fault=Fault.KEYBOARD_INTERRUPT, outcome=None)
            return
        match effect:
            case Call():
                wait = self.random.choice((0.001, 0.05, 0.4))
                answer, fault = self._called(effect, wait)
            case Sleep():
                wait = effect.seconds
            case _:
                answer = self._local(effect)
        task.answer, task.ready_at = answer, self.now + wait
        self.trace.add(self.now, task.name, "", effect, fault=fault, outcome=answer)
        self._stepped()

    def _local(self, effect: Effect[Any]) -> Any:
        match effect:
            case Now():
                return self.now
            case Jitter():
                return self.random.random()
            case NewKey():
                self._keys += 1
                return f"key-{self._keys}"
            case Clock():
                return _EPOCH_MS + round(self.now * 1000)
            case Record():
                self.disk.write(effect.pending)
                return True
            case Forget():
                self.disk.forget(effect.pending, rejected=effect.refusal is not None)
                return None
            case Take():
                return effect.queue.take()
            case _:
                return True

    def _stepped(self) -> None:
        """What to do after each step of a task."""

    def _called(self, call: Call[Any], took: float) -> tuple[Any, Fault | None]:
        fault = None if self.calm_network else self.plan.of_request()
        if fault is Fault.UNAUTHORIZED:
            fault = None  # stops all settling: the other simulation's
        if call.operation.name == "create_reservation" and not self.plan.calm and self.random.random() < self._denies:
            self.faults[Fault.FROZEN] += 1
            denied = {"error": "BUDGET_FROZEN", "message": "by the fault plan", "request_id": "req-sim"}
            refused = decoded(call.operation.name, 200, Raw(409, denied), self.now, self.now + took)
            return refused, Fault.FROZEN
        case = self._case_of(call)
        answer, raw, fault = self.wire.send(call, case, fault, self.now, took)
        if fault is not None:
            self.faults[fault] += 1
        if raw is not None and raw.body is not None and "reservation_id" in raw.body:
            self._cases.setdefault(str(raw.body["reservation_id"]), case)
        return answer, fault

    def _case_of(self, call: Call[Any]) -> Case:
        """Return the case of the reservation, or of the key, that a request is about."""
        body = call.arguments.get("body")
        key = body.idempotency_key if body is not None else str(call.arguments.get("idempotency_key"))
        name = call.arguments.get("reservation_id", key)
        case = self._cases.setdefault(str(name), self._cases.get(key) or Case(self._case_plan))
        return self._cases.setdefault(key, case)

    def _world_turns(self) -> None:
        if not self.calm_network:
            self.wire.deliver_late(self.now)
        if self.plan.calm:
            return
        drawn = self.random.random()
        if drawn < 0.01:
            self.faults[Fault.TIME_JUMP] += 1
            self.now += self.random.choice((0.5, 7.0, 120.0))
        if drawn > 0.9 and (expired := self.authority.sweep(self.now)):
            self.faults[Fault.HOLD_EXPIRED] += expired
