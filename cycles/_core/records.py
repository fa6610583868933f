"""What the journal keeps of a spend: all that this process, or a later one, needs to settle it.

How settlement and recovery go is in docs/protocol.md, Settlement and recovery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles.amounts import describe
from cycles_api import models

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cycles._core.requests import Terms
    from cycles_api.models.amount import Amount
    from cycles_api.models.standard_metrics import StandardMetrics


LONGEST_FLOOR: Final = 3600.0
"""Seconds of a Retry-After that count for a settlement: anything in between can send any number."""


class Floor:
    """A time before which the authority must not be asked again (Retry-After of a 429); an hour away at most.

    Attributes:
        set_at_ms: When the authority said so, by this machine's clock, in milliseconds since the epoch.
        until_ms: The end of it, likewise; also of a file's floor that is further away, an hour after *set_at_ms*.
    """

    __slots__ = ("set_at_ms", "until_ms")

    def __init__(self, set_at_ms: int, until_ms: int) -> None:
        self.set_at_ms: Final = set_at_ms
        self.until_ms: Final = min(until_ms, set_at_ms + round(LONGEST_FLOOR * 1000))

    def left(self, now_ms: int) -> float:
        """Return the seconds that are left of it at *now_ms*, 0 when it is over."""
        return max(0, self.again(now_ms).until_ms - now_ms) / 1000

    def again(self, now_ms: int) -> Floor:
        """Return the floor as it stands at *now_ms*; when the clock went back since, the whole wait begins anew."""
        if now_ms >= self.set_at_ms:
            return self
        return Floor(now_ms, now_ms + self.until_ms - self.set_at_ms)


class Pending:
    """One intent to charge: the amount is known, and the key is minted once for all its attempts.

    Attributes:
        reservation_id: The hold to commit; None for a spend that never had one.
        terms: What was reserved; an event needs its subject, action and overage policy.
        actual: What the work really cost.
        key: Idempotency key of this intent, for the commit and for the event that may replace it.
        metrics, metadata: Sent with it, or None.
        by_event: There is no hold, or none any more: charge by event.
        provisional: A running section's report so far; it is settled as it stands if the process dies.
        reported_key: Of the section's reports, or None if it made none: another process that took this one for dead
            may have charged one of them under it.
        floor: Until when the authority must not be asked, or None.
        details: Makes what else its metadata says, at the time when that is written or sent; or None. A report comes
            far more often than it is written.
    """

    __slots__ = (
        "actual",
        "by_event",
        "details",
        "floor",
        "key",
        "metadata",
        "metrics",
        "provisional",
        "reported_key",
        "reservation_id",
        "terms",
    )

    def __init__(
        self,
        *,
        reservation_id: str | None,
        terms: Terms,
        actual: Amount,
        key: str,
        metrics: StandardMetrics | None = None,
        metadata: dict[str, Any] | None = None,
        by_event: bool = False,
        provisional: bool = False,
        reported_key: str | None = None,
        floor: Floor | None = None,
        details: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self.reservation_id: Final = reservation_id
        self.terms: Final = terms
        self.actual: Final = actual
        self.key: Final = key
        self.metrics: Final = metrics
        self.metadata: Final = metadata
        self.by_event: Final = by_event
        self.provisional: Final = provisional
        self.reported_key: Final = reported_key
        self.floor: Final = floor
        self.details: Final = details

    @property
    def said(self) -> dict[str, Any] | None:
        """The metadata, with its details as they are now; None without any."""
        if self.details is None:
            return self.metadata
        return {**(self.metadata or {}), **self.details()}

    @property
    def via(self) -> str:
        """How it is charged next: "commit" or "event"."""
        return "event" if self.by_event else "commit"

    def as_event(self) -> Pending:
        """Return the same intent under the same key, to be charged by event."""
        return self._recovered("commit_after_reservation_expired")

    def rest(self, charged: int) -> Pending:
        """Return what is left of this intent when *charged* of it was charged already, to be charged by event."""
        left = models.Amount(unit=self.actual.unit, amount=self.actual.amount - charged)
        return self._recovered("rest_of_a_report_that_was_charged", actual=left)

    def _recovered(self, reason: str, **changes: Any) -> Pending:
        # Kept in the record, so that every attempt sends the same event, also that of a later version.
        about = {"recovered_reservation_id": self.reservation_id, "recovery_reason": reason}
        return self._changed(
            by_event=True, floor=None, metadata={**(self.said or {}), **about}, details=None, **changes
        )

    def under(self, key: str) -> Pending:
        """Return the same spend under another key."""
        return self._changed(key=key)

    def final(self) -> Pending:
        """Return the same intent, which a running section can no longer change."""
        return self._changed(provisional=False) if self.provisional else self

    def not_before(self, floor: Floor) -> Pending:
        """Return the same intent, not to be sent again before *floor* is over."""
        return self._changed(floor=floor)

    def __repr__(self) -> str:
        return f"<Pending {self.key} {describe(self.actual)} by {self.via}>"

    def _changed(self, **changes: Any) -> Pending:
        return Pending(**{name: getattr(self, name) for name in self.__slots__} | changes)

    def commit_body(self) -> models.CommitRequest:
        """Return the commit request."""
        return models.CommitRequest(idempotency_key=self.key, actual=self.actual, **self._extras())

    def event_body(self) -> models.EventCreateRequest:
        """Return the event that charges the same intent when the hold is gone."""
        extras = self._extras()
        if self.terms.overage_policy is not None:
            extras["overage_policy"] = self.terms.overage_policy
        return models.EventCreateRequest(
            idempotency_key=self.key,
            subject=self.terms.subject,
            action=self.terms.action,
            actual=self.actual,
            **extras,
        )

    def _extras(self) -> dict[str, Any]:
        extras: dict[str, Any] = {}
        if self.metrics is not None:
            extras["metrics"] = self.metrics
        if (said := self.said) is not None:
            extras["metadata"] = said
        return extras


class Claim:
    """The right to settle one record; while it is active, nothing else in this process settles that record.

    Attributes:
        active: False once it is given up.
    """

    __slots__ = ("active",)

    def __init__(self) -> None:
        self.active = True

    def __repr__(self) -> str:
        return f"<Claim {'active' if self.active else 'given up'}>"
