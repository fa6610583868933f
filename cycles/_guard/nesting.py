"""Guards inside guards: each holds its own estimate, and that is said once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles._client.opened_section import innermost
from cycles._core.effects import Notify

if TYPE_CHECKING:
    from cycles._client.opened_section import Opened
    from cycles._core.section import Section

_MOST: Final = 64
"""Pairs of actions that are remembered, and so said: names may be made for each call."""

_said: Final[dict[tuple[str, str], object]] = {}


def say_once(opened: Opened[Any]) -> None:
    """Log that *opened* begins inside an open section that holds the same money, once for each pair of actions."""
    around = innermost()
    if around is None:
        return
    outer, inner = around.running.section, opened.running.section
    if not _holds(outer) or not _holds(inner) or _purse(outer) != _purse(inner):
        return
    pair, mark = (_name(outer), _name(inner)), object()
    if len(_said) >= _MOST or _said.setdefault(pair, mark) is not mark:
        return
    facts = {
        "outer": pair[0],
        "inner": pair[1],
        "reservation_id": inner.reservation_id,
        "reason": "what the inner one spends is charged twice if the outer one's actual includes it",
        "remedy": "let the inner one draw on a cycles.Limit, or guard only where the money is spent",
    }
    opened.running.world.perform(Notify("guard inside a guard, both are held", facts))


def _holds(section: Section) -> bool:
    return section.is_open and section.reservation_id is not None


def _purse(section: Section) -> tuple[object, object]:
    return section.terms.estimate.unit, section.terms.subject.tenant


def _name(section: Section) -> str:
    return f"{section.terms.action.kind} {section.terms.action.name}"
