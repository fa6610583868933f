"""What runs in a schedule: guarded sections as `guard.py` runs them, effect by effect, nested ones inside.

`Program` is a thread of control. It says which section each effect belongs to, and to which of its intents.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from cycles._core import flows, queries, section_flows
from cycles._core.effects import Now, Sleep
from cycles._core.recovery import recover
from cycles._core.renewal import Heart, beat
from cycles.errors import AuthorityUnavailable, CyclesError, Denied, UnreportedSpend
from cycles.testing.cases import Ask, Ending, Extend, Nested, Pause, Report, Spend
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from cycles._core.effects import Effect, Flow, Queue
    from cycles._core.recovery import Recovery
    from cycles._core.results import Settlement
    from cycles._core.section import Section
    from cycles._core.section_flows import OnError
    from cycles.testing.cases import Case, Plan
    from cycles.testing.faults import Interrupt

T = TypeVar("T")


class UserError(Exception):
    """What a section's own code raises."""


class Exited(BaseException):
    """Becomes a GeneratorExit inside the flow: thrown as one, it would also close every program on its way there."""


class Killed(BaseException):
    """Unwinds the code of a process that was killed: nothing that it asks for is performed any more."""


class Stage(Protocol):
    """The simulator, as programs know it."""

    def enters(self, plan: Plan) -> Case:
        """A section is about to reserve; return where to write down what it does."""
        ...

    def opened(self, case: Case, section: Section) -> None:
        """The body of a section is about to run."""
        ...

    def unsure(self, case: Case) -> None:
        """A charge without a reservation may have been made, or not."""
        ...

    def left(self, case: Case) -> None:
        """A section that ran is over, well or not."""
        ...

    def refused(self, case: Case, error: Exception) -> None:
        """The body of a section does not run, because of *error*."""
        ...


class Program:
    """A thread of control in a schedule.

    Attributes:
        name: For the trace.
        flow: What it runs.
        case, intent: The section whose next effect comes, and its intent; None between sections.
        interrupts: What is thrown into it, by the number of the effect.
        ready_at: Virtual time from which it can go on.
        answer, error: The outcome of its last effect.
        effects: How many it has asked for.
        began: How many effects the schedule had performed when it began.
        accompanies: The section that it runs beside and ends with, or None.
    """

    __slots__ = (
        "accompanies",
        "answer",
        "began",
        "case",
        "effects",
        "error",
        "flow",
        "intent",
        "interrupts",
        "name",
        "ready_at",
    )

    def __init__(self, name: str, interrupts: list[Interrupt]) -> None:
        self.name: Final = name
        self.flow: Flow[Any] = iter(Sleep(0.0))
        self.case: Case | None = None
        self.intent = ""
        self.interrupts: Final = {interrupt.at: interrupt for interrupt in interrupts}
        self.ready_at = 0.0
        self.answer: Any = None
        self.error: BaseException | None = None
        self.effects = self.began = 0
        self.accompanies: Case | None = None

    def advance(self, error: BaseException | None) -> Effect[Any]:
        """Go on with the answer to the last effect, or with *error* in its place; return the next effect."""
        return self.flow.send(self.answer) if error is None else self.flow.throw(error)

    def within(self, case: Case, intent: str, flow: Flow[T]) -> Flow[T]:
        """Run *flow* as *intent* of *case*, as a driver does: closed at the end, whatever happens."""
        before = self.case, self.intent
        self.case, self.intent = case, intent
        try:
            effect = next(flow)
            while True:
                try:
                    answer = yield effect
                except Exited:
                    effect = _closing(flow)
                except BaseException as error:  # noqa: BLE001 - the flow decides what an interrupt means
                    effect = flow.throw(error)
                else:
                    effect = flow.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value
        finally:
            flow.close()
            self.case, self.intent = before


def _closing(flow: Flow[Any]) -> Effect[Any]:
    """Throw a GeneratorExit into *flow*; return the effect that it asks for all the same."""
    try:
        return flow.throw(GeneratorExit())
    except GeneratorExit:
        raise Exited from None


def guarded(program: Program, plan: Plan, stage: Stage) -> Flow[None]:
    """Run a section as a `Guard` does."""
    case = stage.enters(plan)
    try:
        section = yield from program.within(case, "reserve", reserved(plan))
    except CyclesError as error:
        stage.refused(case, error)
        return
    stage.opened(case, section)
    try:
        yield from _running(program, case, section, stage)
    finally:
        stage.left(case)


def _running(program: Program, case: Case, section: Section, stage: Stage) -> Flow[None]:
    try:
        yield from _body(program, case, section, stage)
    except GeneratorExit:
        raise  # the schedule is given up
    except BaseException as raised:
        yield from program.within(case, "end", _ended_by(raised, case, section))
        case.has_ended = True
        if not isinstance(raised, UserError | CyclesError):
            raise
        return
    actual, failed = measured(case, section)
    ending = section_flows.end(section, actual=actual, actual_failed=failed, unreported=case.plan.unreported)
    with suppress(UnreportedSpend):
        yield from program.within(case, "end", ending)
    case.has_ended = True


def _ended_by(raised: BaseException, case: Case, section: Section) -> Flow[Settlement | None]:
    """Return how a section ends that *raised*: what it has spent without a report is up to `on_error`."""
    said = case.plan.on_error
    spent = said if isinstance(said, Amount) and section.reported is None else None
    owes(case, section)
    on_error: OnError = "estimate" if said == "estimate" else "release"
    return section_flows.end(section, raised=raised, actual=spent, on_error=on_error)


def owes(case: Case, section: Section) -> None:
    """Note what a section has spent that raised without a report, as `on_error` says."""
    said, estimate = case.plan.on_error, case.plan.terms.estimate
    if section.is_open and case.known is None and said != "release":
        case.known = said.amount if isinstance(said, Amount) else estimate.amount
        case.owes = True


def reserved(plan: Plan) -> Flow[Section]:
    try:
        return (yield from _begun(plan))
    except AuthorityUnavailable:
        if plan.key is None:
            raise
        return (yield from _begun(plan))  # a caller with a key of its own sends it again


def _begun(plan: Plan) -> Flow[Section]:
    return section_flows.begin(plan.terms, plan.policy, key=plan.key, wait=plan.wait, unguarded=plan.unguarded)


def measured(case: Case, section: Section) -> tuple[Amount | None, Exception | None]:
    plan = case.plan
    if plan.ending is Ending.ACTUAL:
        case.known = plan.actual.amount
        return plan.actual, None
    estimate = plan.terms.estimate.amount
    if plan.ending is Ending.ACTUAL_FAILS:
        case.known = estimate if case.known is None else case.known
        return None, UserError("actual= failed")
    if section.is_open and case.known is None and plan.unreported == "estimate":
        case.known = estimate
    return None, None


def _body(program: Program, case: Case, section: Section, stage: Stage) -> Flow[None]:
    plan = case.plan
    for number, step in enumerate(plan.steps):
        match step:
            case Pause():
                yield from program.within(case, "work", iter(Sleep(step.seconds)))
            case Report():
                yield from _report(program, case, section, step.amount)
            case Nested():
                yield from guarded(program, step.plan, stage)
            case Spend():
                yield from recorded(program, stage.enters(step.plan), stage)
            case Ask():
                yield from program.within(case, f"decide {number}", queries.decide(plan.terms, plan.policy))
            case Extend() if section.is_open and section.reservation_id is not None:
                flow = flows.extend(section.reservation_id, step.extend_by_ms, plan.policy)
                yield from program.within(case, f"extend {number}", flow)
    yield from _last(program, case, section)


def _last(program: Program, case: Case, section: Section) -> Flow[None]:
    """Do what a section's own code does at its end."""
    plan, ending = case.plan, case.plan.ending
    if ending in (Ending.REPORT, Ending.REPORT_AND_RAISE):
        yield from _report(program, case, section, plan.actual)
    if ending in (Ending.COMMIT, Ending.COMMIT_TWICE, Ending.COMMIT_AND_RAISE):
        case.known = plan.actual.amount
        yield from program.within(case, "commit", section_flows.commit(section, plan.actual))
    if ending is Ending.COMMIT_TWICE:
        yield from program.within(case, "commit", section_flows.commit(section, plan.actual))  # AlreadySettled
    if ending is Ending.RELEASE:
        yield from program.within(case, "release", section_flows.release(section, "not needed"))
    if ending in (Ending.RAISE, Ending.REPORT_AND_RAISE, Ending.COMMIT_AND_RAISE):
        raise UserError(plan.name)


def _report(program: Program, case: Case, section: Section, amount: Amount) -> Flow[None]:
    if section.is_open:
        case.known = amount.amount
    yield from program.within(case, "report", section_flows.report(section, amount, None, None))


def recorded(program: Program, case: Case, stage: Stage) -> Flow[None]:
    """Charge without a reservation under a key of its own; the stage makes it again while its outcome is unknown."""
    plan = case.plan
    case.without_hold, case.known = True, plan.terms.estimate.amount
    flow = queries.record(plan.terms, None, plan.policy, key=f"record-{plan.name}")
    try:
        yield from program.within(case, "record", flow)
    except Denied:
        return
    except GeneratorExit:
        raise
    except BaseException as raised:
        stage.unsure(case)
        if not isinstance(raised, CyclesError):
            raise


def replayed(program: Program, case: Case, queue: Queue, recovery: Recovery) -> Flow[None]:
    """Settle what the journal holds, as a fresh process does."""
    yield from program.within(case, "replay", recover(queue, recovery, 2))


def renewing(case: Case, section: Section) -> list[Flow[None]]:
    """Return the heartbeat of *section*, as a program beside it; a client's schedule does the same."""
    del case
    return [] if section.reservation_id is None or section.terms.dry_run else [_renewed(Heart(section, ordinary=5.0))]


def _renewed(heart: Heart) -> Flow[None]:
    delay: float | None = max(0.0, heart.due - (yield from Now()))
    while delay is not None:
        yield from Sleep(delay)
        delay = yield from beat(heart)
