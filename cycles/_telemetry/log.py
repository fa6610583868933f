"""The log: standard logging under `cycles.*`.

One DEBUG line for every decision, one WARNING for every anomaly, an ERROR where spend may go unrecorded. What the
program is told anyway, by an exception or in another line, is DEBUG. A line's facts are in its text and, each as
`cycles_<name>`, in the record's attributes (`extra`). Never a secret.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from cycles.amounts import spelled
from cycles_api.models.unit_enum import UnitEnum

if TYPE_CHECKING:
    from collections.abc import Mapping

_log: Final = logging.getLogger("cycles.guard")

_LEVELS: Final = {
    "reserved": logging.DEBUG,
    "denied": logging.DEBUG,
    "refused": logging.DEBUG,
    "committed": logging.DEBUG,
    "released": logging.DEBUG,
    "dry run": logging.DEBUG,
    "observing": logging.DEBUG,
    "renewed": logging.DEBUG,
    "decided": logging.DEBUG,
    "recorded": logging.DEBUG,
    "settlement failed": logging.ERROR,
    "settlement stopped": logging.ERROR,
    "settlement rejected": logging.ERROR,
    "journal failed": logging.ERROR,
    "journal unreadable": logging.ERROR,
    "record quarantined": logging.ERROR,
    "on_settlement failed": logging.ERROR,
    "actual failed": logging.ERROR,
    "on_error failed": logging.ERROR,
}
"""Levels by event; everything else is an anomaly, and a WARNING."""


_AMOUNTS: Final = ("estimate", "amount", "actual", "charged", "uncovered")
"""Facts that are amounts, in the `unit` of the same line."""


def notify(event: str, facts: Mapping[str, Any]) -> None:
    """Log *event* with its *facts*; the fact `is_told` says that whoever must know it is told otherwise."""
    level = logging.DEBUG if facts.get("is_told") else _LEVELS.get(event, logging.WARNING)
    if not _log.isEnabledFor(level):
        return
    said = {name: value for name, value in facts.items() if name != "is_told"}
    shown = " ".join(f"{name}={value}" for name, value in _for_people(said).items() if value is not None)
    extra = {f"cycles_{name}": value for name, value in said.items()}
    _log.log(level, "%s: %s", event, shown, extra={"cycles_event": event, **extra})


def _for_people(facts: dict[str, Any]) -> dict[str, Any]:
    """Return *facts* with dollars in place of microcents."""
    unit = facts.get("unit")
    if unit != UnitEnum.USD_MICROCENTS:
        return facts
    dollars = {name: spelled(unit, facts[name]) for name in _AMOUNTS if facts.get(name) is not None}
    return facts | dollars | {"unit": None}
