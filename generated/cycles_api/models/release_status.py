# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class ReleaseStatus(OpenStrEnum):
    """What a release came to."""

    RELEASED = "RELEASED"


_KNOWN = {member.value: member for member in ReleaseStatus}


def to_release_status(value: str) -> ReleaseStatus:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or ReleaseStatus(value)
