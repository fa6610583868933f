"""What guarded functions return for their work to go on in: streams such as an SDK's, awaitables, tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Generator

    from cycles.testing.guarded_work import Work
    from cycles.testing.work_simulation import WorkSimulation


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

    def __init__(self, work: Work, host: WorkSimulation) -> None:
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
