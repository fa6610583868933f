# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class UnitEnum(OpenStrEnum):
    """What an amount counts. 1 USD is 10^8 USD_MICROCENTS. A lifecycle uses one unit; budgets are kept per unit."""

    USD_MICROCENTS = "USD_MICROCENTS"
    TOKENS = "TOKENS"
    CREDITS = "CREDITS"
    RISK_POINTS = "RISK_POINTS"
