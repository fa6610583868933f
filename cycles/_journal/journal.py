"""The settlement journal of one authority and principal, as drivers, recovery and the CLI use it.

Spend that happened and is not settled yet survives here (docs/protocol.md, Settlement and recovery). The parts are in
the other modules: `partitions`, `records`, `writer`, `owners`, `claims`, `queue`, `quarantine`, `rejected`, `entries`.
Nothing here asks an authority: see `recovery`.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

from cycles._core.record_format import name_of
from cycles._journal import quarantine
from cycles._journal.claims import Claims
from cycles._journal.entries import entries, remove
from cycles._journal.owners import Owners
from cycles._journal.partitions import QUARANTINE, Partition
from cycles._journal.queue import JournalQueue
from cycles._journal.records import Records
from cycles._journal.writer import the_writer, written
from cycles._outside.forks import in_forked_child, renewed_in_forks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    from cycles._core.records import Claim, Pending
    from cycles._journal.entries import Entry


class Journal:
    """The records of one authority and principal; safe to share between threads and processes.

    Get it with `registry.opened`: in one process there is one for each directory.

    Args:
        directory: Of the partition; made when first written to.
        fsync: Whether a record survives the machine's crash too, and not only the process's.
        about: What partition.json says, for people; no secrets.
        tell: Takes what happens: an event and its facts.

    Attributes:
        directory, fsync: As given.
        partition: The directory and what is in it.
        owners: The processes that have records in it.
        claims: What is being settled in this process.
        records: The files.
        was_visited: Whether a client of this process has begun to settle what it found here.
    """

    def __init__(
        self,
        directory: Path,
        *,
        fsync: bool = True,
        about: Mapping[str, Any] | None = None,
        tell: Callable[[str, dict[str, Any]], None] | None = None,
    ) -> None:
        self.directory: Final = directory
        self.fsync: Final = fsync
        self.partition: Final = Partition(directory, about, tell)
        self.owners: Final = Owners(self.partition)
        self.claims: Final = Claims()
        self.records: Final = Records(self.partition, self.owners, fsync=fsync)
        self.was_visited = False
        renewed_in_forks(self)
        weakref.finalize(self, self.owners.leave).atexit = False  # at exit, records come first

    def keep(self) -> None:
        """Keep this journal until it has no records, whatever becomes of its clients: the exit settles them."""
        global _sweep_at  # noqa: PLW0603 - one a process
        if self in _with_records:
            return
        with _guard:
            _with_records.add(self)
            if len(_with_records) >= _sweep_at:
                idle = [each for each in list(_with_records) if each is not self and not (each.busy() or each.names())]
                _with_records.difference_update(idle)
                _sweep_at = max(_LEAST_SWEEP, 2 * len(_with_records))

    def forked(self) -> None:
        """Begin anew in a forked child: records and their lock stay the parent's."""
        self.owners.forked()
        self.claims.forked()
        self.records.forked()

    def check(self) -> None:
        """Make the directory, for a client that must not run without a journal.

        Raises:
            JournalError: when it can't be made or written to.
        """
        self.partition.check()

    def must_be_ours(self) -> None:
        """Refuse a directory that others may write to.

        Raises:
            JournalError: naming the path and its owner.
        """
        self.partition.must_be_ours()

    def refresh(self) -> None:
        """Keep the sign that this process lives, and what its sections reported, from being swept as old."""
        if self.owners.refresh():
            self.records.touch()

    def leave(self) -> None:
        """Give up the sign that this process lives, at its end: any process may settle its records then."""
        self.owners.leave()

    # -- writing -------------------------------------------------------------------------------------------------------
    def write(self, pending: Pending, claim: Claim | None = None) -> None:
        """Keep *pending*, in place of what was kept of it before; *claim* settles it.

        Raises:
            OSError: when it can't be kept.
        """
        if claim is not None:
            self.claims.put(name_of(pending), claim)
        self.keep()
        self.records.write(pending)

    def write_soon(self, pending: Pending, claim: Claim | None) -> Future[None]:
        """Keep *pending* on the writer's thread, together with others that come at the same time; without one, here."""
        if claim is not None:
            self.claims.put(name_of(pending), claim)
        self.keep()
        writer = the_writer()
        return written(self.records, pending) if writer is None else writer.write(self.records, pending)

    def report(self, pending: Pending) -> None:
        """Keep what a running section reports, at most once in `REPORT_PERIOD`; the last report wins.

        It survives the process at once, and the machine as soon as the writer has flushed it.

        Raises:
            OSError: when it can't be kept.
        """
        due = self.records.report(pending)
        self.keep()
        if due is not None:
            name, writer = name_of(pending), the_writer()
            if writer is None:
                self.records.catch_up(name)
            else:
                writer.later(due, self.records, name)

    def forget(self, pending: Pending, refusal: Mapping[str, Any] | None = None) -> None:
        """Drop what was kept of *pending*; with a *refusal*, keep it under rejected/ with that answer.

        Raises:
            OSError: when it can't be dropped or kept.
        """
        self.records.forget(pending, refusal)

    def failed(self, error: Exception) -> None:
        """Tell the program that a record can't be kept."""
        self.partition.failed(error)

    # -- settling ------------------------------------------------------------------------------------------------------
    def names(self) -> list[str]:
        """Return the names of all records, whatever they hold."""
        return self.partition.names()

    def read(self, name: str) -> tuple[Pending, str | None] | None:
        """Return a record and its owner; None when it is gone. A file that is no record goes to quarantine."""
        return self.records.read(name)

    def queue(self, *, everyone: bool = False) -> JournalQueue:
        """Return the records that this process may settle: its own, and those of processes that died.

        Args:
            everyone: Also those of processes that live; the keys make that safe, and needless.
        """
        return JournalQueue(self.records, self.owners, self.claims, everyone=everyone)

    def busy(self) -> int:
        """Return how many records are being settled in this process now."""
        return self.claims.active()

    def waiting(self) -> int:
        """Return how many records are left to this process: its own, and those of processes that died."""
        count = 0
        for name in self.names():
            found = self.read(name)
            if found is not None:
                pending, owner = found
                is_own = self.owners.is_own(owner)
                count += not pending.provisional if is_own else not self.owners.is_alive(owner)
        return count

    def sweep(self) -> None:
        """Remove what dead processes left over: unfinished writes, and lock files."""
        self.owners.sweep()

    # -- for people ----------------------------------------------------------------------------------------------------
    def entries(self) -> Iterator[Entry]:
        """Return every file of the partition, pending ones first; nothing is moved."""
        return entries(self.partition)

    def restore(self, name: str) -> None:
        """Move a file out of quarantine: the next recovery reads it again.

        Raises:
            OSError: when it is not there, or can't be moved.
        """
        quarantine.restore(self.partition, name)

    def remove(self, name: str, where: str = QUARANTINE) -> None:
        """Delete a file from "quarantine" or "rejected" for good.

        Raises:
            OSError: when it is not there, or can't be deleted.
        """
        remove(self.partition, name, where)


_LEAST_SWEEP: Final = 64
"""Journals that have, or had, records, from which on those that have none are let go."""

_with_records: Final[set[Journal]] = set()
_sweep_at = _LEAST_SWEEP
_guard = threading.RLock()


@in_forked_child
def _renew_guard() -> None:
    global _guard  # noqa: PLW0603 - a lock that another thread of the parent held would never be let go
    _guard = threading.RLock()
