# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from ..types import OpenStrEnum


class SortDirection(OpenStrEnum):
    """Ascending or descending."""

    ASC = "asc"
    DESC = "desc"
