"""The agenda of a schedule: its jobs by the time they are due, and how many of them run at a time.

Leases have a line of their own: thousands of settlements that their sections did not wait for delay no renewal.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from cycles._core.renewal import Heart

if TYPE_CHECKING:
    from cycles._core.effects import Flow
    from cycles._drivers.world import World

MOST_AT_ONCE: Final = 16
"""Jobs under way of each of the two kinds: more would only wait for each other, within their timeouts."""

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
    """Jobs by the time they are due, leases apart from the rest; safe to share between threads.

    Args:
        renewals: How many leases are renewed at a time.
    """

    def __init__(self, renewals: int = MOST_AT_ONCE) -> None:
        self._lock: Final = threading.RLock()  # a reservation that is collected in the middle of this adds an entry
        self._leases: Final = _Line(renewals)
        self._rest: Final = _Line(MOST_AT_ONCE)

    def add(self, due: float, job: Job, world: World) -> bool:
        """Add an entry and return whether the schedule has to be woken for it.

        That is known from what `wait` said last, not from the order of the entries: who adds one may be interrupted
        before it wakes the schedule, and then the next one that is added does.
        """
        with self._lock:
            return self._line(job).add(due, job, world)

    def begin(self) -> tuple[Job, World] | None:
        """Take out and return the earliest entry that is due and may begin, leases first; or None."""
        with self._lock:
            return self._leases.begin() or self._rest.begin()

    def ended(self, job: Job) -> None:
        """Note that *job*, which had begun, is not under way any more."""
        with self._lock:
            self._line(job).running -= 1

    def wait(self) -> float | None:
        """Return the seconds until an entry may begin, 0 if one may now; None when none will before another ends."""
        with self._lock:
            waits = (self._leases.wait(), self._rest.wait())
        return min((wait for wait in waits if wait is not None), default=None)

    def _line(self, job: Job) -> _Line:
        return self._leases if isinstance(job, Heart) else self._rest

    def __len__(self) -> int:
        return len(self._leases.heap) + len(self._rest.heap)


class _Line:
    """Jobs of one kind, of which at most *most* are under way at a time."""

    def __init__(self, most: int) -> None:
        self.heap: list[tuple[float, int, Job, World]] = []
        self.running = 0
        self._most: Final = most
        self._wakes_at = math.inf  # what has room and is due before that does not begin by itself
        self._order: Final = itertools.count()
        self._sweep_at = _LEAST_SWEEP

    def add(self, due: float, job: Job, world: World) -> bool:
        entry = (due, next(self._order), job, world)
        heapq.heappush(self.heap, entry)
        if len(self.heap) >= self._sweep_at:
            size = len(self.heap)
            kept = [kept for kept in self.heap if kept[2].is_needed]
            if len(self.heap) == size:  # nothing came in between
                heapq.heapify(kept)
                self.heap = kept
            self._sweep_at = max(_LEAST_SWEEP, 2 * len(self.heap))
        return due < self._wakes_at

    def begin(self) -> tuple[Job, World] | None:
        if self.running >= self._most or not self.heap or self.heap[0][0] > time.monotonic():
            return None
        _, _, job, world = heapq.heappop(self.heap)
        self.running += 1
        return job, world

    def wait(self) -> float | None:
        if self.running >= self._most:
            self._wakes_at = -math.inf  # when one of them ends
            return None
        if not self.heap:
            self._wakes_at = math.inf
            return None
        self._wakes_at = self.heap[0][0]
        return max(0.0, self._wakes_at - time.monotonic())
