# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class UnitEnum(OpenStrEnum):
    """What an amount counts. 1 USD is 10^8 USD_MICROCENTS. A lifecycle uses one unit; budgets are kept per unit."""

    USD_MICROCENTS = "USD_MICROCENTS"
    TOKENS = "TOKENS"
    CREDITS = "CREDITS"
    RISK_POINTS = "RISK_POINTS"


_KNOWN = {member.value: member for member in UnitEnum}


def to_unit_enum(value: str) -> UnitEnum:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or UnitEnum(value)
