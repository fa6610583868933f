# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class DecisionEnum(OpenStrEnum):
    """Whether the spend is allowed. An unknown decision is not an ALLOW."""

    ALLOW = "ALLOW"
    ALLOW_WITH_CAPS = "ALLOW_WITH_CAPS"
    DENY = "DENY"


_KNOWN = {member.value: member for member in DecisionEnum}


def to_decision_enum(value: str) -> DecisionEnum:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or DecisionEnum(value)
