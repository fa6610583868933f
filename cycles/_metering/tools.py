"""The tools of a request: which are left when some are denied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["named", "remaining"]


def named(tool: object) -> str | None:
    """Return the name of a tool: a function's own, else what kind of tool of the provider's it is."""
    if not isinstance(tool, Mapping):
        return None
    for inner in (tool, tool.get("function"), tool.get("custom")):
        if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):
            return str(inner["name"])
    for key in ("server_label", "mcp_server_name", "type"):
        if isinstance(tool.get(key), str):
            return str(tool[key])
    return None


def remaining(tools: object, allowed: Callable[[str], bool]) -> list[Any] | None:
    """Return the tools that are allowed, in their order; None when all are. A tool without a name stays."""
    if not isinstance(tools, list):
        return None
    left = [tool for tool in tools if (name := named(tool)) is None or allowed(name)]
    return None if len(left) == len(tools) else left
