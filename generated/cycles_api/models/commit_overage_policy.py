# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class CommitOveragePolicy(OpenStrEnum):
    """What a commit above the estimate does. REJECT fails it; ALLOW_IF_AVAILABLE charges the estimate and what is
    left, and marks the budgets that fell short; ALLOW_WITH_OVERDRAFT may go into debt up to the overdraft limit."""

    REJECT = "REJECT"
    ALLOW_IF_AVAILABLE = "ALLOW_IF_AVAILABLE"
    ALLOW_WITH_OVERDRAFT = "ALLOW_WITH_OVERDRAFT"


_KNOWN = {member.value: member for member in CommitOveragePolicy}


def to_commit_overage_policy(value: str) -> CommitOveragePolicy:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or CommitOveragePolicy(value)
