"""The agenda of a schedule: its jobs by the time they are due."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from cycles._core.effects import Flow
    from cycles._drivers.world import World

MOST_AT_ONCE: Final = 16
"""Renewals in flight of one client: with more, httpx's pool gets slower, and attempts wait within their timeouts."""

_LEAST_SWEEP: Final = 64
"""Entries from which on those of ended sections are swept out."""


class Job(Protocol):
    """Work that is repeated until it is done: a `Heart`, or a `Recoverer`."""

    @property
    def due(self) -> float:
        """Monotonic seconds at which it begins."""
        ...

    @property
    def is_needed(self) -> bool:
        """Whether there is anything left to do."""
        ...

    def attempt(self) -> Flow[float | None]:
        """Do it once; return the seconds until the next time, or None."""
        ...


class Agenda:
    """Jobs by the time they are due; safe to share between threads."""

    def __init__(self) -> None:
        self._lock: Final = threading.RLock()  # a collected reservation adds an entry, wherever its thread just is
        self._heap: list[tuple[float, int, Job, World]] = []
        self._order: Final = itertools.count()
        self._sweep_at = _LEAST_SWEEP

    def add(self, due: float, job: Job, world: World) -> bool:
        """Add an entry and return whether it is now the earliest."""
        entry = (due, next(self._order), job, world)
        with self._lock:
            heapq.heappush(self._heap, entry)
            if len(self._heap) >= self._sweep_at:
                size = len(self._heap)
                kept = [kept for kept in self._heap if kept[2].is_needed]
                if len(self._heap) == size:  # nothing came in between
                    heapq.heapify(kept)
                    self._heap = kept
                self._sweep_at = max(_LEAST_SWEEP, 2 * len(self._heap))
            return bool(self._heap) and self._heap[0] is entry

    def wait(self) -> float | None:
        """Return the seconds until the earliest entry is due, 0 if it is; None when there is none."""
        with self._lock:
            return max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else None

    def pop(self) -> tuple[Job, World] | None:
        """Take out and return the earliest entry that is due, or None."""
        with self._lock:
            if not self._heap or self._heap[0][0] > time.monotonic():
                return None
            _, _, job, world = heapq.heappop(self._heap)
            return job, world

    def __len__(self) -> int:
        return len(self._heap)
