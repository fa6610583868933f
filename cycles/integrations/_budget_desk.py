"""What the MCP server of `cycles mcp` does for an agent: questions, reservations that it holds, and charges.

Nothing here knows MCP but the shapes of answers: `mcp_server` registers each method as a tool. Annotations are read
when the tools are registered, so they are no strings here.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from cycles import amounts
from cycles.client import AsyncClient
from cycles.errors import InvalidRequest
from cycles.reservation import AsyncReservation
from cycles_api.models.amount import Amount
from cycles_api.models.reservation_status import ReservationStatus
from cycles_api.models.signed_amount import SignedAmount
from cycles_api.types import Unset

MOST_ROWS: Final = 100

Unit = Literal["usd", "tokens", "credits", "risk_points"]
UnitParameter = Annotated[Unit, Field(description="What the amount counts; the unit of the budget.")]
AmountParameter = Annotated[
    str, Field(description='The amount as a decimal number, such as "0.05" dollars or "1500" tokens; never negative.')
]
KindParameter = Annotated[
    str, Field(min_length=1, max_length=64, description='What kind of action, such as "llm.completion".')
]
NameParameter = Annotated[str, Field(min_length=1, max_length=256, description='Which one, such as "gpt-4o".')]
LevelParameter = Annotated[str | None, Field(description="A level of who spends; leave it out for the configured one.")]
IdParameter = Annotated[str, Field(min_length=1, max_length=128, description="The reservation, as `reserve` named it.")]
KeyParameter = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=256,
        description="Give the same key when you send the same request again: it then happens once.",
    ),
]


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


def _budget_row(balance: Any) -> BudgetRow:
    return {
        "scope": balance.scope_path,
        "remaining": money(balance.remaining),
        "reserved": _money(balance.reserved),
        "spent": _money(balance.spent),
        "allocated": _money(balance.allocated),
        "is_over_limit": balance.is_over_limit is True,
    }


async def _first(rows: AsyncIterator[Any], most: int) -> tuple[list[Any], bool]:
    """Return the first *most* of *rows*, and whether there are more."""
    found: list[Any] = []
    async for row in rows:
        if len(found) == most:
            return found, True
        found.append(row)
    return found, False


class _Held:
    """A reservation of this session, and what asked for it."""

    def __init__(self, name: str, asked: tuple[Any, ...], reservation: AsyncReservation) -> None:
        self.name: Final = name
        self.asked: Final = asked
        self.reservation: Final = reservation
        self.ended: tuple[str, Any, Settled] | None = None
        self.lock: Final = asyncio.Lock()


class BudgetDesk:
    """What one session of an agent does with its budget; each public method is a tool.

    Reservations are kept alive while the session lasts. What is still open at its end is released.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client: Final = client
        self._held: Final[dict[str, _Held]] = {}
        self._keys: Final[dict[str, str]] = {}
        self._asking: Final = asyncio.Lock()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[None]:
        """Release what is open when the block ends."""
        try:
            yield
        finally:
            for held in self._held.values():
                if held.ended is None and held.reservation.settlement is None:
                    await held.reservation.release("the agent's session ended")

    # -- asking --------------------------------------------------------------------------------------------------------
    async def balance(
        self,
        *,
        workspace: LevelParameter = None,
        app: LevelParameter = None,
        workflow: LevelParameter = None,
        agent: LevelParameter = None,
        toolset: LevelParameter = None,
    ) -> Balances:
        """Show the budgets, and what is left in each. With levels: only the budgets at them."""
        levels = _levels(workspace, app, workflow, agent, toolset)
        rows, more = await _first(self._client.balances(**levels), MOST_ROWS)
        return {"balances": [_budget_row(row) for row in rows], "more": more}

    async def decide(
        self,
        *,
        amount: AmountParameter,
        action_kind: KindParameter,
        action_name: NameParameter,
        unit: UnitParameter = "usd",
        workspace: LevelParameter = None,
        app: LevelParameter = None,
        workflow: LevelParameter = None,
        agent: LevelParameter = None,
        toolset: LevelParameter = None,
    ) -> DecisionAnswer:
        """Ask whether an amount would be granted now. Nothing is held."""
        levels = _levels(workspace, app, workflow, agent, toolset)
        said = await self._client.decide(amount_of(amount, unit), action=(action_kind, action_name), **levels)
        return {
            "allowed": said.allowed,
            "decision": str(said.decision),
            "reason_code": said.reason_code,
            "retry_after": said.retry_after,
            "caps": None if said.caps is None else said.caps.to_dict(),
            "affected_scopes": list(said.affected_scopes),
            "suggested_fix": None if said.detail is None else said.detail.suggested_fix,
        }

    async def list_reservations(
        self,
        *,
        status: Annotated[
            Literal["ACTIVE", "COMMITTED", "RELEASED", "EXPIRED"] | None, Field(description="Only those in this state.")
        ] = None,
        limit: Annotated[int, Field(ge=1, le=MOST_ROWS, description="Rows at most.")] = 20,
        workspace: LevelParameter = None,
        app: LevelParameter = None,
        workflow: LevelParameter = None,
        agent: LevelParameter = None,
        toolset: LevelParameter = None,
    ) -> Reservations:
        """List reservations of the tenant, newest first."""
        levels = _levels(workspace, app, workflow, agent, toolset)
        chosen = None if status is None else ReservationStatus(status)
        asked = self._client.reservations(status=chosen, page_size=limit, **levels)
        rows, more = await _first(asked, limit)
        return {"reservations": [_reservation_row(row) for row in rows], "more": more}

    # -- holding -------------------------------------------------------------------------------------------------------
    async def reserve(
        self,
        *,
        amount: AmountParameter,
        action_kind: KindParameter,
        action_name: NameParameter,
        unit: UnitParameter = "usd",
        ttl: Annotated[float, Field(ge=1, le=86400, description="Seconds that the lease lasts at a time.")] = 60.0,
        workspace: LevelParameter = None,
        app: LevelParameter = None,
        workflow: LevelParameter = None,
        agent: LevelParameter = None,
        toolset: LevelParameter = None,
        idempotency_key: KeyParameter = None,
    ) -> Reserved:
        """Hold an amount before you spend it; it is an error when the budget refuses, and then you must not spend.

        Afterwards `commit` what it really cost, or `release` it. The lease is renewed while this session lasts, and
        what is still held at its end is released.
        """
        levels = _levels(workspace, app, workflow, agent, toolset)
        estimate = amount_of(amount, unit)
        asked = (estimate.unit, estimate.amount, action_kind, action_name, ttl, tuple(levels.items()))
        async with self._asking:  # of two requests under one key, the second finds what the first was granted
            held = self._under(idempotency_key, asked)
            if held is None:
                reservation = await self._client.reserve(
                    estimate,
                    action=(action_kind, action_name),
                    ttl=ttl,
                    idempotency_key=idempotency_key,
                    own=True,
                    **levels,
                )
                held = self._keep(asked, reservation, idempotency_key)
        return _reserved(held.name, held.reservation)

    def _under(self, key: str | None, asked: tuple[Any, ...]) -> _Held | None:
        """Return what was reserved under *key* in this session, or None."""
        held = None if key is None else self._held.get(self._keys.get(key, ""))
        if held is not None and held.asked != asked:
            raise InvalidRequest(
                f"idempotency_key={key!r} was used for another reservation: a new intention needs a new key"
            )
        return held

    def _keep(self, asked: tuple[Any, ...], reservation: AsyncReservation, key: str | None) -> _Held:
        # Where the authority only observes, nothing is held and there is no id: the agent still needs a name for it.
        held = _Held(reservation.id or f"observed-{secrets.token_hex(8)}", asked, reservation)
        self._held[held.name] = held
        if key is not None:
            self._keys[key] = held.name
        return held

    async def extend(
        self,
        *,
        reservation_id: IdParameter,
        seconds: Annotated[float, Field(ge=0.001, le=86400, description="How much longer.")],
    ) -> Extended:
        """Prolong the lease of a reservation, such as before work that must outlast this session."""
        held = self._found(reservation_id)
        await held.reservation.extend(seconds)
        return {"reservation_id": reservation_id, "expires_at": _moment(held.reservation)}

    # -- charging ------------------------------------------------------------------------------------------------------
    async def commit(
        self, *, reservation_id: IdParameter, amount: AmountParameter, unit: UnitParameter = "usd"
    ) -> Settled:
        """Charge what the work really cost, and give the rest of the reservation back. Repeating it changes nothing."""
        actual = amount_of(amount, unit)
        charged = ("commit", (actual.unit, actual.amount))
        held = self._found(reservation_id)
        return await self._end(held, charged, lambda: held.reservation.commit(actual))

    async def release(
        self,
        *,
        reservation_id: IdParameter,
        reason: Annotated[str | None, Field(max_length=256, description="Kept by the authority.")] = None,
    ) -> Settled:
        """Give a reservation back, when the work did not happen. Repeating it changes nothing."""
        held = self._found(reservation_id)
        return await self._end(held, ("release", None), lambda: held.reservation.release(reason))

    async def event(
        self,
        *,
        amount: AmountParameter,
        action_kind: KindParameter,
        action_name: NameParameter,
        unit: UnitParameter = "usd",
        workspace: LevelParameter = None,
        app: LevelParameter = None,
        workflow: LevelParameter = None,
        agent: LevelParameter = None,
        toolset: LevelParameter = None,
        idempotency_key: KeyParameter = None,
    ) -> Settled:
        """Charge what was spent already, without a reservation."""
        levels = _levels(workspace, app, workflow, agent, toolset)
        settlement = await self._client.record(
            amount_of(amount, unit), action=(action_kind, action_name), idempotency_key=idempotency_key, **levels
        )
        return _settled(settlement)

    async def _end(self, held: _Held, wanted: tuple[str, Any], ending: Callable[[], Any]) -> Settled:
        """End a reservation once: the same request again gets the same answer."""
        async with held.lock:
            if held.ended is not None and held.ended[:2] == wanted:
                return held.ended[2]
            settled = _settled(await ending())
            held.ended = (*wanted, settled)
            return settled

    def _found(self, reservation_id: str) -> _Held:
        held = self._held.get(reservation_id)
        if held is None:
            raise InvalidRequest(
                f"reservation_id={reservation_id!r} is not held by this session: it was made elsewhere, or the session "
                "that made it ended, which released it; charge what was spent with `event`"
            )
        return held


def _levels(
    workspace: str | None, app: str | None, workflow: str | None, agent: str | None, toolset: str | None
) -> dict[str, Any]:
    """Return the levels that the agent names."""
    given = {"workspace": workspace, "app": app, "workflow": workflow, "agent": agent, "toolset": toolset}
    return {level: value for level, value in given.items() if value is not None}


def _moment(reservation: AsyncReservation) -> str | None:
    return None if reservation.expires_at is None else reservation.expires_at.isoformat(timespec="milliseconds")


def _reserved(name: str, reservation: AsyncReservation) -> Reserved:
    return {
        "reservation_id": name,
        "decision": str(reservation.decision),
        "reserved": money(reservation.reserved or reservation.estimate),
        "caps": None if reservation.caps is None else reservation.caps.to_dict(),
        "expires_at": _moment(reservation),
        "scope": reservation.scope_path,
    }


def _settled(settlement: Any) -> Settled:
    if settlement.error is not None and settlement.via != "release":
        raise settlement.error
    return {
        "state": str(settlement.state),
        "via": settlement.via,
        "charged": _money(settlement.charged),
        "uncovered": _money(settlement.uncovered),
        "released": _money(settlement.released),
        "balances": [_budget_row(balance) for balance in settlement.balances],
    }


def _reservation_row(row: Any) -> ReservationRow:
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
