# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class EvidenceArtifactType(OpenStrEnum):
    """Which answer an envelope records."""

    DECIDE = "decide"
    RESERVE = "reserve"
    COMMIT = "commit"
    RELEASE = "release"
    ERROR = "error"


_KNOWN = {member.value: member for member in EvidenceArtifactType}


def to_evidence_artifact_type(value: str) -> EvidenceArtifactType:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or EvidenceArtifactType(value)
