# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class ExtendStatus(OpenStrEnum):
    """What an extension came to."""

    ACTIVE = "ACTIVE"


_KNOWN = {member.value: member for member in ExtendStatus}


def to_extend_status(value: str) -> ExtendStatus:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or ExtendStatus(value)
