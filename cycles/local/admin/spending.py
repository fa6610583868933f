"""Reservations and events, as `LocalAuthority` shows them in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cycles.errors import InvalidRequest
from cycles.local.admin.access import Access
from cycles.local.ledger import times
from cycles.local.ledger.values import LEVELS
from cycles.local.store.protocols import EventQuery, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from cycles.local.ledger.values import ChargedEvent, Hold

AT_ONCE: Final = 50
"""Events that are read in one transaction; each may have a megabyte of metadata."""


class Spending(Access):
    """An operator's view of reservations, and of events."""

    def reservations(self) -> list[Hold]:
        """Return every reservation, oldest first.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                with authority.client(tenant="acme") as client:
                    client.reserve(usd("0.05"), action=("tool.search", "web")).release()
                assert [hold.status for hold in authority.reservations()] == ["RELEASED"]
            ```
        """
        with self._changing() as books:
            return books.all_holds()

    def charged_events(
        self,
        tenant: str | None = None,
        *,
        key: str | None = None,
        levels: Mapping[str, str] | None = None,
        created: tuple[datetime | None, datetime | None] = (None, None),
    ) -> Iterator[ChargedEvent]:
        """Return an iterator over what was charged without a reservation in the last 30 days, newest first.

        It reads a page at a time, so it may lack what is charged meanwhile.

        Args:
            tenant: Only this tenant's.
            key: Only the one with this idempotency key.
            levels: Only those whose subject has these levels: {"agent": "planner"}.
            created: Only those that were charged between these times, both included; None leaves an end open.

        Raises:
            InvalidRequest: for an unknown level, or a time without a zone.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                with authority.client(tenant="acme") as client:
                    client.record(usd("0.05"), action=("tool.search", "web"))
                (event,) = authority.charged_events("acme")
                assert (event.unit, event.charged) == ("USD_MICROCENTS", 5_000_000)
            ```
        """
        return self._pages(_query_of(tenant, key, levels or {}, created))

    def _pages(self, query: EventQuery) -> Iterator[ChargedEvent]:
        """Give the events page after page, each page as of its own moment."""
        after = None
        while True:
            with self._translated(), self.store.reading() as books:
                page = list(books.find_events(query, after, AT_ONCE))
            yield from page
            if len(page) < AT_ONCE:
                return
            after = (page[-1].created_at_ms, page[-1].event_id)


def _query_of(
    tenant: str | None, key: str | None, levels: Mapping[str, str], created: tuple[datetime | None, datetime | None]
) -> EventQuery:
    """Return which events `Spending.charged_events` is asked for."""
    unknown = [level for level in levels if level not in LEVELS]
    if unknown:
        raise InvalidRequest(f"levels: there is no level {unknown[0]!r}; there are {', '.join(LEVELS)}")
    low, high = (None if moment is None else _microseconds(moment) for moment in created)
    window = Window(None if low is None else -(-low // 1000), None if high is None else high // 1000)
    return EventQuery(tenant, key, tuple((level, value.lower()) for level, value in levels.items()), window)


def _microseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise InvalidRequest(f"created: {moment!r} has no zone; give one, such as tzinfo=datetime.UTC")
    return times.of(moment)
