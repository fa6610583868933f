# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class ReservationStatus(OpenStrEnum):
    """State of a reservation."""

    ACTIVE = "ACTIVE"
    COMMITTED = "COMMITTED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"


_KNOWN = {member.value: member for member in ReservationStatus}


def to_reservation_status(value: str) -> ReservationStatus:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or ReservationStatus(value)
