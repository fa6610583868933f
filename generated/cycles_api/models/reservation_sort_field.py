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
