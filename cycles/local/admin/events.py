"""What was charged without a reservation: which events an operator asks for, and their pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cycles.errors import InvalidRequest
from cycles.local.ledger import times
from cycles.local.ledger.values import LEVELS
from cycles.local.store.protocols import EventQuery, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from cycles.local.ledger.values import ChargedEvent
    from cycles.local.store.protocols import Store

AT_ONCE: Final = 50
"""Events that are read in one transaction; each may have a megabyte of metadata."""


def query_of(
    tenant: str | None, key: str | None, levels: Mapping[str, str], created: tuple[datetime | None, datetime | None]
) -> EventQuery:
    """Return which events are meant; see `Provisioning.charged_events`."""
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


def charged(
    store: Store, translated: Callable[[], AbstractContextManager[None]], query: EventQuery
) -> Iterator[ChargedEvent]:
    """Give the events page after page, each as of its own moment; *translated* makes errors of the operator's kinds."""
    after = None
    while True:
        with translated(), store.reading() as books:
            page = list(books.find_events(query, after, AT_ONCE))
        yield from page
        if len(page) < AT_ONCE:
            return
        after = (page[-1].created_at_ms, page[-1].event_id)
