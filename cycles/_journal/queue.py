"""The records that a process may settle, one after the other."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from cycles._journal.locks import Lock

if TYPE_CHECKING:
    from cycles._core.records import Claim, Pending
    from cycles._journal.journal import Journal


class JournalQueue:
    """Records to settle, one after the other, each claimed in this process; see `Journal.queue`.

    The records of processes that died are only given out to the one process that holds the recovery lock.

    Attributes:
        is_contended: Others are settling some of it: another process holds that lock, or a claim was in the way.
    """

    def __init__(self, journal: Journal, *, everyone: bool) -> None:
        self._journal: Final = journal
        self._everyone: Final = everyone
        self._names: Final = deque(sorted(journal.names(), key=lambda name: (name in journal.failures, name)))
        self._lock: Lock | None = None
        self._has_asked = self._leads_without = False
        self.is_contended = False

    def take(self) -> tuple[Pending, Claim] | None:
        """Return the next record, claimed; None when there is none."""
        while self._names:
            name = self._names.popleft()
            claim = self._journal.claim(name)
            if claim is None:
                self.is_contended = True
                continue
            found = self._journal.read(name)
            if found is not None and self._is_ours(*found):
                self._journal.failures.add(name)  # until it is gone: what fails again comes last
                return found[0], claim
            claim.active = False
        return None

    def _is_ours(self, pending: Pending, owner: str | None) -> bool:
        if self._journal.is_own(owner) or (self._everyone and not pending.provisional):
            return not pending.provisional
        return not self._journal.is_alive(owner) and self._leads()

    def _leads(self) -> bool:
        if self._lock is None and not self._has_asked:
            self._has_asked = True
            try:
                self._lock = Lock.taken(self._journal.directory / "recovery.lock")
            except OSError:
                self._leads_without = True  # two may do the work then; the keys keep it right
            else:
                self.is_contended = self.is_contended or self._lock is None
        return self._lock is not None or self._leads_without

    def __len__(self) -> int:
        return len(self._names)

    def close(self) -> None:
        """Let others settle the records of dead processes."""
        self._journal.failures &= set(self._journal.names())
        if self._lock is not None:
            self._journal.sweep()
            self._lock.leave()
            self._lock = None
