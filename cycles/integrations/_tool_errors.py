"""A refusal as an MCP client receives it: a result that is an error, with its reason for the model and for programs."""

from __future__ import annotations

from typing import Any, Final

from mcp_types import CallToolResult, TextContent

from cycles.errors import DENIALS, CyclesError, Denied
from cycles.integrations._denials import Refusal

META: Final = "io.github.cycles-guard/error"
"""The name in `_meta` of a result, where programs find what a refusal says."""


def error_result(error: CyclesError, text: str | None = None) -> CallToolResult:
    """Return *error* as the result of a tool.

    It has no structured content: clients check that against the tool's output schema, some of them also in errors.

    Args:
        error: What was raised.
        text: What the model reads; what it needs to act on *error* by itself when None.
    """
    said: dict[str, Any] = {
        "status": "error",
        "type": type(error).__name__,
        "code": error.code,
        "retry_after": error.retry_after,
        "is_denial": isinstance(error, Denied),
    }
    shown = f"{error.message}; {error.remedy}" if error.remedy else error.message
    if text is None:
        after = "" if error.retry_after is None else f" (retry_after: {error.retry_after:g} seconds)"
        code = "" if error.code is None else f"{error.code}: "
        text = f"{code}{shown}{after}"
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True, _meta={META: said})


def denial_in(result: CallToolResult) -> Denied | None:
    """Return the denial that a tool's *result* is, so that a program can raise it; None for any other result."""
    said = (result.meta or {}).get(META)
    if not result.is_error or not isinstance(said, dict) or said.get("is_denial") is not True:
        return None
    code, after = said.get("code"), said.get("retry_after")
    kind = DENIALS.get(code, Denied) if isinstance(code, str) else Denied
    text = "; ".join(part.text for part in result.content if isinstance(part, TextContent))
    return kind(
        text or "an MCP server denied the call",
        code=code if isinstance(code, str) else None,
        retry_after=float(after) if isinstance(after, int | float) else None,
    )


def refusal_result(error: CyclesError) -> CallToolResult:
    """Return *error* as the result of a guarded tool: the model is told what a customer may know."""
    return error_result(error, str(Refusal.of(error)))
