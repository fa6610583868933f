# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class CommitStatus(OpenStrEnum):
    """What a commit came to."""

    COMMITTED = "COMMITTED"


_KNOWN = {member.value: member for member in CommitStatus}


def to_commit_status(value: str) -> CommitStatus:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or CommitStatus(value)
