"""The last denials of this process, which the page shows: bounded, in memory, and gone with the process."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles.local.ledger.remedies import REASONS
from cycles.local.ledger.scopes import scopes_of

if TYPE_CHECKING:
    from cycles.local.ledger.values import Refusal

KEPT: Final = 500
"""How many refused requests are remembered; a request that is sent again counts again."""

Body = dict[str, Any]


class Denial(NamedTuple):
    """A request that the ledger refused.

    It keeps only what has a bound of its own: metadata may be as large as a whole request.

    Attributes:
        at_ms: When.
        operation: "reserve", "decide" or "event".
        tenant: The tenant of the key.
        key: The request's idempotency key.
        scope_path: The subject's own scope.
        kind, name: Of the action.
        unit, amount: What was asked for.
        reason: A reason code of the protocol.
        refused_by: The scope whose budget refused; None when the refusal does not say.
        remaining: What that budget had left; None when the refusal does not say.
    """

    at_ms: int
    operation: str
    tenant: str
    key: str
    scope_path: str
    kind: str
    name: str
    unit: str
    amount: int
    reason: str
    refused_by: str | None = None
    remaining: int | None = None


class Denials:
    """A ring of the last denials. Appending is one step, so that neither threads nor forks need a lock."""

    def __init__(self) -> None:
        self._ring: Final[deque[Denial]] = deque(maxlen=KEPT)

    def refused(self, operation: str, tenant: str, body: Body, refusal: Refusal, now_ms: int) -> None:
        """Remember *refusal* of the request *body* when it is a denial."""
        reason = REASONS.get(refusal.code)
        if reason is not None:
            self._add(operation, tenant, body, now_ms, reason=reason, details=refusal.details or {})

    def decided(self, operation: str, tenant: str, body: Body, answer: Body, now_ms: int) -> None:
        """Remember a DENY."""
        detail = answer["deny_detail"]
        facts = {"scope": detail.get("blocked_by_scope"), "remaining": detail.get("budget_remaining")}
        self._add(operation, tenant, body, now_ms, reason=answer["reason_code"], details=facts)

    def _add(self, operation: str, tenant: str, body: Body, now_ms: int, *, reason: str, details: Body) -> None:
        action, asked = body["action"], body.get("estimate") or body["actual"]
        self._ring.append(
            Denial(
                at_ms=now_ms,
                operation=operation,
                tenant=tenant,
                key=body["idempotency_key"],
                scope_path=scopes_of(body["subject"])[-1],
                kind=action["kind"],
                name=action["name"],
                unit=asked["unit"],
                amount=asked["amount"],
                reason=reason,
                refused_by=details.get("scope"),
                remaining=details.get("remaining"),
            )
        )

    def last(self, tenant: str | None, most: int) -> list[tuple[Denial, int]]:
        """Return the last denials of *tenant* (None: of all), newest first, and how often each came.

        Equal ones are one, as are those of one request that was sent again under its key: a guard that waits for
        funds asks every few moments, and an agent that doesn't know better asks the same again.
        """
        counted: dict[Denial, tuple[Denial, int]] = {}
        for denial in reversed(self._ring.copy()):
            if tenant is None or denial.tenant == tenant:
                alike = denial._replace(at_ms=0, key="", remaining=None)
                newest, times = counted.get(alike, (denial, 0))
                counted[alike] = newest, times + 1
        return list(counted.values())[:most]

    def __repr__(self) -> str:
        return f"<Denials {len(self._ring)}>"
