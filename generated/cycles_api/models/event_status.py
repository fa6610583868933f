# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class EventStatus(OpenStrEnum):
    """What an event came to."""

    APPLIED = "APPLIED"
