# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class ObserveMode(OpenStrEnum):
    """Whether a reserve holds anything (ENFORCE, DISABLED) or is only evaluated (OBSERVE)."""

    DISABLED = "DISABLED"
    OBSERVE = "OBSERVE"
    ENFORCE = "ENFORCE"


_KNOWN = {member.value: member for member in ObserveMode}


def to_observe_mode(value: str) -> ObserveMode:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or ObserveMode(value)
