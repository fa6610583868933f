"""The reservations that a limit draws on, and which of them is charged what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Leased(Protocol):
    """A section that holds budget for a limit: `cycles._core.section.Section`."""

    details: Callable[[], Mapping[str, Any]] | None
    """Makes what the metadata of its reports says."""

    @property
    def reservation_id(self) -> str | None:
        """The authority's id of it."""
        ...

    @property
    def is_lost(self) -> bool:
        """Whether its lease was lost."""
        ...


class Hold:
    """One reservation that a limit draws on: its only one, or a piece.

    Attributes:
        section: The reservation.
        size: What it holds.
        assigned: What of the limit's spend is charged to it.
        recorded: What of that was put on record last.
    """

    __slots__ = ("assigned", "recorded", "section", "size")

    def __init__(self, section: Any, size: int) -> None:
        self.section: Final = section
        self.size: Final = size
        self.assigned = self.recorded = 0


def assign(holds: Sequence[Hold], spent: int) -> None:
    """Charge *spent* to *holds*, each up to its size, first ones first; what is over, to the last."""
    if len(holds) == 1:
        holds[0].assigned = spent
        return
    delta = spent - sum(hold.assigned for hold in holds)
    for hold in holds if delta > 0 else reversed(holds):
        step = min(delta, max(0, hold.size - hold.assigned)) if delta > 0 else max(delta, -hold.assigned)
        hold.assigned += step
        delta -= step
    if delta > 0 and holds:
        holds[-1].assigned += delta
