# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from typing import Any, TypeAlias

CustomMetrics: TypeAlias = dict[str, Any]
"""Measures of the caller's own, by name."""
