# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class SortDirection(OpenStrEnum):
    """Ascending or descending."""

    ASC = "asc"
    DESC = "desc"


_KNOWN = {member.value: member for member in SortDirection}


def to_sort_direction(value: str) -> SortDirection:
    """Return the member of *value*, known or not; much faster than calling the enum."""
    return _KNOWN.get(value) or SortDirection(value)
