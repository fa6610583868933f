"""The one clock of an authority: the machine's, or one that a test sets."""

from __future__ import annotations

import math
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from cycles._outside.forks import renewed_in_forks
from cycles.errors import InvalidRequest

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z


def wall_clock() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands still until it is moved: `LocalAuthority(clock=ManualClock())`. Safe between threads.

    Args:
        start: A datetime with a zone, or milliseconds since the epoch; the machine's time when None.

    Raises:
        InvalidRequest: naming what is wrong with the start.

    Example:
        ```python
        from cycles import usd
        from cycles.local import LocalAuthority, ManualClock

        clock = ManualClock()
        authority = LocalAuthority(clock=clock)
        authority.budget("tenant:acme", usd("1.00"))
        clock.advance(120)
        ```
    """

    __slots__ = ("__weakref__", "_lock", "_now_ms")

    def __init__(self, start: datetime | int | None = None) -> None:
        self._lock = threading.Lock()
        self._now_ms = wall_clock() if start is None else _instant("start", start)
        renewed_in_forks(self)

    def forked(self) -> None:
        """Begin with a lock of its own in a forked child."""
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """Return milliseconds since the epoch."""
        return self._now_ms

    def advance(self, by: float | timedelta) -> None:
        """Let time pass.

        Args:
            by: Seconds, or a timedelta; 0 or more, rounded to the millisecond.

        Raises:
            InvalidRequest: when it is negative (`set` goes back), or no duration.

        Example:
            ```python
            from cycles.local import ManualClock

            clock = ManualClock(0)
            clock.advance(1.5)
            assert clock() == 1500
            ```
        """
        passed = span_ms("by", by)
        with self._lock:
            self._now_ms = _checked("by", by, self._now_ms + passed)

    def set(self, now: datetime | int) -> None:
        """Set the clock to *now*, a datetime with a zone or milliseconds since the epoch; it may go back.

        Raises:
            InvalidRequest: naming what is wrong with it.

        Example:
            ```python
            from datetime import UTC, datetime

            from cycles.local import ManualClock

            clock = ManualClock()
            clock.set(datetime(2026, 1, 31, 12, tzinfo=UTC))
            ```
        """
        instant = _instant("now", now)
        with self._lock:
            self._now_ms = instant

    @property
    def now(self) -> datetime:
        """The time it shows, in UTC."""
        return moment(self._now_ms)

    def __repr__(self) -> str:
        return f"<ManualClock at {self.now.isoformat(timespec='milliseconds')}>"


def moment(at_ms: int) -> datetime:
    """Return milliseconds since the epoch as a datetime in UTC, exactly."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def span_ms(field: str, span: float | timedelta) -> int:
    """Return seconds, or a timedelta, as milliseconds.

    Raises:
        InvalidRequest: naming *field*, when it is negative or no duration.
    """
    if isinstance(span, timedelta):
        seconds = span.total_seconds()
    elif isinstance(span, int | float) and not isinstance(span, bool):
        seconds = span
    else:
        raise InvalidRequest(f"{field}={span!r}: give seconds, or a timedelta, not {type(span).__name__}")
    if not math.isfinite(seconds) or not 0 <= seconds <= _LAST_MS / 1000:
        raise InvalidRequest(f"{field}={span!r}: give a duration from 0 seconds on")
    return round(seconds * 1000)


def _instant(field: str, instant: datetime | int) -> int:
    if isinstance(instant, datetime):
        if instant.tzinfo is None:
            raise InvalidRequest(f"{field}={instant!r}: has no zone; write datetime(…, tzinfo=UTC)")
        return (instant - _EPOCH) // timedelta(milliseconds=1)
    if type(instant) is not int:
        raise InvalidRequest(
            f"{field}={instant!r}: give a datetime with a zone or whole milliseconds since the epoch, "
            f"not {type(instant).__name__}"
        )
    return _checked(field, instant, instant)


def _checked(field: str, given: object, instant: int) -> int:
    if not 0 <= instant <= _LAST_MS:
        raise InvalidRequest(f"{field}={given!r}: is outside the years 1970 to 9999")
    return instant
