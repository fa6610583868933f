"""Whether an answer agrees with what was asked (docs/protocol.md, Answers that contradict the request).

An answer that fits the schema may still be about something else: another unit, more than was asked, an id that nobody
can send back. Such an answer proves nothing, like one that does not fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from cycles._core.operations import COMMIT_RESERVATION, CREATE_EVENT, CREATE_RESERVATION, GET_RESERVATION
from cycles._core.outcomes import Answer, Trouble
from cycles.amounts import describe
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cycles._core.operations import Operation
    from cycles_api.models.amount import Amount

S = TypeVar("S")

_LONGEST_ID: Final = 128
_LONGEST_CURSOR: Final = 4096


def agreed(operation: Operation[S], arguments: Mapping[str, Any], answer: Answer[S]) -> Answer[S]:
    """Return *answer*, or one without a body that says how it contradicts the *arguments* of its request."""
    compare = _COMPARED.get(operation.name)
    reason = None if compare is None or answer.parsed is None else compare(arguments, answer.parsed)
    if reason is None:
        return answer
    return Answer(
        status=answer.status,
        headers=answer.headers,
        trouble=Trouble.CONTRADICTORY,
        reason=reason,
        sent_at=answer.sent_at,
        received_at=answer.received_at,
    )


def is_id(text: str) -> bool:
    """Whether *text* is an id that can be sent back: 1 to 128 characters that are seen and that UTF-8 can carry."""
    return 1 <= len(text) <= _LONGEST_ID and text.isprintable() and not text.isspace()


def is_cursor(text: str) -> bool:
    """Whether *text* is a cursor that can be sent back."""
    return len(text) <= _LONGEST_CURSOR and text.isprintable()


def holds(reserved: Amount | Unset, estimate: Amount) -> bool:
    """Whether what is *reserved*, if the authority says it, is the *estimate*: no more, no less, no other unit."""
    return isinstance(reserved, Unset) or (reserved.unit, reserved.amount) == (estimate.unit, estimate.amount)


def is_rest(released: Amount | Unset, estimate: Amount, charged: Amount) -> bool:
    """Whether what a commit *released*, if the authority says it, is what it left of the *estimate*."""
    if isinstance(released, Unset):
        return True
    return (released.unit, released.amount) == (estimate.unit, max(0, estimate.amount - charged.amount))


def _created(arguments: Mapping[str, Any], response: Any) -> str | None:
    estimate = arguments["body"].estimate
    if not isinstance(response.reservation_id, Unset) and not is_id(response.reservation_id):
        return "its reservation_id can't be sent back"
    if not holds(response.reserved, estimate):
        return f"it reserved {describe(response.reserved)}, and {describe(estimate)} were asked for"
    return None


def _charged(arguments: Mapping[str, Any], response: Any) -> str | None:
    actual, charged = arguments["body"].actual, response.charged
    if isinstance(charged, Unset) or (charged.unit == actual.unit and charged.amount <= actual.amount):
        return None
    return f"it charged {describe(charged)}, and the actual was {describe(actual)}"


def _read(arguments: Mapping[str, Any], response: Any) -> str | None:
    return None if response.reservation_id == arguments["reservation_id"] else "it is about another reservation"


_COMPARED: Final[dict[str, Callable[[Mapping[str, Any], Any], str | None]]] = {
    CREATE_RESERVATION.name: _created,
    COMMIT_RESERVATION.name: _charged,
    CREATE_EVENT.name: _charged,
    GET_RESERVATION.name: _read,
}
