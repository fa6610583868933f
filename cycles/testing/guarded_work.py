"""The work of one guarded call that goes on after the call returned, as the model knows it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import cycles
from cycles._core.effects import Sleep
from cycles._guard.decorated import decorated
from cycles._guard.fields import Asked
from cycles._guard.sections import AsyncSection, BlockingSection
from cycles._guard.settlement_policy import SettlementPolicy
from cycles.testing.cases import Ending
from cycles.testing.client_code import AsyncSimulatedRuntime, SimulatedRuntime
from cycles.testing.programs import UserError, measured, owes
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator

    from cycles._core.section import Section
    from cycles._guard.settlement_policy import Ending as Ends
    from cycles.testing.cases import Case, Plan
    from cycles.testing.work_simulation import WorkSimulation


class Shape(Enum):
    """What a guarded function is, and what its call returns."""

    GENERATOR = "generator function"
    ASYNC_GENERATOR = "async generator function"
    RETURNED_GENERATOR = "returns a generator"
    RETURNED_ITERATOR = "returns an iterator"
    RETURNED_ASYNC_GENERATOR = "returns an async generator"
    RETURNED_ASYNC_ITERATOR = "returns an async iterator"
    AWAITABLE = "returns an awaitable"
    TASK = "returns a task"
    REFUSED = "returns a coroutine, and is not async"


class Chunk(NamedTuple):
    """A step of the work: seconds that it takes, if any, and what it reports then, if anything."""

    seconds: float | None
    reports: int | None


class Work:
    """The work of one call, as the model knows it.

    Attributes:
        plan: What its section asks for, and how the work ends.
        runtime: Of the client that reserves for it.
        ends_well: How the section has to end; None while nobody has ended the work.
        has_run: Whether any of it has run.
        is_asked: Whether the policy was asked how its section ends.
        is_spanned: Whether it must be. Of a generator function's cycle the collector may finalize the reservation
            first, which is then charged what it reported, and no more.
    """

    def __init__(self, host: WorkSimulation, plan: Plan, shape: Shape, chunks: list[Chunk]) -> None:
        self.plan: Final = plan
        self.shape: Final = shape
        self.chunks: Final = chunks
        self.runtime: Final = SimulatedRuntime(host, plan)
        self.async_runtime: Final = AsyncSimulatedRuntime(host, plan)
        self.ends_well: bool | None = None
        self.has_run = self.is_asked = False
        self.is_spanned = True
        self._host: Final = host

    @property
    def case(self) -> Case:
        """What the simulator has seen of its section."""
        case = self.runtime.case or self.async_runtime.case
        assert case is not None  # noqa: S101 - types: nothing of it runs before
        return case

    @property
    def section(self) -> Section | None:
        """Its section, once it runs."""
        return self.runtime.section or self.async_runtime.section

    # -- the guard -----------------------------------------------------------------------------------------------------
    def guarded(self, function: Callable[[], Any]) -> Callable[[], Any]:
        """Return *function* as a `Guard` decorates it."""
        plan, on_error = self.plan, self.plan.on_error
        said = on_error if isinstance(on_error, str) else "release"
        has_actual = plan.ending in (Ending.ACTUAL, Ending.ACTUAL_FAILS)
        policy = SettlementPolicy(
            self._measure if has_actual else None,
            plan.unreported,
            (lambda _: on_error) if isinstance(on_error, Amount) else said,
        )
        watched = _WatchedPolicy(policy, self, self._host)
        asked = Asked(plan.terms.estimate, {"action": ("llm.completion", "sim"), "raise_on_unsettled": False}, None)
        runtime: Any = self.runtime
        async_runtime: Any = self.async_runtime
        return decorated(
            function,
            lambda *_: BlockingSection(runtime, asked, watched),
            lambda *_: AsyncSection(async_runtime, asked, watched),
        )

    def _measure(self, result: object) -> Amount:
        del result
        if self.plan.ending is Ending.ACTUAL_FAILS:
            raise UserError("actual= failed")
        return self.plan.actual

    # -- the work itself -----------------------------------------------------------------------------------------------
    def begins(self) -> None:
        """Note that a step of the work begins: it must be inside its section."""
        self.has_run = True
        current, section = cycles.current(), self.section
        self._host.check(
            section is not None and current is not None and current._section is section,  # noqa: SLF001 - the model's look
            "work runs inside the section of its call",
            f"{self.case.name}: {current!r}",
        )
        is_over = section is not None and section.settlement is not None
        self._host.check(not is_over, "a section lasts as long as its work", self.case.name)

    def reports(self, amount: int) -> None:
        """Report from within the work."""
        section = self.section
        if section is not None and section.is_open:
            self.case.known = amount
        cycles.report(actual=cycles.tokens(amount))

    def ends(self) -> None:
        """End the work as planned: well, or with an exception."""
        if self.plan.ending in (Ending.REPORT, Ending.REPORT_AND_RAISE):
            self.reports(self.plan.actual.amount)
        if self.plan.ending in (Ending.RAISE, Ending.REPORT_AND_RAISE):
            self.ends_well = False
            raise UserError(self.plan.name)
        self.ends_well = True

    def steps(self) -> Generator[int, None, None]:
        """Do it, in blocking code."""
        for number, chunk in enumerate(self.chunks):
            self.begins()
            if chunk.seconds is not None:
                self._host.perform(self.case, "work", Sleep(chunk.seconds))
            if chunk.reports is not None:
                self.reports(chunk.reports)
            yield number
        self.begins()
        self.ends()

    async def async_steps(self) -> AsyncIterator[int]:
        """Do it, in asynchronous code."""
        for number, chunk in enumerate(self.chunks):
            self.begins()
            if chunk.seconds is not None:
                await self._host.sleep(self.case, chunk.seconds)
                self.begins()
            if chunk.reports is not None:
                self.reports(chunk.reports)
            yield number
        self.begins()
        self.ends()

    async def whole(self) -> str:
        """Do all of it."""
        async for _ in self.async_steps():
            pass
        return "done"


class _WatchedPolicy:
    """A guard's policy, and the model's own answer to how the section has to end."""

    def __init__(self, policy: SettlementPolicy, work: Work, host: WorkSimulation) -> None:
        self._policy: Final = policy
        self._work: Final = work
        self._host: Final = host

    def end(self, section: Section, result: Any) -> Ends:
        """See `SettlementPolicy.end`."""
        self._must_end(well=True)
        if section.is_open:
            measured(self._work.case, section)
        return self._policy.end(section, result)

    def end_raised(self, section: Section, raised: BaseException) -> Ends:
        """See `SettlementPolicy.end_raised`."""
        self._must_end(well=False)
        owes(self._work.case, section)
        return self._policy.end_raised(section, raised)

    def _must_end(self, *, well: bool) -> None:
        work = self._work
        work.is_asked = True
        self._host.check(
            work.ends_well is well or work.case.was_interrupted,
            "a section ends when its work does, and as its caller ended it",
            f"{work.case.name}: {work.shape.value}, {well} instead of {work.ends_well}",
        )
