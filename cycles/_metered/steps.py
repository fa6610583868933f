"""How many further steps an authority's grants allow (docs/protocol.md, Caps): each metered request is one."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from cycles.errors import Denied

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

_MANY: Final = 1024
"""Purses that are remembered."""


class _Counted:
    """What remains since one number was told; of threads that take at once, each takes a step of its own."""

    __slots__ = ("_allowed", "_taken", "left", "told")

    def __init__(self, told: int, allowed: int) -> None:
        self.told: Final = told
        self.left = allowed
        self._allowed: Final = allowed
        self._taken: Final[Iterator[int]] = count(1)

    def take(self) -> bool:
        taken = next(self._taken)
        self.left = max(0, self._allowed - taken)
        return taken <= self._allowed


class Steps:
    """Counts the steps that were taken since the authority last said how many remain, for each purse by itself.

    An authority that counts by itself says a smaller number each time. One that always says the same number is
    counted for here. A larger number begins anew.
    """

    def __init__(self) -> None:
        self._purses: Final[dict[Hashable, _Counted]] = {}

    def take(self, purse: Hashable, told: int) -> None:
        """Take one of the *told* steps.

        Raises:
            Denied: when none remains.
        """
        counted = self._purses.get(purse)
        if counted is None:
            self._make_room()
            counted = self._purses.setdefault(purse, _Counted(told, told))  # threads that race here get the same one
        if counted.told != told:  # by an authority that counts by itself
            counted = _Counted(told, told if told > counted.told else min(told, counted.left))
            self._purses[purse] = counted
        if not counted.take():
            raise Denied(
                f"no step remains: the authority allowed {told} (caps.max_steps_remaining)",
                code="MAX_STEPS_REMAINING",
                details={"max_steps_remaining": told},
            )

    def _make_room(self) -> None:
        if len(self._purses) >= _MANY:
            for oldest in list(self._purses)[:1]:
                self._purses.pop(oldest, None)
