# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from typing import Any, TypeAlias

ErrorDetails: TypeAlias = dict[str, Any]
"""Facts about an error, by name."""
