"""Answers that are no success, and are billed all the same."""

from __future__ import annotations

from typing import Final

from cycles._metering import conventions
from cycles._metering.bodies import answered

__all__ = ["is_billed"]

_TIMEOUT: Final = 408
_FILTERED: Final = frozenset({"content_filter", "ResponsibleAIPolicyViolation"})


def is_billed(provider: str, status: int, body: bytes) -> bool:
    """Return whether a provider bills what it has refused: Azure bills what it filters, and what takes it too long."""
    if provider != "azure":
        return False
    if status == _TIMEOUT:
        return True
    error = conventions.part(answered(body) or {}, "error")
    codes = {str(conventions.part(error, "code")), str(conventions.part(error, "innererror", "code"))}
    return not codes.isdisjoint(_FILTERED)
