"""What a client does in the background: it renews leases, settles its journal, and gives holds back.

All of it runs on the client's schedule (`_background.schedule`), whichever kind that is.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from cycles._background import exit_drain
from cycles._client.exit_world import exit_opener
from cycles._client.teller import Teller
from cycles._core import section_flows, shares
from cycles._core.effects import Forget, NewKey, Record
from cycles._core.flows import Asking
from cycles._core.jobs import Charge, GiveBack
from cycles._core.limit_flows import NextPiece
from cycles._core.renewal import Heart
from cycles._drivers.world import World
from cycles._journal.recovery import Recoverer
from cycles._journal.registry import journal_of
from cycles._telemetry import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._background.agenda import Job
    from cycles._client.access import Access
    from cycles._client.running_limit import RunningLimit
    from cycles._client.teller import OnSettlement
    from cycles._core.section import Section
    from cycles._journal.journal import Journal
    from cycles_api.http import AsyncHttpClient, HttpClient

    Plan = Callable[[Job, World], None]

LATER: Final = 1.0
"""Seconds after which the background goes on with a settlement that its section did not wait for any longer."""

_MOST_TOLD: Final = 64
"""Lengths of leases that a client calls too short, one line each; a program asks for the same few."""

_SETTLING_IN: Final = 1.0
"""Seconds until the background looks for a create whose fate is not known: it may still be on its way."""


class Upkeep:
    """The background work of one client.

    Args:
        access: The client's.
        http_client: What the client was given to send through, or None.
        on_settlement: Takes what became of each spend.
        keep: Puts a job on the schedule, from where the client is used.
        plan: The same from any thread: a dropped reservation may be collected in any.
        is_sibling: `with_options` made the client.
        batch: Records that recovery settles between two chances for heartbeats to be sent.

    Attributes:
        is_closed: Whether the client is closed.
        journal: The spend that is not settled yet; None when the journal is off.
        world: The outside as the client's flows see it.
    """

    def __init__(
        self,
        access: Access,
        http_client: HttpClient | AsyncHttpClient | None,
        on_settlement: OnSettlement | None,
        *,
        keep: Plan,
        plan: Plan,
        is_sibling: bool,
        batch: int = 32,
    ) -> None:
        config = access.config
        self.journal: Final[Journal | None] = journal_of(config, log.notify)
        self.world: Final = World(
            access.api,
            log.notify,
            journal=self.journal,
            tell=Teller(on_settlement, self.retry_later),
            seen=access.key_tenant.see,
            timeout=access.timeout,
        )
        self._access: Final = access
        self._config: Final = config
        self._keep: Final = keep
        self._plan_anywhere: Final = plan
        self._is_sibling: Final = is_sibling
        self._batch: Final = batch
        self._recoverer: Recoverer | None = None
        self._too_short: Final[set[int]] = set()
        self.is_closed = False
        given = None if access.shares_config else http_client
        self._exit_opener: Final = exit_opener(config, given, self.journal, on_settlement)
        if self.journal is not None:
            self.journal.must_be_ours()
            if config.unavailable == "allow":
                self.journal.check()
            exit_drain.remember(self.journal, config, self._exit_opener)

    # -- leases --------------------------------------------------------------------------------------------------------
    def renew(self, section: Section, world: World, on_lost: Callable[[], object] | None = None) -> None:
        """Renew the lease of *section* until it ends."""
        if section.reservation_id is not None and not section.terms.dry_run:
            on_beat = None if self.journal is None else self.journal.refresh
            heart = Heart(section, self._config.connect_timeout + self._config.read_timeout, on_lost, on_beat)
            if heart.is_too_short and heart.ttl_ms not in self._too_short and len(self._too_short) < _MOST_TOLD:
                self._too_short.add(heart.ttl_ms)
                facts = {"reservation_id": section.reservation_id, "left": heart.left, "needed": heart.needed}
                log.notify("lease too short to be renewed safely, ask for a longer ttl", facts)
            self._keep(heart, world)

    # -- limits --------------------------------------------------------------------------------------------------------
    def keep_limit(self, limit: RunningLimit, world: World, section: Section | None = None) -> None:
        """Do what is left after a reserve inside *limit*: keep new leases, ask for a piece ahead of need, tell news.

        What arrives from outside meanwhile comes out, and the *section* that was admitted does not run.
        """
        try:
            self._keep_limit(limit, world)
            limit.tell_news()
        except BaseException:
            if section is not None and section.share is not None:
                shares.drop(section, section.share)
            raise

    def _keep_limit(self, limit: RunningLimit, world: World) -> None:
        account = limit.account
        for hold in account.unkept():
            self.renew(hold.section, world, limit.cancel if self._config.heartbeat == "cancel" else None)
        piece = account.ahead()
        if piece is not None:
            asking = Asking()

            def taken() -> None:
                self.find_and_give_back(asking)
                self.keep_limit(limit, world)

            job = NextPiece(account, piece, limit.reserving(asking), taken, due=time.monotonic())
            if self.is_closed:
                account.unasked(piece)
            else:
                self._plan_anywhere(job, world)

    # -- holds that nobody has -----------------------------------------------------------------------------------------
    def find_and_give_back(self, asking: Asking) -> None:
        """Find and release the hold that a failed or interrupted reserve may have left."""
        if asking.unclaimed is not None:
            due = time.monotonic() + _SETTLING_IN
            self._plan(GiveBack(self._config.retry, key=asking.unclaimed, due=due))

    def give_back(self, section: Section) -> None:
        """Charge what a dropped *section* reported, else release its hold."""
        if section.provisional is not None:
            charge = Charge(section.provisional, self._config.retry, due=time.monotonic())
            self._owe(charge)  # with a journal, too: its record is a report's, which this process leaves alone
            self._plan(charge)
        else:
            held = section.reservation_id
            self._plan(GiveBack(self._config.retry, reservation_id=held, due=time.monotonic()))

    # -- ends that nobody waits for any longer -------------------------------------------------------------------------
    def settle_later(self, section: Section) -> None:
        """Go on with the charge of *section*; at the program's exit too, when no journal can hold it.

        Its end may have been cut off before it was on record, and this background may end with its event loop.
        """
        if section.owed is None and section.settlement is None:  # cut off at once
            section_flows.decide_charge(section, self.world.perform(NewKey()))
        if section.owed is not None:
            charge = Charge(section.owed, self._config.retry, due=time.monotonic() + LATER)
            if not self.world.perform(Record(section.owed)):
                self._owe(charge)
            self._plan(charge)

    def _owe(self, charge: Charge) -> None:
        exit_drain.owe(charge, self._config, self._exit_opener, self._access.creditor)

    def owed(self) -> list[Charge]:
        """Return what no journal holds, of all clients of this process that spend for the same principal."""
        return exit_drain.owed_to(self._access.creditor)

    def release_later(self, section: Section) -> None:
        """Go on with giving back the hold of *section*; its end may have been cut off before its record was dropped."""
        if section.provisional is not None:
            self.world.perform(Forget(section.provisional))
        held = section.reservation_id
        if held is not None:
            self._plan(GiveBack(self._config.retry, reservation_id=held, due=time.monotonic() + LATER))

    def _plan(self, job: Job) -> None:
        if not self.is_closed:
            self._plan_anywhere(job, self.world)

    # -- the journal ---------------------------------------------------------------------------------------------------
    def begin_recovery(self) -> None:
        """Settle in the background what was found in the journal.

        One client made by `with_options` is enough for that: a program may make one for each request. What was planned
        in an event loop that ended has ended with it.
        """
        self._recoverer = None
        journal = self.journal
        if journal is not None and not (self._is_sibling and journal.was_visited) and journal.names():
            journal.was_visited = True
            journal.keep()
            self.recover()

    def retry_later(self) -> None:
        """Settle in a while what the journal holds then."""
        if self._config.retry_enabled:
            self.recover(delay=min(self._config.retry_max_delay, LATER))

    def recover(self, *, delay: float = 0.0) -> None:
        """Settle in the background what the journal holds, unless that is under way already."""
        running = self._recoverer
        if running is not None and running.pid == os.getpid():
            running.ask()
            if running.is_needed:
                return
        if self.is_closed or self.journal is None:
            return
        self._recoverer = Recoverer(
            self.journal, self._config.retry, repeats=self._config.retry_enabled, delay=delay, batch=self._batch
        )
        self._keep(self._recoverer, self.world)

    def close(self) -> None:
        """Begin nothing more."""
        self.is_closed = True
