"""What both clients have, blocking or asynchronous: the parts of a runtime that wait for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cycles._client.running_section import RunningSection
from cycles.errors import InvalidRequest

if TYPE_CHECKING:
    from cycles._client.access import Access
    from cycles._client.checked import Checked
    from cycles._client.running_limit import RunningLimit
    from cycles._client.upkeep import Upkeep
    from cycles._core.flows import Asking
    from cycles._core.section import Section
    from cycles._drivers.world import World

H = TypeVar("H")


def claimed(reservation: H, asking: Asking, section: Section) -> H:
    """Return *reservation*, which has *section* from now on: whoever drops it gives the hold back.

    Whoever reserves returns it at once, and keeps it in no variable. The traceback of an error that was caught
    meanwhile may keep that frame alive, and would keep a reservation that everybody else has dropped.
    """
    asking.claim(section.reservation_id)
    return reservation


class Runtime:
    """The working parts of one client.

    Attributes:
        access: How it reaches its authority.
        upkeep: What it does in the background.
    """

    access: Access
    upkeep: Upkeep

    def must_be_open(self, what: str) -> None:
        """Raise InvalidRequest when the client is closed; *what* is to be done before that."""
        if self.upkeep.is_closed:
            raise InvalidRequest(f"this client is closed: {what} before close(), or make another client")

    def after_asking(
        self, asking: Asking, limit: RunningLimit | None, world: World, section: Section | None = None
    ) -> None:
        """Do what is left after a reserve, however it went; *section* is what it gave."""
        if asking.unclaimed is not None:
            self.upkeep.find_and_give_back(asking)
        if limit is not None and limit.account.wants_upkeep:
            self.upkeep.keep_limit(limit, world, section)

    def running(self, section: Section, asked: Checked, limit: RunningLimit | None, world: World) -> RunningSection:
        """Return *section* as it runs with this client, on what was *asked*."""
        return RunningSection(section, world, self, asked, limit)

    # -- what sections leave to it -------------------------------------------------------------------------------------
    def give_back(self, section: Section) -> None:
        """Do what is left to do for a *section* that was dropped."""
        self.upkeep.give_back(section)

    def settle_later(self, section: Section) -> None:
        """Go on with the charge of *section*."""
        self.upkeep.settle_later(section)

    def release_later(self, section: Section) -> None:
        """Go on with giving back the hold of *section*."""
        self.upkeep.release_later(section)
