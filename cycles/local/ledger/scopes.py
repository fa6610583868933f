"""The scopes of a subject, and the gates that a request passes at the budget of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cycles.amounts import spelled
from cycles.local.ledger.renewals import as_of, retry_after
from cycles.local.ledger.values import LEVELS, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cycles.local.ledger.books import Books
    from cycles.local.ledger.values import Budget


def scopes_of(subject: dict[str, Any]) -> tuple[str, ...]:
    """Return the scope paths of *subject*, widest first; the last one is its own.

    Absent levels are skipped, never filled in; not even the tenant with that of the key.
    """
    path, scopes = "", []
    for level in LEVELS:
        value = subject.get(level)
        if value is not None:
            path = f"{path}/{level}:{value.lower()}" if path else f"{level}:{value.lower()}"
            scopes.append(path)
    return tuple(scopes)


def budgets_on(
    books: Books, scopes: Sequence[str], unit: str, gate: Callable[[Budget], Refusal | None], now_ms: int
) -> list[Budget]:
    """Return the budgets in *unit* along *scopes* as of *now_ms*, each of which lets the request through.

    Raises:
        Refusal: of the first scope, tenant first, whose *gate* refuses; or that no scope has a budget in *unit*.
    """
    found = []
    for scope in scopes:
        budget = books.budget(scope, unit)
        if budget is None:
            continue
        if budget.period is not None:
            budget = as_of(budget, now_ms)
        refusal = gate(budget)
        if refusal is not None:
            raise refusal
        found.append(budget)
    if not found:
        raise _no_budget(books, scopes, unit)
    return found


def _no_budget(books: Books, scopes: Sequence[str], unit: str) -> Refusal:
    for scope in scopes:
        units = books.units_at(scope)
        if units:
            return Refusal(
                400,
                "UNIT_MISMATCH",
                f"the budget at {scope} is kept in {' and '.join(units)}, not in {unit}",
                {"scope": scope, "requested_unit": unit, "expected_units": units},
            )
    # Clients look for this phrase to tell a missing budget from an unknown reservation.
    message = f"Budget not found for provided scope: {scopes[-1]}"
    if not scopes[0].startswith("tenant:"):
        message += " (the subject names no tenant, and the key's is not put in: budgets begin at a tenant)"
    return Refusal(404, "NOT_FOUND", message)


def shut(budget: Budget) -> Refusal | None:
    """Return the refusal of a budget that takes nothing new, or None."""
    if budget.status == "FROZEN":
        message = f"the budget at {budget.scope_path} in {budget.unit} is frozen"
        return Refusal(409, "BUDGET_FROZEN", message, _facts(budget))
    if budget.status == "CLOSED":
        message = f"the budget at {budget.scope_path} in {budget.unit} is closed"
        return Refusal(409, "BUDGET_CLOSED", message, _facts(budget))
    return None


def _facts(budget: Budget) -> dict[str, Any]:
    return {"scope": budget.scope_path, "remaining": budget.remaining, "unit": budget.unit}


def short(budget: Budget, wanted: int, more: dict[str, Any] | None = None) -> Refusal:
    """Return the refusal of a budget with less than *wanted* remaining, with *more* details."""
    return Refusal(
        409,
        "BUDGET_EXCEEDED",
        f"asked for {spelled(budget.unit, wanted)}, {spelled(budget.unit, budget.remaining)} left of "
        f"{spelled(budget.unit, budget.allocated)} at {budget.scope_path}",
        _facts(budget) | {"requested": wanted} | (more or {}),
    )


def reserve_gate(estimate: int, now_ms: int) -> Callable[[Budget], Refusal | None]:
    """Return the gate of reserve, decide and dry run, in its order.

    Where nothing but the next period of a budget that begins anew can help, the refusal says how long it is until then.
    """

    def gate(budget: Budget) -> Refusal | None:
        refusal = shut(budget)
        if refusal is not None:
            return refusal
        if budget.is_over_limit:
            message = f"{budget.scope_path} is over its limit"
            details = _facts(budget) | retry_after(budget, estimate, now_ms)
            return Refusal(409, "OVERDRAFT_LIMIT_EXCEEDED", message, details)
        if budget.debt > 0 and budget.overdraft_limit == 0:
            return Refusal(
                409,
                "DEBT_OUTSTANDING",
                f"{budget.scope_path} owes {spelled(budget.unit, budget.debt)}, and may owe nothing",
                _facts(budget) | {"debt": budget.debt} | retry_after(budget, estimate, now_ms),
            )
        if budget.remaining >= estimate:
            return None
        may_come_back = budget.remaining + budget.reserved >= estimate  # when reservations end
        return short(budget, estimate, None if may_come_back else retry_after(budget, estimate, now_ms))

    return gate


def event_gate(actual: int, policy: str) -> Callable[[Budget], Refusal | None]:
    """Return the gate of events: over-limit and debt do not matter to them."""

    def gate(budget: Budget) -> Refusal | None:
        refusal = shut(budget)
        if refusal is None and policy == "REJECT" and budget.remaining < actual:
            refusal = short(budget, actual)
        return refusal

    return gate


def not_its_own(tenant_id: str) -> str:
    """Return why a tenant whose name has capitals (earlier versions let it) owns no budget, and what to do."""
    mine = tenant_id.lower()
    return (
        f"the tenant {tenant_id} differs from {mine} in case only, and would spend from the budgets of tenant:{mine}: "
        "its keys may settle what they hold, and reserve nothing; "
        f"use a key of {mine} (`cycles local key create {mine}`)"
    )
