# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class ReservationSortField(OpenStrEnum):
    """Field to sort reservations by."""

    RESERVATION_ID = "reservation_id"
    TENANT = "tenant"
    SCOPE_PATH = "scope_path"
    STATUS = "status"
    RESERVED = "reserved"
    CREATED_AT_MS = "created_at_ms"
    EXPIRES_AT_MS = "expires_at_ms"


_KNOWN = {member.value: member for member in ReservationSortField}


def to_reservation_sort_field(value: str) -> ReservationSortField:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or ReservationSortField(value)
