"""The log: standard logging under `cycles.*`.

One DEBUG line for every decision, one WARNING for every anomaly, an ERROR where spend may go unrecorded. A line's
facts are in its text and, each as `cycles_<name>`, in the record's attributes (`extra`). Never a secret.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

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


def notify(event: str, facts: Mapping[str, Any]) -> None:
    """Log *event* with its *facts*."""
    level = _LEVELS.get(event, logging.WARNING)
    if not _log.isEnabledFor(level):
        return
    shown = " ".join(f"{name}={value}" for name, value in facts.items() if value is not None)
    extra = {f"cycles_{name}": value for name, value in facts.items()}
    _log.log(level, "%s: %s", event, shown, extra={"cycles_event": event, **extra})
