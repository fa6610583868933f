"""The error of a broken invariant, and the check that raises it. They know nothing of what they check."""

from __future__ import annotations

from typing import Final


class Broken(AssertionError):
    """An invariant does not hold.

    Attributes:
        invariant: In words.
        detail: What was seen instead.
    """

    def __init__(self, invariant: str, detail: object) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant: Final = invariant
        self.detail: Final = detail


def must(holds: bool, invariant: str, detail: object) -> None:  # noqa: FBT001 - reads as a sentence
    """Raise `Broken` unless *invariant* holds."""
    if not holds:
        raise Broken(invariant, detail)
