"""The event loop that an `AsyncClient` is used in: its connections and its background work belong to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cycles._background.schedule import in_trio

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from cycles._background.agenda import Job
    from cycles._drivers.world import World


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return asyncio's loop that runs in this thread, or None: there may be trio."""
    import asyncio  # noqa: PLC0415 - whoever calls this from a loop has loaded it

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class LoopHome:
    """The loop that one client was used in last.

    Args:
        keep: Puts a job on the schedule of the running loop.

    Attributes:
        loop: None before the first use, and in trio.
        has_begun: Whether the client has begun its work in that loop.
    """

    def __init__(self, keep: Callable[[Job, World], None]) -> None:
        self._keep: Final = keep
        self.loop: asyncio.AbstractEventLoop | None = None
        self.has_begun = False

    @property
    def is_elsewhere(self) -> bool:
        """Whether the loop runs in another thread at this moment."""
        return self.loop is not None and self.loop.is_running() and running_loop() is not self.loop

    @property
    def library(self) -> str:
        """What runs the code here: "asyncio", or "trio", whose loop is not remembered."""
        return "asyncio" if self.loop is not None and self.loop.is_running() else "trio"

    def enter(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make *loop* the client's."""
        self.loop, self.has_begun = loop, False

    def leave(self) -> None:
        """Forget the loop: in a fork its copy would say for ever that it runs."""
        self.loop = None

    def plan(self, job: Job, world: World) -> None:
        """Put *job* on the loop's schedule, from any thread: a dropped reservation may be collected in any."""
        if in_trio():
            self._keep(job, world)
            return
        if self.loop is None or self.loop.is_closed():
            return  # trio's own loop ended, or this one: a hold ends at its expiry, a charge waits for the exit
        if running_loop() is self.loop:
            self._keep(job, world)
        else:
            self.loop.call_soon_threadsafe(self._keep, job, world)
