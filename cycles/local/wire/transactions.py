"""The transactions of requests: each is as of one moment, and expires overdue holds first."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from cycles.local.ledger import leases
from cycles.local.ledger.notices import Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cycles.local.ledger.touched import Touched
    from cycles.local.store.protocols import Store, StoredBooks

T = TypeVar("T")

PURGE_EVERY: Final = 256
"""Writing transactions between two purges. A purge deletes up to 200 rows of a kind: about as many as were written."""


class Asking(Protocol):
    """The request behind a transaction; without a tenant it is the administrator's."""

    @property
    def tenant(self) -> str | None: ...
    @property
    def request_id(self) -> str: ...
    @property
    def trace_id(self) -> str: ...


class Transactions:
    """Transactions on a store, by one clock.

    Args:
        store: The ledger's rows.
        clock: Gives milliseconds since the epoch.
    """

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self.store: Final = store
        self.clock: Final = clock
        self._writes = 0

    def write(
        self,
        asked: Asking,
        operation: Callable[[StoredBooks, int], T],
        touches: Callable[[], Touched] | None = None,
    ) -> T:
        """Run *operation* on the books and the present time, in one transaction; *touches*: see `Store.transact`."""

        def run(books: StoredBooks) -> T:
            if books.notices is not None:
                actor = "admin" if asked.tenant is None else "api_key"
                books.origin = Origin(actor, asked.request_id, asked.trace_id)
            now_ms = self.clock()  # after the writer's lock, so that time never runs backwards between transactions
            leases.sweep(books, now_ms)
            self._writes += 1
            if self._writes % PURGE_EVERY == 0:
                books.purge(now_ms)
            return operation(books, now_ms)

        return self.store.transact(run, touches)

    @contextmanager
    def reading(self) -> Iterator[StoredBooks]:
        """Give the books as they are at one moment. Writes before that only if a hold is overdue."""
        with self.store.glancing() as books:
            overdue = books.overdue(self.clock(), 1)
        while overdue:
            overdue = [] if self.store.sweep(self.clock, waits=True) < leases.SWEPT_AT_ONCE else overdue
        with self.store.reading() as books:
            yield books
