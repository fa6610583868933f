"""What reads on, in a schedule, what callers have left (`partial="drain"`): threads, and tasks of an event loop.

Both are programs of the schedule, which nobody interrupts. A loop's tasks are cancelled when it ends.
"""

from __future__ import annotations

from asyncio import CancelledError
from contextlib import contextmanager, nullcontext
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from cycles._metered import async_sources, sources
from cycles.testing.cases import Case, draw
from cycles.testing.programs import Killed, Program
from cycles.testing.work_simulation import Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from cycles._core.effects import Effect
    from cycles.testing.work_simulation import WorkSimulation

_LONGEST_LOOK: Final = 8.0
"""Seconds between two looks whether a task is done, at most."""


@contextmanager
def simulated(host: WorkSimulation) -> Iterator[None]:
    """Let programs of *host* read on, while this lasts."""
    module: Any = sources
    tasks: Any = async_sources
    before = module._thread, module.threading, module.time, tasks._asyncio, tasks._is_ending  # noqa: SLF001
    loop = _Loop(host)
    module._thread = _Threads(host)  # noqa: SLF001 - in place of the modules that it imports, here and below
    module.threading, module.time = SimpleNamespace(Timer=_Unlimited), SimpleNamespace(monotonic=lambda: host.now)
    tasks._asyncio, tasks._is_ending = lambda: loop, lambda _: host.loop_is_ending or loop.is_closed()  # noqa: SLF001 - see above
    try:
        yield
    finally:
        module._thread, module.threading, module.time, tasks._asyncio, tasks._is_ending = before  # noqa: SLF001


# -- threads -----------------------------------------------------------------------------------------------------------
class _Threads:
    def __init__(self, host: WorkSimulation) -> None:
        self._host: Final = host

    def start_new_thread(self, work: Callable[[], None], args: tuple[()]) -> None:
        """Begin *work*; a process that has ended has no more threads."""
        if not self._host.process.is_alive:
            raise RuntimeError("can't start new thread")
        program, flow = Program(f"drain {self._host.running.name}", []), _worked(work, *args)
        self._host.start(program, cast("Any", flow))


async def _worked(work: Callable[[], None]) -> None:
    work()


class _Unlimited:
    """A time limit that is never over: the schedule's own pauses are short."""

    daemon = False

    def __init__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        """Nothing runs."""

    cancel = start


# -- tasks -------------------------------------------------------------------------------------------------------------
class _Loop:
    """What the client takes for asyncio, and for its running loop."""

    CancelledError = CancelledError

    def __init__(self, host: WorkSimulation) -> None:
        self._host: Final = host
        self._waits: Final = Case(draw(Random(0), "waits"))  # noqa: S311 - only to fill a field

    def get_running_loop(self) -> _Loop:
        """Return itself."""
        return self

    def is_closed(self) -> bool:
        """Whether it runs nothing any more."""
        return self._host.loop_is_closed or not self._host.process.is_alive

    def call_soon_threadsafe(self, work: Callable[[], None]) -> None:
        """Begin *work*, which waits for nothing, at once."""
        work()

    def create_task(self, work: Coroutine[Any, Any, Any], name: str = "part") -> _Task:
        """Begin *work*."""
        if self.is_closed():
            work.close()
            raise Killed
        return _Task(self._host, work, f"{name} {self._host.running.name}")

    async def wait(self, tasks: tuple[_Task]) -> None:
        """Wait for the task."""
        look = 0.01
        while not tasks[0].done():
            await self._host.sleep(self._waits, look)
            look = min(2 * look, _LONGEST_LOOK)

    async def gather(self, task: _Task, *, return_exceptions: bool) -> tuple[Any]:
        """Wait for *task*; return its result, or what it raised."""
        assert return_exceptions  # noqa: S101 - as it is called
        await self.wait((task,))
        return (task.outcome,)

    @staticmethod
    def timeout(_: float) -> nullcontext[None]:
        """Return a time limit that is never over; see `_Unlimited`."""
        return nullcontext()


class _Running(Caller):
    """The program of a task, which knows what becomes of one that is cut off before its first step."""

    __slots__ = ("_has_begun", "_task")

    def __init__(self, name: str, task: _Task) -> None:
        super().__init__(name, [])
        self._task: Final = task
        self._has_begun = False

    def advance(self, error: BaseException | None) -> Effect[Any]:
        """See `Program.advance`."""
        if error is not None and not self._has_begun:
            self._task.never_begins(error)
        self._has_begun = True
        return super().advance(error)


class _Task:
    """A task of the loop.

    Attributes:
        outcome: What it returned or raised.
    """

    def __init__(self, host: WorkSimulation, work: Coroutine[Any, Any, Any], name: str) -> None:
        self.outcome: Any = None
        self._host: Final = host
        self._work: Final = work
        self._is_done = False
        self._then: list[Callable[[Any], None]] = []
        self._program: Final = _Running(name, self)
        host.start(self._program, cast("Any", self._run()))

    async def _run(self) -> None:
        try:
            outcome = await self._work
        except Killed:
            raise
        except BaseException as error:  # noqa: BLE001 - whoever waits for it hears of it
            outcome = error
        self._ends(outcome)

    def _ends(self, outcome: Any) -> None:
        self._is_done, self.outcome = True, outcome
        for then in self._then:
            then(self)

    def add_done_callback(self, then: Callable[[Any], None]) -> None:
        """Call *then* with it at its end."""
        self._then.append(then)

    def done(self) -> bool:
        """Whether it has ended."""
        return self._is_done

    def never_begins(self, error: BaseException) -> None:
        """Note that *error* has ended it before its first step."""
        self._work.close()
        if not isinstance(error, Killed):
            self._ends(error)

    def cancel(self) -> None:
        """Cancel it."""
        if not self.done():
            self._host.cancel(self._program)

    def result(self) -> Any:
        """Return what it returned, or raise what it raised."""
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome
