# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from typing import TypeAlias

CustomPolicyKeys: TypeAlias = dict[str, str]
"""Up to 8 values of up to 256 characters, by name."""
