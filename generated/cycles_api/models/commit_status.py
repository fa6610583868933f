# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class CommitStatus(OpenStrEnum):
    """What a commit came to."""

    COMMITTED = "COMMITTED"
