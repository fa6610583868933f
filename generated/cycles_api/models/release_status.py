# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class ReleaseStatus(OpenStrEnum):
    """What a release came to."""

    RELEASED = "RELEASED"
