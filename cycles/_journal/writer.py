"""The thread that writes for everybody who can't wait in place."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Final

from cycles._journal.files import discarded, flush_directory

if TYPE_CHECKING:
    from concurrent.futures import Future

    from cycles._core.records import Pending
    from cycles._journal.journal import Journal


class _Writer:
    """A thread that writes for everybody who can't wait in place: what comes together is flushed together."""

    def __init__(self) -> None:
        self._wake: Final = threading.Condition()
        self._writes: list[tuple[Journal, Pending, Future[None]]] = []
        self._later: dict[tuple[Journal, str], float] = {}
        threading.Thread(target=self._run, name="cycles-journal", daemon=True).start()

    def write(self, journal: Journal, pending: Pending) -> Future[None]:
        """Write *pending* as soon as may be."""
        from concurrent.futures import Future  # noqa: PLC0415 - only asynchronous clients come here

        done: Future[None] = Future()
        with self._wake:
            self._writes.append((journal, pending, done))
            self._wake.notify()
        return done

    def later(self, due: float, journal: Journal, name: str) -> None:
        """Have *journal* catch up on *name* at monotonic *due*."""
        with self._wake:
            self._later[journal, name] = due
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._writes and not self._due():
                    earliest = min(self._later.values(), default=None)
                    self._wake.wait(None if earliest is None else max(0.0, earliest - time.monotonic()))
                writes, self._writes = self._writes, []
                due = self._due()
                for key in due:
                    del self._later[key]
            _write_together(writes)
            for journal, name in due:
                try:
                    journal.catch_up(name)
                except Exception as error:  # noqa: BLE001 - this thread must live: others wait for what it writes
                    journal.failed(error)

    def _due(self) -> list[tuple[Journal, str]]:
        now = time.monotonic()
        return [key for key, due in self._later.items() if due <= now]


def _write_together(writes: list[tuple[Journal, Pending, Future[None]]]) -> None:
    """Draft all, flush all, name all, then flush each directory once: the disk's own grouping does the rest."""
    drafts: list[tuple[Journal, Pending, Future[None], str]] = []
    open_files: list[int] = []
    for journal, pending, done in writes:
        try:
            temporary, descriptor = journal.draft(pending)
        except Exception as error:  # noqa: BLE001 - whose record it is has to know
            done.set_exception(error)
            continue
        open_files.append(descriptor)
        drafts.append((journal, pending, done, temporary))
    named: list[tuple[Journal, Future[None]]] = []
    for descriptor, (journal, pending, done, temporary) in zip(open_files, drafts, strict=True):
        try:
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            journal.publish(pending, temporary)
        except Exception as error:  # noqa: BLE001 - as above
            discarded(temporary)
            done.set_exception(error)
            continue
        named.append((journal, done))
    flushed: dict[Journal, Exception | None] = {}
    for journal, done in named:
        if journal not in flushed:
            try:
                flush_directory(str(journal.directory))
                flushed[journal] = None
            except OSError as error:
                flushed[journal] = error
        failure = flushed[journal]
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)


_guard = threading.RLock()
_the_writer: _Writer | None = None


def _writer() -> _Writer:
    global _the_writer  # noqa: PLW0603 - one a process
    with _guard:
        if _the_writer is None:
            _the_writer = _Writer()
        return _the_writer


def _in_child() -> None:
    global _guard, _the_writer
    _guard, _the_writer = threading.RLock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
