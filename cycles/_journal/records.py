"""Records on disk: one JSON file for each spend, written whole, read, replaced and removed.

A file is written under another name in the same directory, flushed, renamed, and the directory flushed. No thread
starts here, and nothing here knows who settles what: see `writer` and `claims`.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cycles._core.record_format import UnusableRecord, dump, load, name_of
from cycles._journal import quarantine, rejected
from cycles._journal.files import created, discarded, flush_directory, flush_file, write_all
from cycles._journal.partitions import TEMPORARY
from cycles._journal.trust import Foreign, read_own

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles._core.records import Pending
    from cycles._journal.owners import Owners
    from cycles._journal.partitions import Partition

REPORT_PERIOD: Final = 0.1
"""Seconds between two writes of what one running section reports."""

_drafts: Final = itertools.count()
"""Numbers drafts, also those of two journals of one directory: one that flushes, and one that does not."""


class Records:
    """The records of one partition.

    Args:
        partition: Where they are.
        owners: Names this process in what it writes.
        fsync: Whether a record survives the machine's crash too, and not only the process's.

    Attributes:
        partition: Where they are.
        fsync: As given.
    """

    def __init__(self, partition: Partition, owners: Owners, *, fsync: bool) -> None:
        self.partition: Final = partition
        self.fsync: Final = fsync
        self._owners: Final = owners
        self.forked()

    def forked(self) -> None:
        """Begin anew in a forked child: the parent writes what its sections reported."""
        self._lock = threading.RLock()
        self._late: dict[str, Pending] = {}
        self._reported_at: dict[str, float] = {}
        self._taken: dict[str, tuple[str, int]] = {}

    # -- records that this process settles for another -----------------------------------------------------------------
    def take(self, name: str) -> tuple[Pending, str | None] | None:
        """Read a record to settle it, until `let_go`. Until then only what was read is replaced and removed.

        The other process may live, and go on: what it writes must not be lost (its lock may have been swept).
        """
        found = self.read(name)
        if found is not None:
            self._taken[name] = _intent(found[0])
        return found

    def let_go(self, name: str) -> None:
        """Settle the record *name* no longer."""
        self._taken.pop(name, None)

    def _is_ours(self, name: str) -> bool:
        """Return whether what stands under *name* is this process's to replace and to remove."""
        taken = self._taken.get(name)
        if taken is None:
            return True
        found = self.read(name)
        return found is not None and _intent(found[0]) == taken

    # -- drafts --------------------------------------------------------------------------------------------------------
    def draft(self, pending: Pending) -> tuple[str, int]:
        """Write *pending* under a temporary name.

        Returns:
            That name, and the open file.

        Raises:
            OSError: when it can't be written.
        """
        owner = self._owners.own()
        content = dump(pending, owner, _now())
        temporary = self.partition.file(f"{TEMPORARY}{owner or os.getpid()}-{next(_drafts)}")
        try:
            descriptor = created(temporary)
        except FileNotFoundError:  # the first record, or somebody removed the directory
            self.partition.make()
            descriptor = created(temporary)
        try:
            write_all(descriptor, content)
        except BaseException:
            os.close(descriptor)
            discarded(temporary)
            raise
        return temporary, descriptor

    def publish(self, name: str, temporary: str) -> None:
        """Give a draft its *name*; it overtakes a report that waits to be written.

        Raises:
            OSError: when it can't be renamed.
        """
        with self._lock:
            if self._late or self._reported_at:
                self._overtake(name)
            self._named(name, temporary)

    def _named(self, name: str, temporary: str) -> None:
        try:
            os.replace(temporary, self.partition.file(name))
        except BaseException:
            discarded(temporary)
            raise

    def _drafted(self, pending: Pending, *, fsync: bool) -> str:
        temporary, descriptor = self.draft(pending)
        try:
            if fsync:
                os.fsync(descriptor)
        except BaseException:
            discarded(temporary)
            raise
        finally:
            os.close(descriptor)
        return temporary

    # -- whole records -------------------------------------------------------------------------------------------------
    def write(self, pending: Pending) -> None:
        """Keep *pending*, in place of what was kept of it before.

        Raises:
            OSError: when it can't be kept.
        """
        name = name_of(pending)
        if self._taken and not self._is_ours(name):
            return
        self.publish(name, self._drafted(pending, fsync=self.fsync))
        if self.fsync:
            flush_directory(self.partition.path)

    def forget(self, pending: Pending, refusal: Mapping[str, Any] | None = None) -> None:
        """Remove the record of *pending*; with a *refusal*, keep it with that answer among the rejected ones.

        Raises:
            OSError: when it can't be removed or kept.
        """
        name = name_of(pending)
        with self._lock:
            if self._late or self._reported_at:
                self._overtake(name)
            if refusal is not None:
                rejected.keep(self.partition, pending, refusal, _now(), fsync=self.fsync)
            try:  # costs less than a context manager
                if not self._taken or self._is_ours(name):
                    os.unlink(self.partition.file(name))
            except FileNotFoundError:
                pass  # another process settled it too, or it could not be kept

    def read(self, name: str) -> tuple[Pending, str | None] | None:
        """Return a record and its owner; None when it is gone. A file that is no record goes to quarantine."""
        try:
            content = read_own(self.partition.file(name))
        except FileNotFoundError:
            return None
        except Foreign as foreign:
            quarantine.set_aside(self.partition, name, str(foreign))
            return None
        except OSError as error:
            self.partition.tell("journal unreadable", {"file": self.partition.file(name), "reason": str(error)})
            return None
        try:
            return load(content, name)
        except UnusableRecord as error:
            quarantine.set_aside(self.partition, name, str(error))
            return None

    # -- reports of running sections -----------------------------------------------------------------------------------
    def report(self, pending: Pending) -> float | None:
        """Keep what a running section reports, at most once in `REPORT_PERIOD`; the last report wins.

        Returns:
            Monotonic seconds at which to `catch_up`, or None when there is no need, or an earlier caller has it.

        Raises:
            OSError: when it can't be kept.
        """
        if self._owners.own() is None:
            return None  # others could not see that this process lives, and would settle its running section
        name, now = name_of(pending), time.monotonic()
        with self._lock:
            due = self._reported_at.get(name, -REPORT_PERIOD) + REPORT_PERIOD
            if due > now:
                is_waiting = name in self._late
                self._late[name] = pending
                return None if is_waiting else due
            self._late.pop(name, None)  # the writer is late itself: what waits for it is older
            self._named(name, self._drafted(pending, fsync=False))
            self._reported_at[name] = now
        return now if self.fsync else None

    def catch_up(self, name: str) -> None:
        """Write the last report of *name*, if one waits, and flush it.

        Raises:
            OSError: when it can't be kept.
        """
        with self._lock:
            late = self._late.pop(name, None)
            if late is not None:
                self._reported_at[name] = time.monotonic()
                self._named(name, self._drafted(late, fsync=False))
        if self.fsync:
            try:
                flush_file(self.partition.file(name))
            except FileNotFoundError:
                return  # settled meanwhile
            flush_directory(self.partition.path)

    def touch(self) -> None:
        """Keep what running sections reported from looking old: directories of temporary files are swept by age."""
        for name in tuple(self._reported_at):
            with suppress(OSError):
                os.utime(self.partition.file(name))

    def _overtake(self, name: str) -> None:
        self._late.pop(name, None)
        self._reported_at.pop(name, None)


def _intent(pending: Pending) -> tuple[str, int]:
    return pending.key, pending.actual.amount


def _now() -> str:
    seconds, ms = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_second(seconds)}.{ms:03}+00:00"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
