"""Which processes live, as their locks say, and what dead ones left over. What a record holds is not known here."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cycles._journal import processes
from cycles._journal.files import discarded
from cycles._journal.locks import Owner, is_locked
from cycles._journal.partitions import TEMPORARY

if TYPE_CHECKING:
    from cycles._journal.partitions import Partition

_MANY: Final = 64
"""With more lock files than this, those of dead processes are removed."""

_OLD_DRAFT: Final = 60.0
"""Seconds after which an unfinished write of a dead process is removed."""


class Owners:
    """The processes that have records in one partition: this one, and others.

    Args:
        partition: Of which the records are.
    """

    def __init__(self, partition: Partition) -> None:
        self._partition: Final = partition
        self.forked()

    def forked(self) -> None:
        """Begin anew in a forked child: the lock stays the parent's."""
        self._lock = threading.RLock()
        self._own: Owner | None = None

    def own(self) -> str | None:
        """Return the name that says that this process lives, locked when first asked for.

        Returns:
            None when files can't be locked here.

        Raises:
            OSError: when the directory can't be made.
            JournalError: when it can't be trusted.
        """
        with self._lock:
            if self._own is None:
                self._partition.make()
                self._partition.owners.mkdir(mode=0o700, exist_ok=True)
                self._partition.must_be_ours()
                self._own = Owner.of(self._partition.owners)
                if len(os.listdir(self._partition.owners)) > _MANY:
                    self.sweep()
            else:
                self._own.look()
            return self._own.name

    def refresh(self) -> bool:
        """Keep this process's lock file from being swept as old; return whether that was due."""
        with self._lock:
            return self._own is not None and self._own.refresh()

    def leave(self) -> None:
        """Give up this process's lock at its end: any process may settle its records then."""
        with self._lock:
            own, self._own = self._own, None
            if own is not None:
                own.end()

    def is_own(self, owner: str | None) -> bool:
        """Whether *owner*, as a record names it, is this process."""
        return self._own is not None and owner == self._own.name and owner is not None

    def is_alive(self, owner: str | None) -> bool:
        """Whether the process *owner* still runs; one that could lock no file counts as dead."""
        if owner is None:
            return False
        if self._own is not None and owner == self._own.name:
            return True
        locked = is_locked(self._partition.owners / f"{Path(owner).name}.lock")
        if locked is not None:
            return locked
        # No file: the process has ended, or something swept the file away from under it.
        return processes.is_running(owner) and (not processes.is_own(owner) or Owner.is_known(owner))

    def sweep(self) -> None:
        """Remove what dead processes left over: unfinished writes, and lock files."""
        try:
            entries = list(os.scandir(self._partition.path))
            owners = list(os.scandir(self._partition.owners))
        except OSError:
            return
        for entry in entries:
            if entry.name.startswith(TEMPORARY):
                owner = entry.name[len(TEMPORARY) :].rpartition("-")[0]
                with suppress(OSError):
                    # On a file system without locks nobody seems to live: a draft is only minutes old while it matters.
                    if (
                        not self.is_alive(owner)
                        and time.time() - entry.stat(follow_symlinks=False).st_mtime > _OLD_DRAFT
                    ):
                        discarded(entry.path)
        for entry in owners:
            if not self.is_alive(entry.name.removesuffix(".lock")):
                discarded(entry.path)
