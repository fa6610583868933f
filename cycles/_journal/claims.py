"""Which records are being settled in this process, and by whom. Nothing here touches the disk."""

from __future__ import annotations

import threading
from typing import Final

from cycles._core.records import Claim

_MANY: Final = 1024
"""With more claims than this, those that were given up are dropped."""


class Claims:
    """The claims on one partition's records: at most one active claim a record.

    Attributes:
        failures: Records that a recovery took and that are still there; they come last in the next round.
    """

    def __init__(self) -> None:
        self.forked()

    def forked(self) -> None:
        """Begin anew in a forked child: the parent settles what it has claimed."""
        self._lock = threading.RLock()
        self._claims: dict[str, Claim] = {}
        self.failures: set[str] = set()

    def put(self, name: str, claim: Claim) -> None:
        """Note that *claim* settles the record *name* from now on."""
        with self._lock:
            self._claims[name] = claim
            if len(self._claims) > _MANY:
                self._claims = {name: claim for name, claim in self._claims.items() if claim.active}

    def take(self, name: str) -> Claim | None:
        """Claim the record *name*; None when it is claimed already."""
        with self._lock:
            claim = self._claims.get(name)
            if claim is not None and claim.active:
                return None
            claim = self._claims[name] = Claim()
            return claim

    def active(self) -> int:
        """Return how many records are being settled in this process now."""
        with self._lock:
            return sum(claim.active for claim in self._claims.values())
