# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class ExtendStatus(OpenStrEnum):
    """What an extension came to."""

    ACTIVE = "ACTIVE"
