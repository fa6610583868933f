"""What becomes of a spend, passed on to the program (`on_settlement`)."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Final

from cycles._outside.arrivals import arrived
from cycles._telemetry import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._core.results import SettlementDetails

    OnSettlement = Callable[[SettlementDetails], None]


class Teller:
    """Passes on what became of a spend, and asks for another attempt if it is pending.

    Worlds hold it, and the background holds worlds: it must not keep the client alive.
    """

    def __init__(self, on_settlement: OnSettlement | None, retry_later: Callable[[], None] | None = None) -> None:
        self._on_settlement: Final = on_settlement
        self._retry_later: Final = None if retry_later is None else weakref.WeakMethod(retry_later)

    def __call__(self, details: SettlementDetails) -> None:
        if self._on_settlement is not None:
            try:
                self._on_settlement(details)
            except Exception as error:  # it must not hide the section's own result
                if arrived(error) is not None:
                    self._ask_again(details)
                    raise
                log.notify("on_settlement failed", {"reason": repr(error)})
        if details.outcome == "pending":
            self._ask_again(details)

    def _ask_again(self, details: SettlementDetails) -> None:
        retry_later = None if self._retry_later is None else self._retry_later()
        if retry_later is not None and details.outcome == "pending" and not details.recovered:
            retry_later()
