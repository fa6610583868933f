"""What an authority says about a denial, as programs read it (docs/protocol.md, Extensions)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from cycles.errors import DenialDetail
from cycles_api import models
from cycles_api.errors import DecodeError
from cycles_api.types import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

_LONGEST: Final = 1000
"""Characters of an authority's text that an error and a log line repeat."""


def printable(text: str) -> str:
    """Return what an authority said so that every log can take it."""
    kept = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return kept.encode("utf-8", "backslashreplace").decode()


def known(value: T | Unset) -> T | None:
    """Return what an answer says, or None."""
    return None if isinstance(value, Unset) else value


def detail_of(found: models.DenyDetail | Unset) -> DenialDetail | None:
    """Return what the answer with this `deny_detail` says about its denial, or None."""
    if isinstance(found, Unset):
        return None
    fix = known(found.suggested_fix)
    return DenialDetail(
        found.reason_code,
        quota=known(found.quota_violation),
        policy=known(found.blocked_by_policy),
        scope=known(found.blocked_by_scope),
        remaining=known(found.budget_remaining),
        suggested_fix=printable(fix) if fix else None,
    )


def deny_detail_in(details: Mapping[str, Any]) -> models.DenyDetail | Unset:
    """Return the `deny_detail` in the *details* of an error; None when it does not fit its schema."""
    if "deny_detail" not in details:
        return UNSET
    try:
        return models.DenyDetail.from_dict(details["deny_detail"])
    except DecodeError:
        return UNSET
