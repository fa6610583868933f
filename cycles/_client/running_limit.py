"""A limit as it runs in this process: its account, what it covers, and how the code around a guard finds it.

A limit is one of the opened sections around the code that runs (`opened_section`), but nobody's current reservation.
Its numbers are this process's: a forked child has a copy, and does not draw on it.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cycles._client.opened_section import Opened, surrounding
from cycles._client.running_section import PATIENCE, leave_to_background, lost_lease
from cycles._core import limit_flows, section_flows
from cycles._core.effects import NewKey, Notify
from cycles._core.limits import Account
from cycles._drivers import aio, blocking
from cycles._outside.forks import renewed_in_forks
from cycles._telemetry import log
from cycles.amounts import check
from cycles.errors import InvalidRequest
from cycles_api.types import Unset

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from cycles._client.access import Access
    from cycles._client.running_section import Keeper
    from cycles._core.effects import Flow
    from cycles._core.flows import Asking
    from cycles._core.limit_flows import Reserve
    from cycles._core.requests import Terms
    from cycles._core.results import Settlement
    from cycles._core.section import Section
    from cycles._drivers.world import World
    from cycles.errors import LeaseLost, LimitNumbers
    from cycles_api.models.amount import Amount

_MANY: Final = 64
"""Tasks of ended sections that are kept before they are forgotten."""


class LimitOwner(NamedTuple):
    """Who shows the numbers of a limit, and hears of them.

    Attributes:
        limit: What `error.limit` is: a `cycles.limit.Limit`.
        tell: Tells the program that the limit is near, or reached; None when it does not want to know.
    """

    limit: LimitNumbers
    tell: Callable[[], None] | None


def checked_hold(hold: object, amount: Amount) -> int:
    """Return the size of a piece.

    Raises:
        InvalidRequest: when it is no amount above 0, or in another unit.
    """
    piece = check("hold", hold)
    if piece.unit != amount.unit or piece.amount <= 0:
        raise InvalidRequest(f"hold={hold!r}: give an amount above 0 in the limit's unit, {amount.unit}")
    return min(piece.amount, amount.amount) or 1


class RunningLimit:
    """One run of a `Limit`.

    Args:
        access: How its client reaches the authority.
        terms: What the whole of it would ask for.
        piece: How much it holds at a time; None for the whole.
        outer: The limit that it draws on, or None.
        owner: Who shows its numbers, and hears of them.
        world: What its flows run in.
        raise_on_unsettled: Whether its end raises when it stays unsettled.

    Attributes:
        account: Its numbers.
        tell: Tells the program that it is near, or reached; None when it does not want to know.
        settlements: How it ended, one for each of its reservations.
        pid: The process that it runs in.
    """

    def __init__(
        self,
        access: Access,
        terms: Terms,
        piece: int | None,
        outer: RunningLimit | None,
        *,
        owner: LimitOwner,
        world: World,
        raise_on_unsettled: bool,
    ) -> None:
        action = terms.action
        self.account: Final = Account(
            terms.estimate,
            lock=threading.RLock(),
            name=f"limit {action.kind}/{action.name}",
            owner=owner.limit,
            piece=piece,
            is_recorded=world.journal is not None or outer is not None,
        )
        self.outer: Final = outer
        self.tell: Final = owner.tell
        self.world: Final = world
        self.pid: Final = os.getpid()
        self.settlements: list[Settlement] = []
        self._access: Final = access
        self._terms: Final = terms
        self._raise_on_unsettled: Final = raise_on_unsettled
        self._is_disowned = False
        self._tasks: list[tuple[Section | None, asyncio.Task[Any]]] = []
        renewed_in_forks(self)

    def forked(self) -> None:
        """Begin with a lock of its own in a forked child: another thread of the parent may have held this one."""
        self.account.forked(threading.RLock())

    # -- what it covers ------------------------------------------------------------------------------------------------
    def covers(self, access: Access, terms: Terms) -> bool:
        """Return whether a section with *terms*, of a client with *access*, draws on this limit."""
        account, own = self.account, self._access
        tenant = terms.subject.tenant
        if account.is_closed or account.unit != terms.estimate.unit or self._terms.subject.tenant != tenant:
            return False
        if access is not own and not access.reaches_same(own, tenant=None if isinstance(tenant, Unset) else tenant):
            return False
        if os.getpid() == self.pid:
            return True
        if not self._is_disowned:
            self._is_disowned = True
            facts = {"limit": account.name, "reason": "guards in this process are reserved at the authority"}
            log.notify("limit of another process, not drawn on", facts)
        return False

    def reserving(self, asking: Asking, *, key: str | None = None, wait: float = 0.0) -> Reserve:
        """Return what makes the flow that reserves an amount for this limit: at the authority, or in the outer one."""
        return partial(self.reserve, asking, key, wait)

    def reserve(self, asking: Asking, key: str | None, wait: float, amount: Amount) -> Flow[Section]:
        """Return the flow that reserves *amount* for this limit; see `reserving`."""
        config, terms = self._access.config, self._terms.of(amount)

        def alone() -> Flow[Section]:
            unguarded = config.unavailable == "allow"
            reserving = section_flows.begin(terms, config.retry, key=key, wait=wait, unguarded=unguarded, asking=asking)
            return section_flows.claimed(reserving, asking)

        if self.outer is None:
            return alone()
        outer = self.outer
        return limit_flows.admit(outer.account, terms, config.retry, outer.reserving(asking), alone, wait=wait)

    # -- its leases ----------------------------------------------------------------------------------------------------
    @property
    def reservation_id(self) -> str | None:
        """The authority's id of its first hold that has one."""
        holds = self.account.holds
        first: Section | None = holds[0].section.leased if holds else None
        return None if first is None else first.reservation_id

    def watch(self, section: Section | None) -> None:
        """Cancel the running task when the lease is lost while *section* is open; None for the limit's own task."""
        import asyncio  # noqa: PLC0415 - whoever calls this from a loop has loaded it

        try:
            task = asyncio.current_task()
        except RuntimeError:  # trio has no way in from outside, nor has a thread: the next call says it
            return
        if task is None:
            return
        if len(self._tasks) >= _MANY:
            self._tasks = [(found, known) for found, known in self._tasks if found is None or found.is_open]
        self._tasks.append((section, task))
        if self.outer is not None:
            self.outer.watch(section)

    def cancel(self) -> None:
        """Cancel the tasks of the sections that are open, each once: the lease is lost."""
        running = {task for section, task in self._tasks if section is None or section.is_open}
        for task in running:
            reason = "the lease of its cycles limit is lost"
            task.get_loop().call_soon_threadsafe(partial(task.cancel, reason))

    # -- its end -------------------------------------------------------------------------------------------------------
    @property
    def is_inherited(self) -> bool:
        """Whether this is a forked child's copy: the limit goes on in the parent, and ends there."""
        return os.getpid() != self.pid

    @property
    def section(self) -> Section | None:
        """Its first reservation, for the span; None until it has a piece."""
        return self.account.holds[0].section if self.account.holds else None

    def tell_news(self) -> None:
        """Tell the program that the limit is near, or reached."""
        limit: RunningLimit | None = self
        while limit is not None:
            if limit.account.news and limit.account.take_news() and limit.tell is not None:
                limit.tell()
            limit = limit.outer

    def end(self, keeper: Keeper, *, hurried: bool = False) -> None:
        """Charge what was spent, for `PATIENCE` seconds at most when *hurried*."""
        if self._is_left_to_parent():
            return
        try:
            flow = self._ending()
            ended = blocking.run_within(flow, self.world, PATIENCE) if hurried else blocking.run(flow, self.world)
            self.settlements.extend(ended or ())
        finally:
            self._after_end(keeper)

    async def end_async(self, keeper: Keeper, *, hurried: bool = False) -> None:
        """Charge what was spent, through a cancellation; see `end`."""
        if self._is_left_to_parent():
            return
        try:
            ended = await aio.run_through(self._ending(), self.world, patience=PATIENCE, hurried=hurried)
            self.settlements.extend(ended or ())
        finally:
            self._after_end(keeper)

    def give_up(self, keeper: Keeper) -> None:
        """Leave to *keeper* what this holds already: something kept the run from beginning."""
        limit_flows.give_up(self.account)
        self._after_end(keeper)

    def _ending(self) -> Flow[list[Settlement]]:
        return limit_flows.end(self.account, self.world.perform(NewKey()))

    def _is_left_to_parent(self) -> bool:
        if self.is_inherited:
            self.world.perform(Notify("limit of the parent process, left to it", {"limit": self.account.name}))
            return True
        return False

    def _after_end(self, keeper: Keeper) -> None:
        self._tasks = []
        for hold in self.account.holds:
            leave_to_background(hold.section, keeper)
        if self.outer is not None:
            self.outer.tell_news()

    def lost(self) -> LeaseLost:
        """Return the error that says that its lease was lost."""
        return lost_lease(self.reservation_id)

    def conclude(self, policy: str) -> None:
        """Raise what its end must raise; *policy* says what a lost lease does."""
        for settlement in self.settlements:
            error = section_flows.trouble_to_raise(settlement, asked=False, raise_on_unsettled=self._raise_on_unsettled)
            if error is not None:
                raise error
        if policy != "warn" and self.account.is_lost:
            raise lost_lease(self.reservation_id)


class OpenedLimit(Opened[Any]):
    """A limit that was entered: around the code that runs, and nobody's reservation."""

    __slots__ = ("limit",)

    def __init__(self, limit: RunningLimit, owner: Any) -> None:
        super().__init__(limit, owner)  # type: ignore[arg-type]  # what is asked of `running` here, a limit has too
        self.limit: Final = limit

    @property
    def is_dry_run(self) -> bool:
        return False

    @property
    def is_over(self) -> bool:
        return True


def drawn_on(access: Access, terms: Terms) -> RunningLimit | None:
    """Return the innermost limit around the running code that covers *terms*, or None.

    Raises:
        LeaseLost: where that cancels sections, and the limit's own is lost.
    """
    found = surrounding()
    while found is not None:
        if isinstance(found, OpenedLimit) and found.limit.covers(access, terms):
            if access.config.heartbeat == "cancel" and found.limit.account.is_lost:
                raise found.limit.lost()
            return found.limit
        found = found.outer
    return None
