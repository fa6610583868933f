# Made by openapi/regen.py from openapi/cycles.yaml: change those or templates/, never this file.
from __future__ import annotations

from typing import Any, TypeAlias

Metadata: TypeAlias = dict[str, Any]
"""Anything the caller wants kept with the record; the server does not read it."""
