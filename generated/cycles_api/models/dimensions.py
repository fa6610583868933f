# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from typing import TypeAlias

Dimensions: TypeAlias = dict[str, str]
"""Up to 16 labels of up to 256 characters."""
