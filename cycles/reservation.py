"""Reservations as users hold them: thin runners of the flows in `_core.section_flows`.

`Reservation` and `AsyncReservation` differ only in who performs the effects; every decision is in the core.
"""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from cycles._core import flows, section_flows
from cycles._core.effects import Notify
from cycles._core.lifecycle import State
from cycles._core.requests import MAX_TTL, milliseconds, text
from cycles._core.response_info import ResponseInfo
from cycles._drivers import aio, blocking
from cycles.amounts import describe
from cycles.errors import AlreadySettled, CyclesError, LeaseLost
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import timedelta

    from cycles._core.effects import Flow
    from cycles._core.results import Settlement
    from cycles._core.section import Section
    from cycles._drivers.world import World
    from cycles_api.models.amount import Amount
    from cycles_api.models.balance import Balance
    from cycles_api.models.caps import Caps
    from cycles_api.models.decision_enum import DecisionEnum
    from cycles_api.models.reservation_create_response import ReservationCreateResponse
    from cycles_api.models.standard_metrics import StandardMetrics

T = TypeVar("T")
H = TypeVar("H", bound="Reservation | AsyncReservation")

PATIENCE: Final = 5.0
"""Seconds that an interrupted section waits for its settlement."""

_LAST: Final = datetime.max.replace(tzinfo=UTC)

_current: Final[ContextVar[Reservation | AsyncReservation | None]] = ContextVar("cycles_current", default=None)


def current() -> Reservation | AsyncReservation | None:
    """Return the innermost live reservation of this task or thread, or None: one that is settled is none any more."""
    found = _current.get()
    while found is not None and found.settlement is not None:
        found = found._outer  # noqa: SLF001 - same module
    return found


@contextmanager
def entered(reservation: Reservation | AsyncReservation) -> Iterator[None]:
    """Make *reservation* the current one."""
    outer = _current.get()
    if outer is not reservation:
        reservation._outer = outer  # noqa: SLF001 - same module
    _current.set(reservation)
    inside = reservation._inside  # noqa: SLF001 - same module
    token = None if inside is None else inside.enter()
    try:
        yield
    finally:
        if inside is not None:
            inside.leave(token)
        # Not reset(token): a block may be left in another context than it was entered in (async fixtures do).
        _current.set(outer)


class Inside(Protocol):
    """What else is to be current while a section's own code runs: its span."""

    def enter(self) -> Any:
        """Make it current, and return what `leave` needs."""
        ...

    def leave(self, token: Any) -> None:
        """Make current again what was before."""
        ...


class Keeper(Protocol):
    """What sees to reservations that can't see to themselves any more: the client."""

    def give_back(self, section: Section) -> None:
        """Do what is left to do for a *section* that was dropped."""
        ...

    def retry_later(self) -> None:
        """Have the journal's records tried again in a while."""
        ...


class _View:
    """What both kinds of reservation show."""

    _outer: Reservation | AsyncReservation | None = None  # the one that was current where this became it
    _inside: Inside | None = None

    def __init__(
        self,
        section: Section,
        world: World,
        heartbeat: str,
        *,
        raise_on_unsettled: bool,
        keeper: Keeper | None = None,
    ) -> None:
        # It keeps the client, too: a lease must be renewed as long as somebody has the reservation.
        self._keeper: Final = keeper
        self._pid: Final = os.getpid()
        self._heartbeat: Final = heartbeat
        self._section: Final = section
        self._world: Final = world
        self._raise_on_unsettled: Final = raise_on_unsettled

    def __del__(self) -> None:
        section: Section | None = getattr(self, "_section", None)
        if section is None or self._is_inherited or not section_flows.dropped(section):
            return
        if self._keeper is not None:
            self._keeper.give_back(section)  # first: a filter may turn the warning into an error
        done = "nothing is charged, and its hold is given back"
        if section.provisional is not None:
            done = "what it reported is charged"
        message = f"{self!r} was dropped without commit or release; {done}"
        warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    @property
    def _is_inherited(self) -> bool:
        """Whether this is a forked child's copy: the section goes on in the parent, and ends there."""
        return os.getpid() != self._pid

    def _ends_here(self) -> bool:
        """Return whether the end of a block in this process has a section to end; tell, if that is another's."""
        if not self._section.is_open:
            return False
        if not self._is_inherited:
            return True
        self._world.perform(Notify("section of the parent process, left to it", reservation_id=self.id))
        return False

    def _see_to_it(self) -> None:
        """Have a settlement that was cut off tried again."""
        cut_off = self._section.state is State.UNSETTLED and self._section.settlement is None
        if cut_off and self._keeper is not None:
            self._keeper.retry_later()

    @property
    def _response(self) -> ReservationCreateResponse:
        return self._section.grant.response

    @property
    def id(self) -> str | None:
        """The authority's id, 1 to 128 characters; None for a dry run."""
        return self._section.reservation_id

    @property
    def decision(self) -> DecisionEnum:
        """ALLOW or ALLOW_WITH_CAPS; for a dry run also DENY, or what a newer authority says."""
        return self._response.decision

    @property
    def caps(self) -> Caps | None:
        """What the authority limits the section to, or None (protocol.md §6)."""
        return _present(self._response.caps)

    @property
    def is_capped(self) -> bool:
        """Whether the grant came with caps."""
        return self.caps is not None

    def allows_tool(self, name: str) -> bool:
        """Return whether the caps admit the tool *name* (case-sensitive; protocol.md §6)."""
        caps = self.caps
        if caps is None:
            return True
        if not isinstance(caps.tool_allowlist, Unset) and caps.tool_allowlist:
            return name in caps.tool_allowlist
        return isinstance(caps.tool_denylist, Unset) or name not in caps.tool_denylist

    @property
    def estimate(self) -> Amount:
        """What was asked for."""
        return self._section.terms.estimate

    @property
    def reserved(self) -> Amount | None:
        """What is held, or None when the authority did not say."""
        return _present(self._response.reserved)

    @property
    def affected_scopes(self) -> tuple[str, ...]:
        """The scope paths of the subject, widest first."""
        return tuple(self._response.affected_scopes)

    @property
    def scope_path(self) -> str | None:
        """The narrowest scope path, or None when the authority did not say."""
        return _present(self._response.scope_path)

    @property
    def balances(self) -> tuple[Balance, ...]:
        """The budgets as of the last answer that named them."""
        settlement = self._section.settlement
        if settlement is not None and settlement.balances:
            return settlement.balances
        return tuple(_present(self._response.balances) or ())

    @property
    def expires_at(self) -> datetime | None:
        """When the lease ends by the authority's clock (UTC), or None for a dry run."""
        if self._section.expires_at_ms is None:
            return None
        try:
            return datetime.fromtimestamp(self._section.expires_at_ms / 1000, UTC)
        except (ValueError, OverflowError, OSError):  # an int64 reaches beyond the year 9999
            return _LAST

    @property
    def state(self) -> State:
        """Where the reservation stands, as far as this client knows."""
        return self._section.state

    @property
    def settlement(self) -> Settlement | None:
        """How it ended, or None while it is open."""
        return self._section.settlement

    @property
    def settlement_error(self) -> CyclesError | None:
        """What went wrong at its end, or None."""
        return None if self._section.settlement is None else self._section.settlement.error

    def report(
        self,
        *,
        actual: Amount | None = None,
        metrics: StandardMetrics | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Set what the end of the section will commit; call it again as usage becomes known.

        What was reported survives the process: it is in the journal within a tenth of a second, and settled at the next
        start, with metadata `actual_source: "reported"`, should the section never end.

        Args:
            actual: What it has really cost so far, in the estimate's unit; the last report wins.
            metrics: The last report wins.
            metadata: JSON values; reports are merged, a later value wins.

        Raises:
            AlreadySettled: when it was committed or released before.
            InvalidRequest: naming the field, the value and the remedy.
            LeaseLost: it is kept, but the lease is lost and the client's `heartbeat` is cancel.
        """
        # Only local effects: nothing that an event loop would have to wait for.
        blocking.run(section_flows.report(self._section, actual, metrics, metadata), self._world)
        self._check_lease()

    @property
    def info(self) -> ResponseInfo:
        """What the headers of the answer that granted it said; those of its end are in `settlement.info`."""
        return ResponseInfo(self._section.grant.headers)

    @property
    def reason_code(self) -> str | None:
        """Why a dry run was denied, or None."""
        return _present(self._response.reason_code)

    def _conclude(self, settlement: Settlement | None) -> None:
        """Raise what the end of the section must raise about its *settlement*, if anything."""
        if settlement is not None:
            self._concluded(settlement, asked=False)

    def _concluded(self, settlement: Settlement, *, asked: bool) -> Settlement:
        error = section_flows.trouble_to_raise(settlement, asked=asked, raise_on_unsettled=self._raise_on_unsettled)
        if error is not None:
            raise error
        if self._heartbeat != "warn":
            self._raise_if_lost()
        return settlement

    def _check_lease(self) -> None:
        """Tell a running section that its lease is lost, where the policy is to cancel it."""
        if self._heartbeat == "cancel":
            self._raise_if_lost()

    def _raise_if_lost(self) -> None:
        if self._section.lease_lost:
            raise self._lost()

    def _lost(self) -> LeaseLost:
        return LeaseLost(
            f"the lease of reservation {self.id} was lost while its section was running; others may have been granted "
            "its budget meanwhile; ask for a longer ttl"
        )

    def _extension(self, seconds: float | timedelta) -> tuple[str, int]:
        if not self._section.is_open or self.id is None:
            raise AlreadySettled(f"can't extend: reservation {self.id} is {self.state}; nothing was sent")
        self._check_lease()
        return self.id, milliseconds("seconds", seconds, low=0.001, high=MAX_TTL)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id or 'without id'} {self.state} estimate {describe(self.estimate)}>"


def _present(value: T | Unset) -> T | None:
    return None if isinstance(value, Unset) else value


class Reservation(_View):
    """A hold on a budget, for blocking code.

    Made by `Client.reserve` or by entering a `Guard`. It is no payment: nothing is charged until it is committed.
    """

    def commit(
        self,
        actual: Amount,
        *,
        metrics: StandardMetrics | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Settlement:
        """Charge *actual* and give the rest back (protocol.md §9).

        Args:
            actual: What it really cost, in the estimate's unit, 0 or more.
            metrics: Usage figures to keep with it.
            metadata: JSON values to keep with it.

        Returns:
            How it ended: `charged` may be less than *actual* (protocol.md §7). Transport trouble is in `error`.

        Raises:
            AlreadySettled: when it was committed or released before; nothing is sent.
            InvalidRequest: when the amount or the metadata can't be sent; it stays open.
            AuthorityError, Denied: when the authority understood and refused.
        """
        settlement = self._settle(section_flows.commit(self._section, actual, metrics, metadata))
        assert settlement is not None  # noqa: S101 - types: only what is hurried is given up
        return self._concluded(settlement, asked=True)

    def _settle(self, flow: Flow[T], *, hurried: bool = False) -> T | None:
        """Run *flow*, for `PATIENCE` seconds at most when *hurried*; None when it had to be given up."""
        try:
            return blocking.run_within(flow, self._world, PATIENCE) if hurried else blocking.run(flow, self._world)
        finally:
            self._see_to_it()

    def release(self, reason: str | None = None) -> Settlement:
        """Give the whole hold back, as best it can; what can't be given back ends at its expiry.

        Args:
            reason: Kept by the authority, at most 256 characters.

        Raises:
            AlreadySettled: when it was committed or released before; nothing is sent.
        """
        return blocking.run(section_flows.release(self._section, _reason(reason)), self._world)

    def extend(self, seconds: float | timedelta) -> None:
        """Prolong the lease by *seconds* (0.001 to 86400) from its current expiry.

        Raises:
            AlreadySettled: when it was committed or released before; nothing is sent.
            AuthorityError, AuthorityUnavailable: when the authority refuses or can't be reached.
        """
        held, extend_by_ms = self._extension(seconds)
        response = blocking.run(flows.extend(held, extend_by_ms, self._section.policy), self._world)
        self._section.expires_at_ms = response.expires_at_ms


class AsyncReservation(_View):
    """A hold on a budget, for asynchronous code; see `Reservation`."""

    async def commit(
        self,
        actual: Amount,
        *,
        metrics: StandardMetrics | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Settlement:
        """Charge *actual* and give the rest back; see `Reservation.commit`."""
        settlement = await self._settle(section_flows.commit(self._section, actual, metrics, metadata))
        assert settlement is not None  # noqa: S101 - types: only what is hurried is given up
        return self._concluded(settlement, asked=True)

    async def _settle(self, flow: Flow[T], *, hurried: bool = False) -> T | None:
        """Run *flow* to its end, through a cancellation; see `Reservation._settle`."""
        try:
            return await aio.run_through(flow, self._world, patience=PATIENCE, hurried=hurried)
        finally:
            self._see_to_it()

    async def release(self, reason: str | None = None) -> Settlement:
        """Give the whole hold back, as best it can; see `Reservation.release`."""
        return await aio.run(section_flows.release(self._section, _reason(reason)), self._world)

    async def extend(self, seconds: float | timedelta) -> None:
        """Prolong the lease; see `Reservation.extend`."""
        held, extend_by_ms = self._extension(seconds)
        response = await aio.run(flows.extend(held, extend_by_ms, self._section.policy), self._world)
        self._section.expires_at_ms = response.expires_at_ms


def _reason(reason: str | None) -> str | None:
    return None if reason is None else text("reason", reason, most=256)


class Opened(Generic[H]):
    """A section that is running: its reservation, and its result once it has one."""

    __slots__ = ("reservation", "result")

    def __init__(self, reservation: H) -> None:
        self.reservation: Final = reservation
        self.result: Any = None

    @property
    def dry_run(self) -> DryRun | None:
        """What is returned instead of running, or None when it is to run."""
        return DryRun(self.reservation) if self.reservation.state is State.DRY_RUN else None


class DryRun:
    """What a decorated function returns under `dry_run=True`: it was not called, and nothing is held.

    Attributes:
        decision: ALLOW, ALLOW_WITH_CAPS or DENY.
        reason_code: Why not, or None.
        caps: What a grant would be limited to, or None.
        affected_scopes: The scope paths of the subject, widest first.
    """

    __slots__ = ("affected_scopes", "caps", "decision", "reason_code")

    def __init__(self, reservation: Reservation | AsyncReservation) -> None:
        self.decision: Final[DecisionEnum] = reservation.decision
        self.reason_code: Final[str | None] = reservation.reason_code
        self.caps: Final[Caps | None] = reservation.caps
        self.affected_scopes: Final[tuple[str, ...]] = reservation.affected_scopes

    def __repr__(self) -> str:
        reason = f" {self.reason_code}" if self.reason_code is not None else ""
        return f"<DryRun {self.decision}{reason}>"
