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
from typing import TYPE_CHECKING, Any, Final

import cycles
from cycles.errors import CyclesError
from cycles.reservation import DryRun
from cycles.testing.cases import Ending, draw
from cycles.testing.guarded_work import Chunk, Shape, Work
from cycles.testing.programs import UserError
from cycles.testing.returned_objects import AsyncStream, Later, Stream, Task
from cycles.testing.violation import must
from cycles.testing.work_simulation import WorkSimulation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator


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
