"""The clock of a ledger in PostgreSQL: the database's, for it is the one thing that all of its servers share."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW: Final = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
"""Milliseconds since the epoch, in SQL; asked after the locks, so that time never runs backwards between transactions
that touch the same budget."""


class DatabaseClock:
    """Milliseconds since the epoch by the database.

    Inside a transaction it stands still at what the transaction read. Outside it is what was read last, and what has
    passed since by this machine's steady clock; whoever looks at the time there decides nothing about money.
    """

    def __init__(self) -> None:
        self._here: Final = threading.local()
        self._ahead = time.time() - time.monotonic()  # until the database was asked

    def __call__(self) -> int:
        """Return the time."""
        now_ms: int | None = getattr(self._here, "now_ms", None)
        return int((time.monotonic() + self._ahead) * 1000) if now_ms is None else now_ms

    def read(self, now_ms: int) -> None:
        """Take what the database says now."""
        self._ahead = now_ms / 1000 - time.monotonic()
        if self.is_in_transaction:
            self._here.now_ms = now_ms

    @property
    def is_in_transaction(self) -> bool:
        """Whether this thread is in the middle of a transaction."""
        return getattr(self._here, "busy", False)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Stand still, once the time was read, until the block ends."""
        self._here.busy = True
        try:
            yield
        finally:
            self._here.busy, self._here.now_ms = False, None

    def __repr__(self) -> str:
        return "<DatabaseClock>"
