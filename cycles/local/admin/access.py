"""An operator's way to a ledger in Python: one transaction for each call, and errors of this package's kinds."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cycles.errors import ConfigError, InvalidRequest
from cycles.local.ledger import leases
from cycles.local.ledger.values import Refusal, Unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cycles.local.store.protocols import Store, StoredBooks


class Access:
    """The store, the clock and the transactions that all of an operator's calls share.

    Args:
        store: Keeps the ledger.
        clock: Gives milliseconds since the epoch.
    """

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self.store: Final = store
        self.clock: Final = clock

    @contextmanager
    def _changing(self) -> Iterator[StoredBooks]:
        """Give the books in one transaction, which expires overdue holds first."""
        with self._translated(), self.store.writing() as books:
            leases.sweep(books, self.clock())
            yield books

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise what the ledger and its store refuse as ConfigError or InvalidRequest."""
        try:
            yield
        except Unusable as refusal:
            raise ConfigError(refusal.message) from None
        except Refusal as refusal:
            raise InvalidRequest(refusal.message) from None
        except self.store.failure as error:
            raise ConfigError(f"{self.store.place}: the ledger can't be used: {error}") from None
