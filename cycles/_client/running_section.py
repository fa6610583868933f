"""A section as it runs in this process: what a `Reservation`, the `Guard` that opened it and its span all have."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from cycles._core import section_flows, shares
from cycles._core.effects import Notify
from cycles._core.lifecycle import NOTHING_HELD, State
from cycles._core.requests import MAX_TTL, milliseconds
from cycles._drivers import aio, blocking
from cycles.errors import AlreadySettled, InvalidRequest, LeaseLost

if TYPE_CHECKING:
    from datetime import timedelta
    from types import TracebackType

    from cycles._client.checked import Checked
    from cycles._core.effects import Flow
    from cycles._core.results import Settlement
    from cycles._core.section import Section
    from cycles._drivers.world import World

T = TypeVar("T")

PATIENCE: Final = 5.0
"""Seconds that an interrupted section waits for its settlement."""


class Keeper(Protocol):
    """What takes over from reservations that can't act any more: the client's runtime."""

    def give_back(self, section: Section) -> None:
        """Do what is left to do for a *section* that was dropped."""
        ...

    def settle_later(self, section: Section) -> None:
        """Go on with the charge of *section*."""
        ...

    def release_later(self, section: Section) -> None:
        """Go on with giving back the hold of *section*."""
        ...


class Listener(Protocol):
    """What is told when the section has ended: the limit that it draws on."""

    @property
    def pid(self) -> int:
        """The process that it runs in."""
        ...

    def tell_news(self) -> None:
        """Tell the program what it must know of the limit's numbers."""
        ...


def lost_lease(reservation_id: str | None) -> LeaseLost:
    """Return the error that says that a lease was lost."""
    return LeaseLost(
        f"the lease of reservation {reservation_id} was lost while its section was running; others "
        "may have been granted its budget meanwhile; ask for a longer ttl"
    )


def leave_to_background(section: Section, keeper: Keeper) -> bool:
    """Leave to *keeper* what the end of *section* did not finish; return whether there was anything."""
    ended, is_left = section.settlement, False
    if section.state is State.UNSETTLED:
        is_left = ended is None or (ended.goes_on and not ended.is_kept)
        if is_left:
            keeper.settle_later(section)
    elif section.state is State.RELEASED and section_flows.has_something(section):
        is_charged = section.is_dropped and section.provisional is not None
        is_left = not is_charged and (ended is None or (ended.error is not None and ended.error.is_retryable))
        if is_left:
            keeper.release_later(section)
    return is_left


class RunningSection:
    """A section and what it runs with.

    As a block it leaves to the background what the end of the section, inside, did not finish or was cut off in.

    Attributes:
        section: What was granted, what was reported, and where it stands.
        world: What its flows run in.
        pid: The process that it runs in. A fork has a copy, and leaves its end to the parent.
        keeper: The client's runtime; kept alive, for a lease must be renewed as long as somebody has the reservation.
        limit: What the section draws on, if that is a limit.
    """

    __slots__ = ("_asked", "_is_left", "keeper", "limit", "pid", "section", "world")

    def __init__(
        self,
        section: Section,
        world: World,
        keeper: Keeper,
        asked: Checked,
        limit: Listener | None,
    ) -> None:
        self.limit: Final = limit
        self.section: Final = section
        self.world: Final = world
        self.keeper: Final = keeper
        self.pid = os.getpid() if limit is None else limit.pid  # nobody draws on another process's limit
        self._asked: Final = asked
        self._is_left = False

    @property
    def is_inherited(self) -> bool:
        """Whether this is a forked child's copy: the section goes on in the parent, and ends there."""
        return os.getpid() != self.pid

    def ends_here(self) -> bool:
        """Return whether the end of a block in this process has a section to end; log it if that is the parent's."""
        if not self.section.is_open:
            return False
        if os.getpid() == self.pid:
            return True
        facts = {"reservation_id": self.section.reservation_id}
        self.world.perform(Notify("section of the parent process, left to it", facts))
        return False

    def must_be_here(self, wanted: str) -> None:
        """Refuse what only the process that opened the section can do: its records, and the numbers of its limit.

        Raises:
            InvalidRequest: in a forked child.
        """
        is_local = wanted == "report" or self.section.share is not None
        if is_local and self.is_inherited and self.section.state not in NOTHING_HELD:
            raise InvalidRequest(
                f"can't {wanted}: reservation {self.section.reservation_id or 'inside a limit'} belongs to the process "
                f"that forked this one; send what was spent there, and {wanted} it there, or guard the work here"
            )

    def drop(self) -> bool:
        """Leave the section to the background, for nobody has it any more; return whether anything is left to do."""
        if self.is_inherited:
            return False
        share = self.section.share
        if share is not None and shares.drop(self.section, share):
            return True
        if not section_flows.dropped(self.section):
            return False
        self.keeper.give_back(self.section)
        return True

    # -- settling ------------------------------------------------------------------------------------------------------
    def settle(self, flow: Flow[T], *, hurried: bool = False) -> T | None:
        """Run *flow*, for `PATIENCE` seconds at most when *hurried*; return None when it had to be given up.

        The flow itself waits for the authority no longer than the client's `settle_wait`.
        """
        with self:
            return blocking.run_within(flow, self.world, PATIENCE) if hurried else blocking.run(flow, self.world)

    async def settle_async(self, flow: Flow[T], *, hurried: bool = False) -> T | None:
        """Run *flow* to its end, through a cancellation; see `settle`."""
        with self:
            if self.section.share is not None:
                # What a limit charges needs no waiting, and no task of its own.
                return await aio.run_at_once(flow, self.world, patience=PATIENCE, hurried=hurried)
            return await aio.run_through(flow, self.world, patience=PATIENCE, hurried=hurried)

    async def release_async(self, flow: Flow[Settlement]) -> Settlement:
        """Run *flow*, which a cancellation ends: the background goes on with it."""
        with self:
            return await aio.run(flow, self.world)

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, AlreadySettled):
            return  # whoever settles it sees to that
        settlement = self.section.settlement
        is_done = settlement is not None and settlement.error is None
        if not is_done and not self._is_left and not self.is_inherited:
            self._is_left = leave_to_background(self.section, self.keeper)
        if self.limit is not None:  # last: what arrives from outside meanwhile comes out of it
            self.limit.tell_news()

    def conclude(self, settlement: Settlement, *, asked: bool) -> Settlement:
        """Return *settlement*, or raise what it must raise; *asked* is whether the caller asked for this commit."""
        if settlement.error is not None:
            policy = self._asked.raise_on_unsettled
            error = section_flows.trouble_to_raise(settlement, asked=asked, raise_on_unsettled=policy)
            if error is not None:
                raise error
        if self._asked.lease_policy != "warn":
            self._raise_if_lost()
        return settlement

    # -- the lease -----------------------------------------------------------------------------------------------------
    def check_lease(self) -> None:
        """Raise LeaseLost in a running section whose lease is lost, where the policy is to cancel it."""
        if self._asked.lease_policy == "cancel":
            self._raise_if_lost()

    @property
    def is_cancelled(self) -> bool:
        """Whether the lost lease cancels the section."""
        return self._asked.lease_policy == "cancel" and self.section.is_lost

    def lost(self) -> LeaseLost:
        """Return the error that says so."""
        return lost_lease(self.section.leased.reservation_id)

    def extension(self, seconds: float | timedelta) -> tuple[Section, str | None, int]:
        """Return the section that has the lease, the id of its hold, and the milliseconds to extend it by.

        There is no id where an authority only observes.

        Raises:
            AlreadySettled: when it was committed or released before.
            InvalidRequest: when *seconds* is no duration from 0.001 to 86400.
            LeaseLost: where the policy is to cancel the section.
        """
        leased = self.section.leased
        held = leased.reservation_id
        over = next((section for section in (self.section, leased) if not section.is_open), None)
        if State.OBSERVED in (self.section.state, leased.state):
            return leased, None, milliseconds("seconds", seconds, low=0.001, high=MAX_TTL)
        if over is not None or held is None:
            state = (over or leased).state
            raise AlreadySettled(f"can't extend: reservation {held} is {state}; nothing was sent")
        self.check_lease()
        return leased, held, milliseconds("seconds", seconds, low=0.001, high=MAX_TTL)

    def _raise_if_lost(self) -> None:
        if self.section.is_lost:
            raise self.lost()
