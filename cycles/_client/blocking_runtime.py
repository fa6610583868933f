"""What a `Client` has: its access to the authority, its threads' lanes, its heartbeats and its upkeep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from cycles._background.schedule import ThreadHeartbeats
from cycles._client import arguments
from cycles._client.access import Access
from cycles._client.evidence_desk import EvidenceDesk
from cycles._client.forks import reconnect_in_forks
from cycles._client.lanes import thread_lanes
from cycles._client.running_limit import drawn_on
from cycles._client.runtime import Runtime, claimed
from cycles._client.siblings import parent_of
from cycles._client.upkeep import Upkeep
from cycles._core.flows import Asking
from cycles._drivers import blocking
from cycles._drivers.readiness import get_ready
from cycles.errors import BudgetNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._client.checked import Checked
    from cycles._client.options import LimitOptions
    from cycles._client.running_limit import LimitOwner, RunningLimit
    from cycles._client.running_section import RunningSection
    from cycles._client.teller import OnSettlement
    from cycles._core.section import Section
    from cycles._drivers.world import World
    from cycles.config import Config
    from cycles_api.http import HttpClient
    from cycles_api.models.amount import Amount

H = TypeVar("H")


class BlockingRuntime(Runtime):
    """The working parts of one `Client`; its reservations keep it alive.

    Attributes:
        access: How it reaches its authority.
        evidence: What fetches and verifies evidence.
        heartbeats: The schedule that it shares with its siblings.
        upkeep: What it does in the background.
        world: The outside as its flows see it.
        on_settlement: Takes what became of each spend, or None.
    """

    def __init__(
        self, config: Config | None, http_client: HttpClient | None, on_settlement: OnSettlement | None
    ) -> None:
        parent = parent_of(BlockingRuntime)
        self.on_settlement: Final = on_settlement
        self.access = Access(config, http_client, parent=None if parent is None else parent.access)
        self.evidence: Final = EvidenceDesk(self.access, is_async=False)
        sends_by = self.access.connect(http_client)
        self._is_sibling: Final = parent is not None
        self.heartbeats: Final[ThreadHeartbeats] = (
            ThreadHeartbeats(blocks=sends_by is not None) if parent is None else parent.heartbeats
        )
        if parent is not None and not self.heartbeats.blocks:
            self.access.api.set_async_httpx_client(parent.access.api.get_async_httpx_client())
        self._needs: Final = () if self.heartbeats.blocks else (self.access.engine.name, "asyncio")
        keep = self.heartbeats.keep
        # While a blocking client is asked, no heartbeat can be sent.
        batch = 1 if self.heartbeats.blocks else 32
        self.upkeep = Upkeep(
            self.access, http_client, on_settlement, keep=keep, plan=keep, is_sibling=self._is_sibling, batch=batch
        )
        self.world: Final = self.upkeep.world
        if parent is not None:
            self.world.lanes = parent.world.lanes
        else:
            self._open_lanes()
        if self.access.is_pooled:
            reconnect_in_forks(self)
        self.upkeep.begin_recovery()

    def _open_lanes(self) -> None:
        if self.access.is_pooled:
            self.world.lanes = thread_lanes()

    def reconnect(self) -> object:
        """Make connections anew, in a forked child; return those that were left behind."""
        left = self.access.reconnect()
        self._open_lanes()  # those of the parent process may have been taken by its threads
        return left

    def traced(self) -> World:
        """Return the world of one piece of work.

        Raises:
            ConfigError: when the environment's proxies or certificates can't be used.
            InvalidRequest: when the client is closed.
        """
        self.access.open()
        return self.world.traced()

    def reserve(self, asked: Checked, made: Callable[[RunningSection], H]) -> tuple[RunningSection, H]:
        """Hold what is *asked* for; return the section that runs on it, and its reservation; see `Client.reserve`.

        What arrives from outside before the reservation is *made* leaves nothing behind that nobody has.
        """
        self.must_be_open("reserve")
        limit = None if asked.own else drawn_on(self.access, asked.terms)
        get_ready(*self._needs)
        world = self.traced() if limit is None else self.world  # inside a limit nothing is sent, as a rule
        asking = Asking()
        begun: Section | None = None
        try:
            begun = section = blocking.run(arguments.reserving(self.access, asked, limit, asking), world)
            if section.share is None:
                self.upkeep.renew(section, world)
            running = self.running(section, asked, limit, world)
            return running, claimed(made(running), asking, section)
        except BudgetNotFound as error:
            self.access.advise(error, asked.terms.estimate.unit)
            raise
        finally:
            self.after_asking(asking, limit, world, begun)

    def limit(self, amount: Amount, options: LimitOptions, owner: LimitOwner) -> RunningLimit:
        """Begin a limit of *amount* and return it; see `cycles.Limit`."""
        self.must_be_open("enter the limit")
        asking, world = Asking(), self.world.traced()
        limit, flow = arguments.limiting(self.access, amount, options, owner=owner, world=world, asking=asking)
        get_ready(*self._needs)
        try:
            blocking.run(flow, world)
            self.upkeep.keep_limit(limit, world)
        except BaseException as error:
            limit.give_up(self)
            if isinstance(error, BudgetNotFound):
                self.access.advise(error, amount.unit)
            raise
        finally:
            self.upkeep.find_and_give_back(asking)
        return limit

    def close(self) -> None:
        """Stop the background work, and close the connections that were made here."""
        self.upkeep.close()
        try:
            if not self._is_sibling:
                self.heartbeats.close(self.access.aclose())
        finally:
            self.access.close()
