# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class JwkStatus(OpenStrEnum):
    """Advisory state of a key; keys are selected by their window, never by this."""

    ACTIVE = "active"
    RETIRED = "retired"
