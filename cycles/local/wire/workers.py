"""Threads of a server for requests that may wait for a disk or for another process, so that its loop does not wait.

anyio's took 126 µs of CPU time for each request, and these 42 (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")

MOST: Final = 16
"""Threads at once. One of them writes at a time, and others read or wait."""


class Workers:
    """Threads for one loop, started as they are needed; they end with `close`, or with the process."""

    def __init__(self) -> None:
        self._jobs: Final[queue.SimpleQueue[Callable[[], None] | None]] = queue.SimpleQueue()
        self._threads = 0
        self._unfinished = 0

    async def run(self, handle: Callable[..., R], *arguments: Any) -> R:
        """Return what *handle* returns on another thread; here when none can start.

        Like a server's, the work is finished even when the task that waits for it is cancelled.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[R] = loop.create_future()
        if self._unfinished >= self._threads and not self._start():
            return handle(*arguments)
        self._unfinished += 1

        def work() -> None:
            try:
                outcome, error = handle(*arguments), None
            except BaseException as raised:  # noqa: BLE001 - it is raised where it was asked for
                outcome, error = None, raised
            with suppress(RuntimeError):  # the loop has ended: nobody waits any more
                loop.call_soon_threadsafe(self._finished, done, outcome, error)

        self._jobs.put(work)
        return await done

    def _finished(self, done: asyncio.Future[Any], outcome: Any, error: BaseException | None) -> None:
        self._unfinished -= 1
        if done.done():  # cancelled meanwhile
            return
        if error is None:
            done.set_result(outcome)
        else:
            done.set_exception(error)

    def _start(self) -> bool:
        """Start one more thread if there may be one; return whether there is any."""
        if self._threads < MOST:
            try:
                threading.Thread(target=self._work, name="cycles-authority-worker", daemon=True).start()
            except RuntimeError:  # no thread can be started now
                return self._threads > 0
            self._threads += 1
        return True

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # or it would keep the request until the next one comes

    def close(self) -> None:
        """Let the threads end, each after its work."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0
