"""Expiry, checks and copies of a ledger, as `LocalAuthority` offers them in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cycles.errors import ConfigError, InvalidRequest
from cycles.local.admin.access import Access
from cycles.local.ledger.values import Refusal, Unusable

if TYPE_CHECKING:
    import os


class Upkeep(Access):
    """An operator's calls on the ledger as a whole."""

    def sweep(self) -> int:
        """Expire overdue holds now and return how many, at most 1000; every request does so first anyway.

        It also deletes what nobody can ask for any more: reservations 30 days after their deadline, events 30 days
        after they were charged, idempotency keys when they are free again (after a day; an event's after a week).

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority, ManualClock

            clock = ManualClock()
            with LocalAuthority(clock=clock) as authority:
                authority.budget("tenant:acme", usd("1.00"))
                with authority.client(tenant="acme") as client:
                    held = client.reserve(usd("0.05"), action=("tool.search", "web"), ttl=30)
                    clock.advance(60)
                    assert authority.sweep() == 1
            ```
        """
        return self.store.sweep(self.clock)

    def check(self) -> list[str]:
        """Read the whole ledger, and return what is wrong with it, for people; an empty list when all is well.

        Opening a file checks only its budgets, tenants and keys, and a small file as a whole.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                assert authority.check() == []
            ```
        """
        try:
            return self.store.problems()
        except self.store.failure as error:
            return [f"it can't be read: {error}"]
        except Unusable as refusal:
            return [refusal.message]
        except Refusal as refusal:
            raise InvalidRequest(refusal.message) from None

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Write a copy of the ledger, as of one moment, to a new file; requests go on meanwhile.

        Args:
            path: Where there is no file yet; the copy is a whole ledger in one file.

        Raises:
            ConfigError: when there is a file, or it can't be written.

        Example:
            ```python
            from pathlib import Path
            from tempfile import mkdtemp

            from cycles import usd
            from cycles.local import LocalAuthority

            folder = Path(mkdtemp())
            with LocalAuthority(folder / "ledger.db") as authority:
                authority.budget("tenant:acme", usd("1.00"))
                authority.backup(folder / "monday.db")
            ```
        """
        try:
            self.store.backup(path)
        except Unusable as refusal:
            raise ConfigError(refusal.message) from None
