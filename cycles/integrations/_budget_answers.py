"""What the tools of `cycles mcp` answer: amounts, budgets, reservations and how they ended, as an agent reads them.

Annotations are read when the tools are registered, so they are no strings here.
"""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal, NotRequired

from typing_extensions import TypedDict

from cycles import amounts
from cycles.errors import InvalidRequest
from cycles.reservation import AsyncReservation
from cycles_api.models.amount import Amount
from cycles_api.models.signed_amount import SignedAmount
from cycles_api.types import Unset

Unit = Literal["usd", "tokens", "credits", "risk_points"]


class Money(TypedDict):
    """An amount: in the protocol's integers, and as people write it."""

    unit: str
    amount: int
    text: str


class BudgetRow(TypedDict):
    """One budget."""

    scope: str
    remaining: Money
    reserved: Money | None
    spent: Money | None
    allocated: Money | None
    is_over_limit: bool


class Balances(TypedDict):
    """The budgets of a subject."""

    balances: list[BudgetRow]
    more: bool


class DecisionAnswer(TypedDict):
    """What the authority would say now."""

    allowed: bool
    decision: str
    reason_code: str | None
    retry_after: float | None
    caps: dict[str, Any] | None
    affected_scopes: list[str]
    suggested_fix: str | None


class Reserved(TypedDict):
    """A reservation that is held for the agent."""

    reservation_id: str
    decision: str
    reserved: Money
    caps: dict[str, Any] | None
    expires_at: str | None
    scope: str | None


class Settled(TypedDict):
    """How a spend or a reservation ended."""

    state: str
    via: str
    charged: Money | None
    uncovered: Money | None
    released: Money | None
    balances: list[BudgetRow]


class Extended(TypedDict):
    """A lease that was prolonged."""

    reservation_id: str
    expires_at: str | None


class ReservationRow(TypedDict):
    """One reservation."""

    reservation_id: str
    status: str
    action: str
    scope: str
    reserved: Money
    charged: NotRequired[Money]
    created_at_ms: int
    expires_at_ms: int


class Reservations(TypedDict):
    """Reservations, newest first."""

    reservations: list[ReservationRow]
    more: bool


_UNITS: Final[dict[Unit, Callable[[str], Amount]]] = {
    "usd": amounts.usd,
    "tokens": lambda text: amounts.tokens(_whole(text)),
    "credits": lambda text: amounts.credits(_whole(text)),
    "risk_points": lambda text: amounts.risk_points(_whole(text)),
}


def _whole(text: str) -> int:
    try:
        exact = Decimal(text)
        if exact.is_finite() and exact == int(exact) and abs(exact) < 10**19:
            return int(exact)
    except InvalidOperation:
        pass
    raise InvalidRequest(f"amount={text!r}: give a whole number, such as 1500")


def amount_of(text: str, unit: Unit) -> Amount:
    """Return *text*, as an agent writes it, as an amount of *unit*."""
    return _UNITS[unit](text.strip().removeprefix("$").replace("_", "").replace(",", ""))


def money(amount: Amount | SignedAmount) -> Money:
    """Return an amount as the tools answer it."""
    return {
        "unit": str(amount.unit),
        "amount": amount.amount,
        "text": amounts.describe(Amount(unit=amount.unit, amount=amount.amount)),
    }


def _money(amount: Amount | SignedAmount | Unset | None) -> Money | None:
    return None if amount is None or isinstance(amount, Unset) else money(amount)


def budget_row(balance: Any) -> BudgetRow:
    """Return a budget as the tools answer it."""
    return {
        "scope": balance.scope_path,
        "remaining": money(balance.remaining),
        "reserved": _money(balance.reserved),
        "spent": _money(balance.spent),
        "allocated": _money(balance.allocated),
        "is_over_limit": balance.is_over_limit is True,
    }


def moment(reservation: AsyncReservation) -> str | None:
    """Return when its lease ends, or None where it holds nothing."""
    return None if reservation.expires_at is None else reservation.expires_at.isoformat(timespec="milliseconds")


def reserved(name: str, reservation: AsyncReservation) -> Reserved:
    """Return a reservation under the name that the agent knows it by."""
    return {
        "reservation_id": name,
        "decision": str(reservation.decision),
        "reserved": money(reservation.reserved or reservation.estimate),
        "caps": None if reservation.caps is None else reservation.caps.to_dict(),
        "expires_at": moment(reservation),
        "scope": reservation.scope_path,
    }


def settled(settlement: Any) -> Settled:
    """Return how a section ended; raise what kept it from ending."""
    if settlement.error is not None and settlement.via != "release":
        raise settlement.error
    return {
        "state": str(settlement.state),
        "via": settlement.via,
        "charged": _money(settlement.charged),
        "uncovered": _money(settlement.uncovered),
        "released": _money(settlement.released),
        "balances": [budget_row(balance) for balance in settlement.balances],
    }


def reservation_row(row: Any) -> ReservationRow:
    """Return a reservation of the authority's list."""
    shown: ReservationRow = {
        "reservation_id": row.reservation_id,
        "status": str(row.status),
        "action": f"{row.action.kind} {row.action.name}",
        "scope": row.scope_path,
        "reserved": money(row.reserved),
        "created_at_ms": row.created_at_ms,
        "expires_at_ms": row.expires_at_ms,
    }
    if (charged := _money(row.committed)) is not None:
        shown["charged"] = charged
    return shown
