"""The writer thread: it writes records for callers that can't wait for the disk.

What comes at the same time is flushed together. Nothing here knows what a record holds, or who settles it.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, NamedTuple

from cycles._core.record_format import name_of
from cycles._drivers import threads
from cycles._journal.files import discarded, flush_directory
from cycles._outside.arrivals import arrived
from cycles._outside.forks import in_forked_child

if TYPE_CHECKING:
    from cycles._core.records import Pending
    from cycles._journal.records import Records


class _Write(NamedTuple):
    """One record to write, and the future of its caller."""

    records: Records
    pending: Pending
    done: Future[None]


class Writer:
    """One daemon thread, and what waits for it."""

    def __init__(self) -> None:
        self._wake: Final = threading.Condition()
        self._writes: list[_Write] = []
        self._later: dict[tuple[Records, str], float] = {}
        self._pid: Final = os.getpid()
        threading.Thread(target=self._run, name="cycles-journal", daemon=True).start()

    def write(self, records: Records, pending: Pending) -> Future[None]:
        """Write *pending* to *records* soon; the future is done when it is on disk, or can't be written."""
        done: Future[None] = Future()
        with self._wake:
            self._writes.append(_Write(records, pending, done))
            self._wake.notify()
        return done

    def later(self, due: float, records: Records, name: str) -> None:
        """Let *records* catch up on *name* at monotonic *due*."""
        with self._wake:
            self._later[records, name] = due
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._writes and not self._due():
                    earliest = min(self._later.values(), default=None)
                    self._wake.wait(None if earliest is None else max(0.0, earliest - time.monotonic()))
                    if os.getpid() != self._pid:
                        return  # a greenlet that goes on in a fork: what it has is the parent's to write
                writes, self._writes = self._writes, []
                due = self._due()
                for key in due:
                    del self._later[key]
            _write_together(writes)
            for records, name in due:
                try:
                    records.catch_up(name)
                except Exception as error:  # noqa: BLE001 - this thread must live: others wait for what it writes
                    records.partition.failed(error)

    def _due(self) -> list[tuple[Records, str]]:
        now = time.monotonic()
        return [key for key, due in self._later.items() if due <= now]


def _write_together(writes: list[_Write]) -> None:
    """Draft all, flush all, name all, then flush each directory once: the disk's own grouping does the rest."""
    published = [write for write, temporary, descriptor in _drafted(writes) if _published(write, temporary, descriptor)]
    flushed: dict[Records, Exception | None] = {}
    for records, _, done in published:
        if records not in flushed:
            flushed[records] = _flushed(records)
        failure = flushed[records]
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)


def _drafted(writes: list[_Write]) -> list[tuple[_Write, str, int]]:
    """Return each write that got a draft, with that and its open file."""
    drafts = []
    for write in writes:
        try:
            drafts.append((write, *write.records.draft(write.pending)))
        except Exception as error:  # noqa: BLE001 - its caller has to know
            write.done.set_exception(error)
    return drafts


def _published(write: _Write, temporary: str, descriptor: int) -> bool:
    """Flush a draft and give it its name; return whether that worked."""
    try:
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        write.records.publish(name_of(write.pending), temporary)
    except Exception as error:  # noqa: BLE001 - its caller has to know
        discarded(temporary)
        write.done.set_exception(error)
        return False
    return True


def _flushed(records: Records) -> OSError | None:
    """Flush the directory of *records*; return what went wrong."""
    try:
        flush_directory(records.partition.path)
    except OSError as error:
        return error
    return None


_guard = threads.Lock("RLock")
_the_writer: Writer | None = None


def the_writer() -> Writer | None:
    """Return this process's writer; its thread starts when it is first asked for.

    Returns:
        None when no thread can be started now: what is to be written is written where it comes up.
    """
    global _the_writer  # noqa: PLW0603 - one a process
    with _guard.native:
        if _the_writer is None:
            try:
                _the_writer = Writer()
            except RuntimeError as error:  # too many, or the interpreter is ending
                if arrived(error) is not None:
                    raise
                return None
        return _the_writer


def written(records: Records, pending: Pending) -> Future[None]:
    """Write *pending* to *records* here and now; the future is done."""
    write = _Write(records, pending, Future())
    _write_together([write])
    return write.done


@in_forked_child
def _forget_writer() -> None:
    global _guard, _the_writer
    _guard, _the_writer = threads.Lock("RLock"), None
