# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class EventStatus(OpenStrEnum):
    """What an event came to."""

    APPLIED = "APPLIED"


_KNOWN = {member.value: member for member in EventStatus}


def to_event_status(value: str) -> EventStatus:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or EventStatus(value)
