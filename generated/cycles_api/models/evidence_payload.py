# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from typing import Any, TypeAlias

EvidencePayload: TypeAlias = dict[str, Any]
"""Exactly one member, named like the artifact type."""
