"""What the MCP server of `cycles mcp` does for an agent: questions, reservations that it holds, and charges.

Nothing here knows MCP but the shapes of answers: `mcp_server` registers each method as a tool. Annotations are read
when the tools are registered, so they are no strings here.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from cycles.client import AsyncClient
from cycles.errors import InvalidRequest
from cycles.integrations._budget_answers import (
    Balances,
    DecisionAnswer,
    Extended,
    Reservations,
    Reserved,
    Settled,
    Unit,
    amount_of,
    budget_row,
    moment,
    reservation_row,
    reserved,
    settled,
)
from cycles.reservation import AsyncReservation
from cycles_api.models.reservation_status import ReservationStatus

MOST_ROWS: Final = 100

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
        return {"balances": [budget_row(row) for row in rows], "more": more}

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
        return {"reservations": [reservation_row(row) for row in rows], "more": more}

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
        return reserved(held.name, held.reservation)

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
        return {"reservation_id": reservation_id, "expires_at": moment(held.reservation)}

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
        return settled(settlement)

    async def _end(self, held: _Held, wanted: tuple[str, Any], ending: Callable[[], Any]) -> Settled:
        """End a reservation once: the same request again gets the same answer."""
        async with held.lock:
            if held.ended is not None and held.ended[:2] == wanted:
                return held.ended[2]
            answer = settled(await ending())
            held.ended = (*wanted, answer)
            return answer

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
