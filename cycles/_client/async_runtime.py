"""What an `AsyncClient` has: its access to the authority, its event loop, lanes, heartbeats and upkeep."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from cycles._background.schedule import LoopHeartbeats, in_trio
from cycles._client import arguments
from cycles._client.access import Access
from cycles._client.evidence_desk import EvidenceDesk
from cycles._client.forks import reconnect_in_forks
from cycles._client.lanes import LoopLanes
from cycles._client.loop_home import LoopHome, running_loop
from cycles._client.running_limit import drawn_on
from cycles._client.runtime import Runtime, claimed
from cycles._client.siblings import parent_of
from cycles._client.upkeep import Upkeep
from cycles._core.flows import Asking
from cycles._drivers import aio
from cycles._drivers.libraries import library
from cycles._drivers.readiness import get_ready
from cycles._outside.extras import install
from cycles.errors import BudgetNotFound, ConfigError

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
    from cycles_api.http import AsyncHttpClient
    from cycles_api.models.amount import Amount

H = TypeVar("H")


class AsyncRuntime(Runtime):
    """The working parts of one `AsyncClient`; its reservations keep it alive.

    Attributes:
        access: How it reaches its authority.
        evidence: What fetches and verifies evidence.
        home: The event loop that its connections belong to.
        heartbeats: The schedule that it shares with its siblings.
        lanes: Those that it shares with its siblings.
        upkeep: What it does in the background.
        world: The outside as its flows see it.
        on_settlement: Takes what became of each spend, or None.
    """

    def __init__(
        self, config: Config | None, http_client: AsyncHttpClient | None, on_settlement: OnSettlement | None
    ) -> None:
        parent = parent_of(AsyncRuntime)
        above = None if parent is None else parent.access
        self.on_settlement: Final = on_settlement
        self.access = Access(config, http_client, parent=above, async_factory=_async_factory)
        self.evidence: Final = EvidenceDesk(self.access, is_async=True)
        self.access.connect_async(http_client)
        self._is_sibling: Final = parent is not None
        self.lanes: Final[LoopLanes] = LoopLanes(self.access.config.http_engine) if parent is None else parent.lanes
        self.heartbeats: Final[LoopHeartbeats] = (
            LoopHeartbeats(self.lanes.width) if parent is None else parent.heartbeats
        )
        self.home: Final = LoopHome(self.heartbeats.keep)
        keep, plan = self.heartbeats.keep, self.home.plan
        self.upkeep = Upkeep(self.access, http_client, on_settlement, keep=keep, plan=plan, is_sibling=self._is_sibling)
        self.world: Final = self.upkeep.world
        if self.access.is_pooled:
            reconnect_in_forks(self)

    @property
    def is_elsewhere(self) -> bool:
        """Whether its connections belong to an event loop that runs in another thread at this moment."""
        return self.access.is_pooled and self.home.is_elsewhere

    def reconnect(self) -> object:
        """Make connections anew, in a forked child or another loop; return those that were left behind."""
        self.home.leave()
        return self.access.reconnect()

    def traced(self) -> World:
        """Return the world of one piece of work.

        Raises:
            ConfigError, InvalidRequest: see `enter_loop`.
        """
        self.enter_loop()
        return self.world.traced()

    def enter_loop(self) -> None:
        """Be in the running loop: connections of a loop that ended can't be used in the next one.

        Raises:
            ConfigError: when the environment's proxies or certificates can't be used, or the client is in use
                elsewhere.
            InvalidRequest: when the client is closed.
        """
        loop = running_loop()
        # trio's connections outlive a run; without any loop, it is for a list that is iterated later.
        if loop is None and not in_trio():
            return
        if loop is not self.home.loop and loop is not None:
            if self.is_elsewhere:
                raise ConfigError(
                    "this AsyncClient is in use in the event loop of another thread, and its connections are that "
                    "loop's: make a client for each loop that runs at the same time"
                )
            if self.home.loop is not None and self.access.is_pooled:
                self.reconnect()
            self.home.enter(loop)
        self.access.open_async()
        if not self.home.has_begun:
            if self.access.is_pooled:
                self.world.gate = self.lanes.gate(loop)
            self.home.has_begun = True
            self.upkeep.begin_recovery()

    async def reserve(self, asked: Checked, made: Callable[[RunningSection], H]) -> tuple[RunningSection, H]:
        """Hold what is *asked* for; see `BlockingRuntime.reserve`."""
        self.must_be_open("reserve")
        limit = None if asked.own else drawn_on(self.access, asked.terms)
        self.enter_loop()
        get_ready(self.access.engine.name, self.home.library)
        world = self.world.traced() if limit is None else self.world  # inside a limit nothing is sent, as a rule
        asking = Asking()
        begun: Section | None = None
        try:
            begun = section = await aio.run(arguments.reserving(self.access, asked, limit, asking), world)
            cancels = self.access.config.heartbeat == "cancel"
            if section.share is None:
                self.upkeep.renew(section, world, _cancel_this_task() if cancels else None)
            elif limit is not None and cancels:
                limit.watch(section)
            running = self.running(section, asked, limit, world)
            return running, claimed(made(running), asking, section)
        except BudgetNotFound as error:
            self.access.advise(error, asked.terms.estimate.unit)
            raise
        finally:
            self.after_asking(asking, limit, world, begun)

    async def limit(self, amount: Amount, options: LimitOptions, owner: LimitOwner) -> RunningLimit:
        """Begin a limit of *amount* and return it; see `cycles.Limit`."""
        self.must_be_open("enter the limit")
        asking, world = Asking(), self.traced()
        limit, flow = arguments.limiting(self.access, amount, options, owner=owner, world=world, asking=asking)
        get_ready(self.access.engine.name, self.home.library)
        try:
            await aio.run(flow, world)
            self.upkeep.keep_limit(limit, world)
        except BaseException as error:
            limit.give_up(self)
            if isinstance(error, BudgetNotFound):
                self.access.advise(error, amount.unit)
            raise
        finally:
            self.upkeep.find_and_give_back(asking)
        if self.access.config.heartbeat == "cancel":
            limit.watch(None)
        return limit

    async def close(self) -> None:
        """Stop the background work, and close the connections that were made here."""
        self.upkeep.close()
        if not self._is_sibling:
            self.heartbeats.close()
        await self.access.aclose()

    @property
    def has_no_loop(self) -> bool:
        """Whether no asyncio loop is open in which it was used."""
        return self.home.loop is None or self.home.loop.is_closed()

    def end(self) -> None:
        """Stop the background work, where its loop has ended: that has closed the connections."""
        self.upkeep.close()
        self.access.end()


def _async_factory(config: Config) -> Callable[..., AsyncHttpClient]:
    """Return what makes the http client of the configured engine."""
    if config.http_engine != "aiohttp":
        return library(config.http_engine).async_client
    try:
        from cycles._drivers.aiohttp_engine import quick_client  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as missing:
        raise ConfigError(
            f"http_engine='aiohttp' needs an extra ({missing.name} is not installed): "
            f"{install('fast')}, or set it to httpx"
        ) from None
    return quick_client


def _cancel_this_task() -> Callable[[], object] | None:
    """Return what cancels the running task, whose section lost its lease; None where that can't be done."""
    import asyncio  # noqa: PLC0415 - whoever calls this from a loop has loaded it

    try:
        task = asyncio.current_task()
    except RuntimeError:  # trio has no way in from outside: the next call on the reservation says it
        return None
    return None if task is None else partial(task.cancel, "the lease of its cycles reservation is lost")
