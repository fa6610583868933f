"""How long each phase of a request may take, in words that every HTTP library takes."""

from __future__ import annotations

from typing import NamedTuple


class Phases(NamedTuple):
    """Seconds for each phase; None waits for ever. httpx and httpx2 take it as a tuple in this order."""

    connect: float | None
    read: float | None
    write: float | None
    pool: float | None


class PoolTimeout(Exception):
    """A request that waited for its turn until its time was over."""
