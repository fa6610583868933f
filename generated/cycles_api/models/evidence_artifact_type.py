# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class EvidenceArtifactType(OpenStrEnum):
    """Which answer an envelope records."""

    DECIDE = "decide"
    RESERVE = "reserve"
    COMMIT = "commit"
    RELEASE = "release"
    ERROR = "error"
