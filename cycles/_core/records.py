"""What a settlement needs to be carried out by anybody: this process now, or another one later (protocol.md §9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles._core.info import ResponseInfo
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


class Pending:
    """One intent to charge: the amount is known, and the key is minted once for all its attempts.

    Attributes:
        reservation_id: The hold to commit.
        terms: What was reserved; an event needs its subject, action and overage policy.
        actual: What it really cost.
        key: Idempotency key of this intent, for the commit and for the event that may replace it.
        metrics, metadata: What goes along.
        by_event: The hold is gone: charge by event.
    """

    __slots__ = ("actual", "by_event", "key", "metadata", "metrics", "reservation_id", "terms")

    def __init__(
        self,
        *,
        reservation_id: str,
        terms: Terms,
        actual: Amount,
        key: str,
        metrics: StandardMetrics | None = None,
        metadata: dict[str, Any] | None = None,
        by_event: bool = False,
    ) -> None:
        self.reservation_id: Final = reservation_id
        self.terms: Final = terms
        self.actual: Final = actual
        self.key: Final = key
        self.metrics: Final = metrics
        self.metadata: Final = metadata
        self.by_event: Final = by_event

    def as_event(self) -> Pending:
        """Return the same intent under the same key, to be charged by event."""
        return Pending(
            reservation_id=self.reservation_id,
            terms=self.terms,
            actual=self.actual,
            key=self.key,
            metrics=self.metrics,
            metadata=self.metadata,
            by_event=True,
        )

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
        error: Why it is not settled, or what went wrong on the way; None when all went well.
    """

    __slots__ = ("_headers", "attempts", "balances", "charged", "error", "released", "state", "via")

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
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.state: Final = state
        self.via: Final = via
        self.attempts: Final = attempts
        self.charged: Final = charged
        self.released: Final = released
        self.balances: Final = balances
        self.error: Final = error
        self._headers: Final[Mapping[str, str]] = {} if headers is None else headers

    @property
    def info(self) -> ResponseInfo:
        """What the headers of the last answer said; all None when none came."""
        return ResponseInfo(self._headers)

    def __repr__(self) -> str:
        charged = f" charged {describe(self.charged)}" if self.charged is not None else ""
        error = f" error {type(self.error).__name__}" if self.error is not None else ""
        return f"<Settlement {self.state} via {self.via}{charged}{error}>"
