"""The part of a `Guard` that says how its sections are settled: `actual=` and `unreported=`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles._core import section_flows
from cycles._core.requests import checked_actual
from cycles._outside.arrivals import arrived

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._core.effects import Flow
    from cycles._core.results import Settlement
    from cycles._core.section import Section
    from cycles._core.section_flows import Unreported
    from cycles_api.models.amount import Amount


class SettlementPolicy:
    """How sections that ended well are settled.

    Attributes:
        actual: Takes a section's result and gives what it really cost, or None.
        unreported: What happens when no actual is known.
    """

    __slots__ = ("actual", "unreported")

    def __init__(self, actual: Callable[[Any], Amount | None] | None, unreported: Unreported) -> None:
        self.actual: Final = actual
        self.unreported: Final[Unreported] = unreported

    def end(self, section: Section, result: Any) -> tuple[Flow[Settlement | None], BaseException | None]:
        """Return what the end of a section that ended well does, and the interrupt that goes on after it, if any."""
        actual, failed = self._measured(section, result)
        flow = section_flows.end(section, actual=actual, actual_failed=failed, unreported=self.unreported)
        is_own = failed is None or (isinstance(failed, Exception) and arrived(failed) is None)
        return flow, None if is_own else failed

    def _measured(self, section: Section, result: Any) -> tuple[Amount | None, BaseException | None]:
        """Return what `actual=` makes of *result*, or why it made nothing that can be committed, a Ctrl-C included."""
        if self.actual is None or not section.is_open:
            return None, None
        try:
            amount = self.actual(result)
            return (None if amount is None else checked_actual(amount, section.terms.estimate)), None
        except BaseException as error:  # noqa: BLE001 - the work was done: whatever fails here must not hide it
            return None, error
