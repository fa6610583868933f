"""What a settlement needs to be carried out by anybody: this process now, or another one later (protocol.md §9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles._core.response_info import ResponseInfo
from cycles.amounts import describe
from cycles_api import models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles._core.lifecycle import State
    from cycles._core.requests import Terms
    from cycles.errors import CyclesError
    from cycles_api.models.amount import Amount
    from cycles_api.models.balance import Balance
    from cycles_api.models.reservation_create_response import ReservationCreateResponse
    from cycles_api.models.standard_metrics import StandardMetrics


class Floor:
    """A time before which the authority does not want to be asked again (Retry-After of a 429).

    Attributes:
        set_at_ms: When the authority said so, by this machine's clock, in milliseconds since the epoch.
        until_ms: The end of it, likewise.
    """

    __slots__ = ("set_at_ms", "until_ms")

    def __init__(self, set_at_ms: int, until_ms: int) -> None:
        self.set_at_ms: Final = set_at_ms
        self.until_ms: Final = until_ms

    def again(self, now_ms: int) -> Floor:
        """Return the floor as it stands at *now_ms*: one of a clock that went back since begins anew."""
        if now_ms >= self.set_at_ms:
            return self
        return Floor(now_ms, now_ms + self.until_ms - self.set_at_ms)


class Pending:
    """One intent to charge: the amount is known, and the key is minted once for all its attempts.

    Attributes:
        reservation_id: The hold to commit; None for a spend that never had one.
        terms: What was reserved; an event needs its subject, action and overage policy.
        actual: What it really cost.
        key: Idempotency key of this intent, for the commit and for the event that may replace it.
        metrics, metadata: What goes along.
        by_event: There is no hold, or none any more: charge by event.
        provisional: What a running section has reported so far: settled as it stands if its process dies.
        floor: Until when the authority must not be asked, or None.
    """

    __slots__ = (
        "actual",
        "by_event",
        "floor",
        "key",
        "metadata",
        "metrics",
        "provisional",
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
        floor: Floor | None = None,
    ) -> None:
        self.reservation_id: Final = reservation_id
        self.terms: Final = terms
        self.actual: Final = actual
        self.key: Final = key
        self.metrics: Final = metrics
        self.metadata: Final = metadata
        self.by_event: Final = by_event
        self.provisional: Final = provisional
        self.floor: Final = floor

    @property
    def via(self) -> str:
        """How it is charged next: "commit" or "event"."""
        return "event" if self.by_event else "commit"

    def as_event(self) -> Pending:
        """Return the same intent under the same key, to be charged by event."""
        return self._changed(by_event=True, floor=None)

    def final(self) -> Pending:
        """Return the same intent, no longer open to be changed by a running section."""
        return self._changed(provisional=False) if self.provisional else self

    def not_before(self, floor: Floor) -> Pending:
        """Return the same intent, to be asked for again when *floor* is over."""
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
        if self.metadata is not None:
            extras["metadata"] = self.metadata
        return extras


class Claim:
    """Held by whoever settles a record, so that nobody else in this process does at the same time.

    Attributes:
        active: False once it is given up.
    """

    __slots__ = ("active",)

    def __init__(self) -> None:
        self.active = True

    def __repr__(self) -> str:
        return f"<Claim {'active' if self.active else 'given up'}>"


class SettlementDetails:
    """What became of one spend: what `on_settlement` is given. Frozen.

    Attributes:
        reservation_id: The reservation that it was committed against; None for a spend without one.
        actual: What it really cost.
        outcome: "settled"; "rejected" (the authority understood and refused: a person has to look at it); "pending"
            (the journal holds it, and it is tried again); "stopped" (the journal holds it, and it is not tried again in
            this run: the key is refused, or the answer is not of the protocol); "unsettled" (no journal holds it).
        via: "commit" or "event".
        charged: What was charged; None unless settled.
        attempts: Requests sent for it in this run.
        recovered: Whether it was settled from the journal, and not by the section itself.
        error: Why it is not settled, or None.
    """

    __slots__ = ("actual", "attempts", "charged", "error", "outcome", "recovered", "reservation_id", "via")

    def __init__(
        self,
        pending: Pending,
        outcome: str,
        *,
        charged: Amount | None,
        attempts: int,
        recovered: bool,
        error: CyclesError | None,
    ) -> None:
        values = {
            "reservation_id": pending.reservation_id,
            "actual": pending.actual,
            "outcome": outcome,
            "via": pending.via,
            "charged": charged,
            "attempts": attempts,
            "recovered": recovered,
            "error": error,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    reservation_id: str | None
    actual: Amount
    outcome: str
    via: str
    charged: Amount | None
    attempts: int
    recovered: bool
    error: CyclesError | None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"settlement details are frozen: {name}")

    def __repr__(self) -> str:
        spend = self.reservation_id or "without reservation"
        return f"<SettlementDetails {spend} {describe(self.actual)} {self.outcome} via {self.via}>"


class Grant:
    """What the authority granted, and when: the lease counts from these times (protocol.md §8).

    Attributes:
        response: The create response.
        headers: What came with it, by lower-case name.
        sent_at, received_at: Monotonic seconds around the attempt that was answered.
    """

    __slots__ = ("headers", "received_at", "response", "sent_at")

    def __init__(
        self, response: ReservationCreateResponse, headers: Mapping[str, str], *, sent_at: float, received_at: float
    ) -> None:
        self.response: Final = response
        self.headers: Final = headers
        self.sent_at: Final = sent_at
        self.received_at: Final = received_at


class Settlement:
    """How a reservation ended, or what became of a spend without one (`Client.record`).

    Attributes:
        state: COMMITTED, RELEASED, EXPIRED, or UNSETTLED when the spend is not acknowledged.
        via: "commit", "event" (the hold had expired, or there was none) or "release".
        charged: What was really charged, which may be less than the actual (protocol.md §7); None when not known.
        released: What went back to the budgets, or None.
        balances: The budgets after it, as the authority told.
        attempts: Requests sent for it.
        is_kept: Whether the journal holds it, so that it is settled later; only of an unsettled spend.
        error: Why it is not settled, or what went wrong on the way; None when all went well.
    """

    __slots__ = ("_headers", "attempts", "balances", "charged", "error", "is_kept", "released", "state", "via")

    def __init__(
        self,
        state: State,
        *,
        via: str,
        attempts: int,
        charged: Amount | None = None,
        released: Amount | None = None,
        balances: tuple[Balance, ...] = (),
        error: CyclesError | None = None,
        is_kept: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.state: Final = state
        self.via: Final = via
        self.attempts: Final = attempts
        self.charged: Final = charged
        self.released: Final = released
        self.balances: Final = balances
        self.error: Final = error
        self.is_kept: Final = is_kept
        self._headers: Final[Mapping[str, str]] = {} if headers is None else headers

    @property
    def info(self) -> ResponseInfo:
        """What the headers of the last answer said; all None when none came."""
        return ResponseInfo(self._headers)

    def __repr__(self) -> str:
        charged = f" charged {describe(self.charged)}" if self.charged is not None else ""
        error = f" error {type(self.error).__name__}" if self.error is not None else ""
        return f"<Settlement {self.state} via {self.via}{charged}{error}>"
