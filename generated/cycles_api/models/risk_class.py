# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class RiskClass(OpenStrEnum):
    """How much harm an action can do, least first."""

    READ_ONLY = "read_only"
    LOCAL_MUTATION = "local_mutation"
    SIDE_EFFECT = "side_effect"
    EXTERNAL_SIDE_EFFECT = "external_side_effect"
    HIGH_RISK = "high_risk"


_KNOWN = {member.value: member for member in RiskClass}


def to_risk_class(value: str) -> RiskClass:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or RiskClass(value)
