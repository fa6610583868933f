"""What a limit spent, by action, in a bounded size: a part of a charge's metadata."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    Tally = Mapping[tuple[str, str], tuple[int, int]]
    """Sections and what they spent, by the kind and name of their action; ("", "") is of all others."""

_MOST: Final = 20
"""Actions that are named, those that cost most first; the rest is one sum."""


def shown(tally: Tally, sections: int) -> dict[str, Any]:
    """Return *tally* as metadata.

    Args:
        tally: Of the sections that were charged.
        sections: How many were admitted, as `Limit.sections` says; those that gave all back are in no tally.
    """
    named = sorted(((key, count, amount) for key, (count, amount) in tally.items() if key != ("", "")), key=_cost)
    most, rest = named[:_MOST], named[_MOST:]
    found: dict[str, Any] = {
        "sections": sections,
        "actions": [{"kind": kind, "name": name, "count": n, "amount": cost} for (kind, name), n, cost in most],
    }
    count, amount = tally.get(("", ""), (0, 0))
    if rest or count:
        found["others"] = {
            "count": count + sum(count for _, count, _ in rest),
            "amount": amount + sum(amount for _, _, amount in rest),
        }
    return found


def _cost(row: tuple[tuple[str, str], int, int]) -> tuple[int, tuple[str, str]]:
    key, _, amount = row
    return -amount, key
