"""The records that this process may settle: its own, and those of processes that died. Nothing is settled here."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from cycles._journal.locks import Lock

if TYPE_CHECKING:
    from cycles._core.records import Claim, Pending
    from cycles._journal.claims import Claims
    from cycles._journal.owners import Owners
    from cycles._journal.records import Records


class JournalQueue:
    """Records to settle, one after the other, each claimed in this process.

    Only the one process that holds the recovery lock gets the records of dead processes.

    Args:
        records: Of the partition.
        owners: Which processes live.
        claims: What is settled in this process already.
        everyone: Also the records of processes that live.

    Attributes:
        is_contended: Others are settling some of it: another process holds that lock, or a record was claimed.
    """

    def __init__(self, records: Records, owners: Owners, claims: Claims, *, everyone: bool) -> None:
        self._records: Final = records
        self._owners: Final = owners
        self._claims: Final = claims
        self._everyone: Final = everyone
        self._names: Final = deque(sorted(records.partition.names(), key=lambda name: (name in claims.failures, name)))
        self._taken: str | None = None
        self._lock: Lock | None = None
        self._has_asked = self._leads_without = False
        self.is_contended = False

    def take(self) -> tuple[Pending, Claim] | None:
        """Return the next record, claimed; None when there is none."""
        while self._names:
            name = self._names.popleft()
            claim = self._claims.take(name)
            if claim is None:
                self.is_contended = True
                continue
            self._let_go()
            found = self._records.take(name)
            self._taken = name
            if found is not None and self._is_ours(*found):
                self._claims.failures.add(name)  # until it is gone: what fails again comes last
                return found[0], claim
            claim.active = False
        self._let_go()
        return None

    def _let_go(self) -> None:
        if self._taken is not None:
            self._records.let_go(self._taken)
            self._taken = None

    def _is_ours(self, pending: Pending, owner: str | None) -> bool:
        if self._owners.is_own(owner) or (self._everyone and not pending.provisional):
            return not pending.provisional
        return not self._owners.is_alive(owner) and self._leads()

    def _leads(self) -> bool:
        if self._lock is None and not self._has_asked:
            self._has_asked = True
            try:
                self._lock = Lock.taken(self._records.partition.directory / "recovery.lock")
            except OSError:
                self._leads_without = True  # two may do the work then; the keys keep it right
            else:
                self.is_contended = self.is_contended or self._lock is None
        return self._lock is not None or self._leads_without

    def __len__(self) -> int:
        return len(self._names)

    def close(self) -> None:
        """Let others settle the records of dead processes."""
        self._let_go()
        self._claims.failures &= set(self._records.partition.names())
        if self._lock is not None:
            self._owners.sweep()
            self._lock.leave()
            self._lock = None
