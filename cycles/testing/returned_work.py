"""Schedules of guarded calls whose work goes on after they returned: what they return, and how its caller ends it.

The model here knows what each caller did. The client's own code must find out the same:

    inside          the work runs inside the section of its call, which is open, and nobody's current between two steps
    once            what ends the work ends its section, well or as raised, as docs/guard.md says for each shape
    refused         work that nobody could wait for never runs
    end             nothing is held when all work is over, charged is what it reported: see `invariants`
"""

from __future__ import annotations

import gc
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import cycles
from cycles._core.effects import Sleep
from cycles._guard.decorated import decorated
from cycles._guard.fields import Asked
from cycles._guard.sections import AsyncSection, BlockingSection
from cycles._guard.settlement_policy import SettlementPolicy
from cycles.errors import CyclesError
from cycles.reservation import DryRun
from cycles.testing.cases import Ending, draw
from cycles.testing.client_code import AsyncSimulatedRuntime, SimulatedRuntime
from cycles.testing.programs import UserError, measured, owes
from cycles.testing.violation import must
from cycles.testing.work_simulation import WorkSimulation
from cycles_api.models.amount import Amount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator

    from cycles._core.section import Section
    from cycles._guard.settlement_policy import Ending as Ends
    from cycles.testing.cases import Case, Plan


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


class Manner(Enum):
    """How its caller ends what a call returned."""

    READ = "reads it to its end"
    CLOSE = "closes it"
    BLOCK = "leaves its with-block"
    THROW = "throws into it"
    DROP = "drops it"
    CYCLE = "drops it in a cycle"
    KEEP = "keeps it until the process ends"


_ITERATORS: Final = (Shape.RETURNED_ITERATOR, Shape.RETURNED_ASYNC_ITERATOR)
"""Closing or dropping one of these ends its section as a return does; a generator raises GeneratorExit in it."""

_WITHOUT_ACTUAL: Final = (Shape.ASYNC_GENERATOR,)
"""Nothing says what these have cost but what they report."""

_PAUSES: Final = (None, None, 0.01, 0.5, 3.0, 70.0)


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

    def __init__(self, host: ReturnedWork, plan: Plan, shape: Shape, chunks: list[Chunk]) -> None:
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

    def __init__(self, policy: SettlementPolicy, work: Work, host: ReturnedWork) -> None:
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


class Stream:
    """An iterator such as an SDK's stream, with a with-block and close()."""

    def __init__(self, work: Work) -> None:
        self._steps: Final = work.steps()

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> int:
        return next(self._steps)

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop."""
        self._steps.close()


class AsyncStream:
    """The same for asynchronous code."""

    def __init__(self, work: Work) -> None:
        self._steps: Final[Any] = work.async_steps()

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> int:
        number: int = await anext(self._steps)
        return number

    async def __aenter__(self) -> AsyncStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop."""
        await self._steps.aclose()


class Later:
    """What an async function may return to be awaited by its caller."""

    def __init__(self, work: Work) -> None:
        self._work: Final = work

    def __await__(self) -> Generator[Any, Any, str]:
        return self._work.whole().__await__()


class Task:
    """Work that runs beside the call that began it, as a task of asyncio does."""

    _asyncio_future_blocking = False

    def __init__(self, work: Work, host: ReturnedWork) -> None:
        self._work: Final = work
        self._host: Final = host
        self._error: BaseException | None = None
        self._program: Final = host.begin(f"{work.plan.name} task", self._run())

    async def _run(self) -> None:
        try:
            await self._work.whole()
        except Exception as error:  # noqa: BLE001 - for whoever awaits it
            self._error = error

    def __await__(self) -> Generator[Any, Any, str]:
        return self._ended().__await__()

    async def _ended(self) -> str:
        try:
            while self._host.is_running(self._program):
                await self._host.sleep(self._work.case, 0.05)
        except BaseException:
            self._host.cancel(self._program)
            raise
        if self._error is not None:
            raise self._error
        self._work.ends_well = True
        return "done"


class ReturnedWork(WorkSimulation):
    """A schedule of guarded calls whose work goes on after they returned; see `WorkSimulation`."""

    def _begin(self) -> None:
        self._works: list[Work] = []
        random = self.random
        for number in range(random.choice((1, 1, 2, 3))):
            plan, shape = draw(random, f"w{number}"), random.choice(tuple(Shape))
            if shape in _WITHOUT_ACTUAL and plan.ending in (Ending.ACTUAL, Ending.ACTUAL_FAILS):
                plan = plan._replace(ending=Ending.NOTHING)
            chunks = [
                Chunk(random.choice(_PAUSES), random.randrange(25) if random.random() < 0.5 else None)
                for _ in range(random.randrange(4))
            ]
            work = Work(self, plan, shape, chunks)
            self._works.append(work)
            self.begin(plan.name, self._calls(work, _manner(self, shape), random.randrange(len(chunks) + 1)))

    def _finish(self) -> None:
        super()._finish()
        for work in self._works if self.process.is_alive else ():
            section = work.section
            if section is not None and not section.holds_nothing and not work.case.was_interrupted and work.is_spanned:
                must(work.is_asked, "the guard says how each section ends, whatever became of its work", work.case.name)

    async def _calls(self, work: Work, manner: Manner, most: int) -> None:
        """Call the function, and do with what it returns as its caller does."""
        try:
            if work.shape in (Shape.AWAITABLE, Shape.TASK):
                await self._awaited(work)
            elif work.shape is Shape.REFUSED:
                self._refused(work)
            elif work.shape in (Shape.GENERATOR, Shape.RETURNED_GENERATOR, Shape.RETURNED_ITERATOR):
                await self._iterated(work, manner, most)
            else:
                await self._async_iterated(work, manner, most)
        except (CyclesError, UserError):
            pass  # the caller's to know

    # -- work that is awaited ------------------------------------------------------------------------------------------
    async def _awaited(self, work: Work) -> None:
        async def returns() -> Awaitable[str]:
            return Later(work) if work.shape is Shape.AWAITABLE else Task(work, self)

        returned = await work.guarded(returns)()
        if not isinstance(returned, DryRun):
            self._is_over(work, "what an async function returned to be awaited is awaited")
            await returned

    def _refused(self, work: Work) -> None:
        def returns() -> Any:
            work.ends_well = False
            return work.whole()

        try:
            returned = work.guarded(returns)()
        except TypeError:
            self.check(not work.has_run, "work that nobody could wait for never runs", work.case.name)
        else:
            self.check(isinstance(returned, DryRun), "work that nobody could wait for is refused", work.case.name)

    def _is_over(self, work: Work, invariant: str) -> None:
        section = work.section
        self.check(section is None or not section.is_open or work.case.was_interrupted, invariant, work.case.name)

    # -- work that is iterated -----------------------------------------------------------------------------------------
    async def _iterated(self, work: Work, manner: Manner, most: int) -> None:
        def returns() -> Any:
            return Stream(work) if work.shape is Shape.RETURNED_ITERATOR else work.steps()

        function = work.guarded(work.steps if work.shape is Shape.GENERATOR else returns)
        stream = function()
        if isinstance(stream, DryRun):
            return
        if manner is Manner.BLOCK or (manner is Manner.THROW and work.shape in _ITERATORS):
            with stream:
                await self._some(work, stream, most)
                self._leaves(work, manner)
            return
        if not await self._some(work, stream, None if manner is Manner.READ else most):
            return
        self._ended_by(work, manner)
        if manner is Manner.CLOSE:
            stream.close()
        elif manner is Manner.THROW:
            stream.throw(UserError("thrown"))
        elif manner is Manner.KEEP:
            self.kept.append(stream)
        elif manner is Manner.CYCLE:
            ring: list[Any] = [stream]
            ring.append(ring)
            del ring, stream
            gc.collect(0)

    async def _some(self, work: Work, stream: Iterator[int], most: int | None) -> bool:
        """Read *most* items, or all; return whether there may be more."""
        number = 0
        while most is None or number < most:
            try:
                self.check(next(stream) == number, "the caller gets the items as they are", work.case.name)
            except StopIteration:
                self._is_over(work, "what is read to its end is settled")
                return False
            number += 1
            await self._between(work)
        return True

    async def _async_iterated(self, work: Work, manner: Manner, most: int) -> None:
        async def returns() -> Any:
            return AsyncStream(work) if work.shape is Shape.RETURNED_ASYNC_ITERATOR else work.async_steps()

        if work.shape is Shape.ASYNC_GENERATOR:
            stream = work.guarded(work.async_steps)()
        else:
            stream = await work.guarded(returns)()
        if isinstance(stream, DryRun):
            return
        if manner is Manner.BLOCK or (manner is Manner.THROW and work.shape in _ITERATORS):
            async with stream:
                await self._async_some(work, stream, most)
                self._leaves(work, manner)
            return
        if not await self._async_some(work, stream, None if manner is Manner.READ else most):
            return
        self._ended_by(work, manner)
        if manner is Manner.CLOSE:
            await stream.aclose()
        elif manner is Manner.THROW:
            await stream.athrow(UserError("thrown"))
        elif manner is Manner.KEEP:
            self.kept.append(stream)
        elif manner is Manner.CYCLE:
            ring: list[Any] = [stream]
            ring.append(ring)
            del ring, stream
            gc.collect(0)

    async def _async_some(self, work: Work, stream: AsyncIterator[int], most: int | None) -> bool:
        number = 0
        while most is None or number < most:
            try:
                self.check(await anext(stream) == number, "the caller gets the items as they are", work.case.name)
            except StopAsyncIteration:
                self._is_over(work, "what is read to its end is settled")
                return False
            number += 1
            await self._between(work)
        return True

    async def _between(self, work: Work) -> None:
        """Do something else between two steps of the work."""
        self.check(cycles.current() is None, "between two steps the caller's code is in no section", work.case.name)
        if self.random.random() < 0.5:
            await self.sleep(work.case, self.random.choice((0.01, 1.0, 90.0)))

    def _leaves(self, work: Work, manner: Manner) -> None:
        self._ended_by(work, manner)
        if manner is Manner.THROW:
            raise UserError("in the block")

    @staticmethod
    def _ended_by(work: Work, manner: Manner) -> None:
        """Note how the section of *work* has to end, which its caller ends now before its own end has come."""
        if manner is Manner.CYCLE and work.shape in (Shape.GENERATOR, Shape.ASYNC_GENERATOR):
            work.is_spanned = False
        if work.ends_well is None:
            work.ends_well = work.shape in _ITERATORS and manner is not Manner.THROW


def _manner(host: WorkSimulation, shape: Shape) -> Manner:
    """Return a manner that there is for *shape*."""
    manners = [manner for manner in Manner if manner is not Manner.BLOCK or shape in _ITERATORS]
    return host.random.choice(manners)
