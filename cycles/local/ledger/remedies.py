"""Why a request is denied, and what a person can do about it: the `deny_detail` of a DENY and of a 409."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles.amounts import describe
from cycles_api.models.amount import Amount
from cycles_api.models.unit_enum import UnitEnum

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local.ledger.values import Refusal

Body = dict[str, Any]

REASONS: Final = {
    **{
        code: code
        for code in (
            "BUDGET_EXCEEDED",
            "BUDGET_FROZEN",
            "BUDGET_CLOSED",
            "OVERDRAFT_LIMIT_EXCEEDED",
            "DEBT_OUTSTANDING",
            "TENANT_CLOSED",
        )
    },
    "NOT_FOUND": "BUDGET_NOT_FOUND",
}
"""Refusals of a reserve, decide or event that are denials, and the reasons that a DENY gives for them."""


def detail_of(refusal: Refusal) -> Body:
    """Return the `deny_detail` of a denial: its reason, the budget that refused and what it has left, and a remedy."""
    reason, facts = REASONS.get(refusal.code, refusal.code), refusal.details or {}
    detail: Body = {"reason_code": reason}
    if "scope" in facts:
        detail["blocked_by_scope"] = facts["scope"]
    remedy = _REMEDIES.get(reason)
    if remedy is not None:
        detail["suggested_fix"] = remedy(facts)
    if "remaining" in facts:
        detail["budget_remaining"] = facts["remaining"]
    return detail


def with_detail(refusal: Refusal) -> Body | None:
    """Return the details of *refusal*; those of a denial with its `deny_detail`."""
    if refusal.status != 409 or refusal.code not in REASONS:
        return refusal.details
    return {**(refusal.details or {}), "deny_detail": detail_of(refusal)}


def in_words(unit: str, amount: int) -> str:
    """Return an amount as people write it."""
    return describe(Amount(unit=UnitEnum(unit), amount=amount))


def _wait(facts: Body) -> str:
    """Return how long it is until the budget begins anew; "" where that does not help."""
    if "retry_after_ms" not in facts:
        return ""
    minutes = -(-facts["retry_after_ms"] // 60_000)
    hours, days = minutes // 60, minutes // 1440
    span = f"{days} d {hours % 24} h" if days else f"{hours} h {minutes % 60} min" if hours else f"{minutes} min"
    return f"wait until the budget begins anew, in {span}"


def _short(facts: Body) -> str:
    if "reserved" in facts:
        return f"report at most {in_words(facts['unit'], facts['reserved'])}, or reserve with another overage policy"
    others = f"{_wait(facts) or 'wait until reservations end'}, or have this budget raised"
    if "remaining" not in facts or facts["remaining"] <= 0:
        return others
    return f"ask for at most {in_words(facts['unit'], facts['remaining'])}, {others}"


def _owing(facts: Body) -> str:
    debt = f" of {in_words(facts['unit'], facts['debt'])}" if "debt" in facts else ""
    return ", or ".join(filter(None, (_wait(facts), f"have the debt{debt} repaid, or an overdraft limit set")))


def _over_limit(facts: Body) -> str:
    if "overdraft_limit" in facts:
        return "spend less, or have this budget's overdraft limit raised or its debt repaid"
    if "retry_after_ms" in facts:
        return f"{_wait(facts)}, or have this budget funded: it could not cover what was spent"
    return "have this budget funded: it could not cover what was spent, and takes nothing new until it is"


_REMEDIES: Final[dict[str, Callable[[Body], str]]] = {
    "BUDGET_EXCEEDED": _short,
    "BUDGET_FROZEN": lambda _: "have this budget unfrozen by whoever froze it",
    "BUDGET_CLOSED": lambda _: "it is closed for good: spend from another scope, or in another unit",
    "OVERDRAFT_LIMIT_EXCEEDED": _over_limit,
    "DEBT_OUTSTANDING": _owing,
    "TENANT_CLOSED": lambda _: "the tenant is closed for good: use another",
    "BUDGET_NOT_FOUND": lambda _: "check the subject's levels, or have a budget made for one of them in this unit",
}
