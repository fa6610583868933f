"""Between flows and the simulated authority: encoding, faults, decoding.

The generated models decode each answer from JSON, as in the real drivers; so the simulation covers decoding.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles._core.outcomes import Answer, Trouble
from cycles.testing.faults import Fault
from cycles.testing.messages import Raw, Request
from cycles_api import models
from cycles_api.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from cycles._core.effects import Call
    from cycles.testing.authority import SimulatedAuthority
    from cycles.testing.cases import Case
    from cycles.testing.messages import Body

_SUCCESS: Final[dict[str, Callable[[Any], Any]]] = {
    "create_reservation": models.ReservationCreateResponse.from_dict,
    "commit_reservation": models.CommitResponse.from_dict,
    "release_reservation": models.ReleaseResponse.from_dict,
    "extend_reservation": models.ReservationExtendResponse.from_dict,
    "create_event": models.EventCreateResponse.from_dict,
    "decide": models.DecisionResponse.from_dict,
    "list_reservations": models.ReservationListResponse.from_dict,
    "get_reservation": models.ReservationDetail.from_dict,
}
_NEEDED: Final = ("event_id", "charged", "released", "decision", "expires_at_ms", "reservations")
"""Fields without which a success does not fit its schema."""

_NO_DATE: Final = "Wed, 21 Oct 2026 07:28:00 GMT"
_WITHOUT_ANSWER: Final = frozenset({Fault.LOST_REQUEST, Fault.LATE_REQUEST, Fault.LOST_RESPONSE})
_NEEDS_SUCCESS: Final = frozenset({Fault.MALFORMED, Fault.OTHER_SUCCESS, Fault.UNKNOWN_VALUE, Fault.CONTRADICTORY})
_NOT_DELIVERED: Final = frozenset(
    {
        Fault.CONNECT_REFUSED,
        Fault.LOST_REQUEST,
        Fault.LATE_REQUEST,
        Fault.ERROR_BEFORE,
        Fault.THROTTLED,
        Fault.THROTTLED_SILENT,
        Fault.UNAUTHORIZED,
        Fault.UNINTELLIGIBLE,
        Fault.OUTAGE,
    }
)


class Delivery(NamedTuple):
    """The outcome of a request.

    Attributes:
        answer: For the flow.
        raw: The answer on the wire; None when nothing arrived.
        fault: The fault that took effect: one that spoils a success leaves a refusal as it is.
    """

    answer: Answer[Any]
    raw: Raw | None
    fault: Fault | None


class Wire:
    """Carries requests of one schedule, faults included."""

    def __init__(self, authority: SimulatedAuthority, random: Random) -> None:
        self._authority: Final = authority
        self._random: Final = random
        self.late: Final[list[tuple[float, Request]]] = []

    def send(self, call: Call[Any], case: Case, fault: Fault | None, now: float, took: float) -> Delivery:
        """Send *call* and return what comes back after *took* seconds."""
        arguments = call.arguments
        body = json.loads(json.dumps(arguments["body"].to_dict())) if "body" in arguments else {}
        request = Request(call.operation.name, arguments, body, case)
        if fault is Fault.LATE_REQUEST:
            self.late.append((now + self._random.choice((0.3, 2.0, 20.0, 90.0)), request))
        reached = None if fault in _NOT_DELIVERED else self._authority.handle(request, now)
        if fault is Fault.CONNECT_REFUSED:
            refused = Answer[Any](trouble=Trouble.NOT_SENT, reason="ConnectError", sent_at=now, received_at=now + took)
            return Delivery(refused, None, fault)
        if fault in _WITHOUT_ANSWER:
            lost = Answer[Any](trouble=Trouble.LOST, reason="ReadTimeout", sent_at=now, received_at=now + took)
            return Delivery(lost, None, fault)
        raw = Raw(*reached) if reached is not None else Raw(0, None)
        if fault in _NEEDS_SUCCESS and raw.status >= 300:
            fault = None
        if fault is Fault.CONTRADICTORY:
            contradicted = self._contradicted(raw, body)
            raw, fault = (raw, None) if contradicted is None else (contradicted, fault)
        elif fault is not None:
            raw = self._spoilt(raw, fault)
        return Delivery(decoded(call.operation.name, call.operation.success, raw, now, now + took), raw, fault)

    def deliver_late(self, now: float) -> list[Request]:
        """Deliver the requests whose time has come; nothing waits for their answers."""
        if not self.late:
            return []
        due = [request for when, request in self.late if when <= now]
        self.late[:] = [(when, request) for when, request in self.late if when > now]
        for request in due:
            self._authority.handle(request, now)
        return due

    def _spoilt(self, raw: Raw, fault: Fault) -> Raw:
        choice = self._random.choice
        if fault in (Fault.ERROR_BEFORE, Fault.ERROR_AFTER):
            return Raw(choice((500, 502, 503, 599)), choice((None, _error("INTERNAL_ERROR"))))
        if fault is Fault.THROTTLED:
            return Raw(429, _error("LIMIT_EXCEEDED"), choice(("0", "1", "5", "40", "999999999")))
        if fault is Fault.THROTTLED_SILENT:
            return Raw(429, choice((None, _error("LIMIT_EXCEEDED"))), choice((None, "-1", "1.5", _NO_DATE)))
        if fault is Fault.UNAUTHORIZED:
            return Raw(401, _error("UNAUTHORIZED"))
        if fault is Fault.OUTAGE:
            return Raw(401, _error("UNAUTHORIZED") | {"message": "INTERNAL_ERROR"})
        if fault is Fault.UNINTELLIGIBLE:
            return Raw(*choice(_SAYS_NOTHING))
        if fault is Fault.OTHER_SUCCESS or raw.body is None:
            return Raw(choice((202, 204, 206)), None)
        if fault is Fault.UNKNOWN_VALUE:
            return Raw(raw.status, _of_tomorrow(raw.body))
        return Raw(raw.status, self._malformed(raw.body))

    def _contradicted(self, raw: Raw, sent: Body) -> Raw | None:
        """Return *raw*, a success, such that it contradicts what was *sent*; None where it says nothing that could."""
        choice, body = self._random.choice, raw.body or {}
        if "actual" in sent:
            return Raw(raw.status, body | {"charged": choice(_others_than(sent["actual"]))})
        if "estimate" in sent and "reservation_id" in body:
            wrong = choice((*_NO_IDS, *({"reserved": each} for each in _others_than(sent["estimate"]))))
            return Raw(raw.status, body | wrong)
        rows = body.get("reservations", ())
        if not rows:
            return None
        return Raw(raw.status, body | {"reservations": [row | {"reservation_id": ""} for row in rows]})

    def _malformed(self, body: Body) -> Body | None:
        kind = self._random.randrange(3)
        if kind == 0:
            return None
        needed = next(name for name in _NEEDED if name in body)
        return {name: value for name, value in body.items() if name != needed} | ({needed: 1.5} if kind == 1 else {})


_NO_IDS: Final[tuple[Body, ...]] = tuple({"reservation_id": text} for text in ("", "x" * 129, "a\nb", "\ud800"))


def _others_than(amount: Body) -> tuple[Body, ...]:
    """Return more than *amount*, and another unit of it."""
    return amount | {"amount": amount["amount"] + 1}, amount | {"unit": "CREDITS"}


def _error(code: str) -> Body:
    return {"error": code, "message": "by the fault plan", "request_id": "req-sim"}


_SAYS_NOTHING: Final = (
    (400, None),
    (404, None),
    (410, None),
    (409, _error("OF_TOMORROW")),
    (409, _error("LIMIT_EXCEEDED")),
    (400, _error("INTERNAL_ERROR")),
    (302, None),
)
"""Answers from 300 to 499 that nobody can understand."""


def decoded(operation: str, success: int, raw: Raw, sent_at: float, received_at: float) -> Answer[Any]:
    """Return the answer that a driver makes of *raw*."""
    headers = {} if raw.retry_after is None else {"retry-after": raw.retry_after}
    parsed = error = trouble = None
    body = None if raw.body is None else json.loads(json.dumps(raw.body))
    try:
        if raw.status == success:
            parsed = _SUCCESS[operation](body)
        elif body is not None and raw.status >= 300:
            error = models.ErrorResponse.from_dict(body)
    except DecodeError:
        trouble = Trouble.UNREADABLE if raw.status == success else None
    return Answer(
        status=raw.status,
        parsed=parsed,
        error=error,
        headers=headers,
        trouble=trouble,
        reason="" if trouble is None else "DecodeError",
        sent_at=sent_at,
        received_at=received_at,
    )


def _of_tomorrow(body: Body) -> Body:
    if "reservations" in body:
        return body | {"reservations": [row | {"status": "OF_TOMORROW"} for row in body["reservations"]]}
    return body | {"decision" if "decision" in body else "status": "OF_TOMORROW"}
