# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class JwkStatus(OpenStrEnum):
    """Advisory state of a key; keys are selected by their window, never by this."""

    ACTIVE = "active"
    RETIRED = "retired"


_KNOWN = {member.value: member for member in JwkStatus}


def to_jwk_status(value: str) -> JwkStatus:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or JwkStatus(value)
