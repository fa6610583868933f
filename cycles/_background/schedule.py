"""The heartbeats of a client's open guards, and its recovery, on at most one thread however many guards are open.

One heap holds all jobs by the time they are due. A section that ended stays in it until it is due or swept, so that
ending costs nothing; a new one wakes the thread only when it becomes the earliest. A sync client has a private event
loop on a daemon thread, started by its first guard; an asynchronous one uses the loop that its guards run in.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from cycles._background.agenda import MOST_AT_ONCE, Agenda
from cycles._background.greenlets import GreenBeats
from cycles._drivers import aio, blocking, threads
from cycles._outside.arrivals import arrived
from cycles._outside.forks import renewed_in_forks
from cycles._telemetry import log

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine
    from concurrent.futures import Future

    from cycles._background.agenda import Job
    from cycles._drivers.world import World

_PATIENCE: Final = 1.0
"""Seconds that closing waits for what is in flight, and for the thread to end: it is best effort."""


class _Beats:
    """The renewals of one client in one asyncio event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, blocks: bool, renewals: int = MOST_AT_ONCE) -> None:
        self.loop: Final = loop
        self.thread: threading.Thread | None = None  # of its own, where it has one
        self.agenda: Final = Agenda(renewals)
        self._blocks: Final = blocks
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._stopped = False

    def wake_soon(self) -> None:
        """Let the loop's thread wake, from any other."""
        self.loop.call_soon_threadsafe(self.wake)

    def wake(self) -> None:
        """Start all jobs that are due, and set a timer for the next; on the loop's thread only."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stopped:
            return
        while (entry := self.agenda.begin()) is not None:
            task = self.loop.create_task(self._renew(*entry))
            self._tasks.add(task)
            task.add_done_callback(partial(self._done, entry[0]))
        if (wait := self.agenda.wait()) is not None:
            self._timer = self.loop.call_later(wait, self.wake)

    def stop(self) -> None:
        """Cancel the timer and what is in flight; on the loop's thread only."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    async def end(self, last: Coroutine[Any, Any, None]) -> None:
        """Stop, wait for what is in flight, then run *last*, which closes the connections: nobody may use them then."""
        import asyncio  # noqa: PLC0415 - see ThreadHeartbeats._start

        self.stop()
        try:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            await last  # closing waits no longer than `_PATIENCE` for what is in flight

    async def _renew(self, job: Job, world: World) -> None:
        # An injected sync http client, and an authority in this process, can only be called in a blocking way: on a
        # private loop that delays nobody.
        delay = blocking.run(job.attempt(), world) if self._blocks else await aio.run(job.attempt(), world)
        if delay is not None:
            self.agenda.add(time.monotonic() + delay, job, world)

    def _done(self, job: Job, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.agenda.ended(job)
        if task.cancelled():  # its loop is ending: what else is due must not begin
            self.stop()
            return
        if (error := task.exception()) is not None:
            self.loop.call_exception_handler({"message": "a heartbeat of cycles failed", "exception": error})
        self.wake()


class ThreadHeartbeats:
    """The heartbeats of a sync client, on a thread of their own that its first guard starts.

    Args:
        blocks: Whether requests can only be sent in a blocking way.
    """

    def __init__(self, *, blocks: bool) -> None:
        self.blocks: Final = blocks
        self._lock = threads.Lock("RLock")  # see Agenda
        self._beats: _Beats | GreenBeats | None = None
        self._unattended: list[tuple[Job, World]] = []
        renewed_in_forks(self)

    def keep(self, job: Job, world: World) -> None:
        """Attempt *job* whenever it is due, until it is done.

        When no thread or no loop can be made now, the job waits for the next one that is kept: the section goes on, and
        its lease may end before it does.
        """
        with self._lock.native:
            jobs = [*self._unattended, (job, world)]
            if self._beats is None:
                try:
                    self._beats = self._start()
                except (OSError, RuntimeError, ImportError) as error:  # no descriptor, no thread, or the program ends
                    if arrived(error) is not None:
                        raise
                    self._unattended = [(waiting, where) for waiting, where in jobs if waiting.is_needed]
                    facts = {"waiting": len(self._unattended), "reason": str(error)}
                    log.notify("no background, leases are not renewed and nothing is tried again", facts)
                    return
            self._unattended, beats = [], self._beats
            is_missed = False
            for waiting, where in jobs:
                is_missed = beats.agenda.add(waiting.due, waiting, where) or is_missed
            if is_missed:
                beats.wake_soon()

    def _start(self) -> _Beats | GreenBeats:
        if threads.are_greenlets():  # an event loop in one of them would run in all of them
            green = GreenBeats()
            weakref.finalize(self, green.stop).atexit = False
            return green
        import asyncio  # noqa: PLC0415 - a client that guards nothing needs no loop

        loop = asyncio.new_event_loop()
        try:
            thread = threading.Thread(target=_serve, args=(loop,), name="cycles-heartbeats", daemon=True)
            thread.start()
        except BaseException:
            if not loop.is_running():
                loop.close()
            raise
        # The thread knows only the loop: a client that is dropped unclosed takes its thread with it.
        beats = _Beats(loop, blocks=self.blocks)
        beats.thread = thread
        weakref.finalize(self, _stop, beats, os.getpid()).atexit = False
        return beats

    def forked(self) -> None:
        """Begin anew in a forked child: the thread and the sections whose leases it renews stayed in the parent."""
        self._lock = threads.Lock("RLock")
        if isinstance(self._beats, GreenBeats):
            self._beats.stop()  # greenlets go on in a fork, threads do not
        self._beats = None
        self._unattended = []

    def close(self, last: Coroutine[Any, Any, None] | None = None) -> None:
        """Stop, after *last* has run on the loop; leases still held end at their expiry."""
        with self._lock.native:
            beats, self._beats, self._unattended = self._beats, None, []
        if beats is None:
            if last is not None:
                last.close()
            return
        if isinstance(beats, GreenBeats):
            if last is not None:
                last.close()
            beats.stop()
            return
        try:
            if last is not None:
                import asyncio  # noqa: PLC0415 - see _start

                _ended(asyncio.run_coroutine_threadsafe(beats.end(last), beats.loop))
        finally:
            _stop(beats, os.getpid())
        if beats.thread is not None and beats.thread is not threading.current_thread():
            beats.thread.join(_PATIENCE)


def _ended(ending: Future[None]) -> None:
    """Wait for *ending*, but not long, and whatever comes of it: closing is best effort."""
    try:
        ending.result(timeout=_PATIENCE)
    except Exception as error:
        ending.cancel()
        if arrived(error) is not None:
            raise


class LoopHeartbeats:
    """The heartbeats of an asynchronous client, in the event loop that each guard runs in.

    Args:
        renewals: How many leases are renewed at a time: as many as requests are in flight, so that renewals take all
            lanes when they are behind.
    """

    def __init__(self, renewals: int) -> None:
        self._renewals: Final = renewals
        self._beats: _Beats | None = None

    def keep(self, job: Job, world: World) -> None:
        """Attempt *job* whenever it is due, until it is done or the running loop ends."""
        import asyncio  # noqa: PLC0415 - loaded by whoever runs a loop

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            import trio  # noqa: PLC0415 - no asyncio loop runs here, so this is running

            trio.lowlevel.spawn_system_task(_keep_in_trio, job, world, name="cycles heartbeat")
            return
        if self._beats is None or self._beats.loop is not loop:  # one asyncio.run after another
            self._beats = _Beats(loop, blocks=False, renewals=self._renewals)
        if self._beats.agenda.add(job.due, job, world):
            self._beats.wake()

    def close(self) -> None:
        """Stop those of the running loop; leases still held end at their expiry."""
        import asyncio  # noqa: PLC0415 - see keep

        beats, self._beats = self._beats, None
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # trio
            return
        if beats is not None and beats.loop is loop:  # those of a loop that ended have ended with it
            beats.stop()


def in_trio() -> bool:
    """Return whether the caller runs in trio; no asyncio loop runs here."""
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        return False
    return True


async def _keep_in_trio(job: Job, world: World) -> None:
    import trio  # noqa: PLC0415 - runs only inside it

    delay: float | None = max(0.0, job.due - time.monotonic())
    while delay is not None:
        await trio.sleep(delay)
        delay = await aio.run(job.attempt(), world)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())  # which closes the connections of a client that was dropped
    finally:
        loop.close()


def _stop(beats: _Beats, pid: int) -> None:
    if pid == os.getpid() and not beats.loop.is_closed():
        beats.loop.call_soon_threadsafe(_halt, beats)


def _halt(beats: _Beats) -> None:
    import asyncio  # noqa: PLC0415 - see ThreadHeartbeats._start

    beats.stop()
    loop = beats.loop
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    gathered = asyncio.gather(*tasks, return_exceptions=True) if tasks else None
    if gathered is None:
        loop.stop()
    else:
        gathered.add_done_callback(lambda _: loop.stop())
