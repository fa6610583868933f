"""The snapshot behind the page, `GET /status.json`: budgets, defaults, charges, live reservations, the last denials.

It is no part of the protocol and may change with any version; programs ask /v1/balances and /v1/reservations. Amounts
are texts, because a browser's numbers are exact only up to 2**53.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles.amounts import describe
from cycles.local.ledger import children
from cycles.local.ledger.renewals import as_of
from cycles.local.store.protocols import BudgetQuery
from cycles.local.wire.charges import DAY_MS, STEPS, last_hour, totals
from cycles_api.models.amount import Amount
from cycles_api.models.unit_enum import UnitEnum

if TYPE_CHECKING:
    from cycles.local.ledger.periods import Period
    from cycles.local.ledger.values import Budget, Hold
    from cycles.local.store.protocols import StoredBooks
    from cycles.local.wire.charges import Charge, Charges, Total
    from cycles.local.wire.denials import Denial, Denials

Body = dict[str, Any]

MOST_BUDGETS: Final = 200
MOST_DEFAULTS: Final = 50
MOST_RESERVATIONS: Final = 100
MOST_DENIALS: Final = 50
MOST_CHARGES: Final = 12
MOST_TOTALS: Final = 20


def snapshot(books: StoredBooks, denials: Denials, charges: Charges, tenant: str | None, now_ms: int) -> Body:
    """Return the state of *tenant*, or of all tenants.

    Budgets come by scope path, live reservations in the order in which they end, charges and denials newest first.
    Each list is cut, and says so.
    """
    query = BudgetQuery(tenant=None if tenant is None else tenant.lower())
    budgets = [as_of(row, now_ms) for row in books.find_budgets(query, None, MOST_BUDGETS + 1)]
    settings = books.tenants() if tenant is None else filter(None, [books.tenant(tenant.lower())])
    defaults = children.first_rows(settings, now_ms)
    holds = books.live_holds(tenant, MOST_RESERVATIONS + 1)
    denied = denials.last(tenant, MOST_DENIALS + 1)
    charged = charges.of(tenant)
    paid = last_hour(charged, now_ms)
    summed = totals(charged, now_ms, MOST_TOTALS + 1)
    is_cut = charges.is_full and (not charged or now_ms - charged[-1].at_ms < DAY_MS)
    body = {} if tenant is None else {"tenant": tenant}
    return body | {
        "now_ms": now_ms,
        "budgets": [_budget(row, paid.get((row.scope_path, row.unit))) for row in budgets[:MOST_BUDGETS]],
        "more_budgets": len(budgets) > MOST_BUDGETS,
        "defaults": [_default(row) for row in defaults[:MOST_DEFAULTS]],
        "more_defaults": len(defaults) > MOST_DEFAULTS,
        "reservations": [_reservation(hold, now_ms) for hold in holds[:MOST_RESERVATIONS]],
        "more_reservations": len(holds) > MOST_RESERVATIONS,
        "charges": [_charge(charge) for charge in charged[:MOST_CHARGES]],
        "more_charges": len(charged) > MOST_CHARGES,
        "totals": [_total(total) for total in summed[:MOST_TOTALS]],
        "more_totals": len(summed) > MOST_TOTALS or is_cut,
        "denials": [_denial(denial, times) for denial, times in denied[:MOST_DENIALS]],
        "more_denials": len(denied) > MOST_DENIALS,
    }


def _budget(row: Budget, paid: list[int] | None) -> Body:
    figures = ("allocated", "remaining", "reserved", "spent", "debt", "overdraft_limit")
    return {
        "scope_path": row.scope_path,
        "unit": row.unit,
        "status": row.status,
        "is_over_limit": row.is_over_limit,
        **{name: _amount(row.unit, getattr(row, name)) for name in figures},
        "period": None if row.period is None else _period(row.period),
        "hour": [str(amount) for amount in paid or [0] * STEPS],
        "in_hour": _amount(row.unit, sum(paid or ())),
    }


def _default(row: Budget) -> Body:
    return {
        "scope_path": row.scope_path,
        "unit": row.unit,
        "allocated": _amount(row.unit, row.allocated),
        "period": None if row.period is None else _period(row.period),
    }


def _period(period: Period) -> Body:
    return {"kind": period.kind, "zone": period.zone, "ends_ms": period.ends_ms}


def _reservation(hold: Hold, now_ms: int) -> Body:
    return {
        "reservation_id": hold.reservation_id,
        "scope_path": hold.affected[-1],
        "action": {"kind": hold.action["kind"], "name": hold.action["name"]},
        "unit": hold.unit,
        "reserved": _amount(hold.unit, hold.estimate),
        "lease_ms": hold.expires_at_ms - hold.created_at_ms,
        "remaining_ms": hold.expires_at_ms - now_ms,
        "grace_ms": hold.grace_ms,
    }


def _charge(charge: Charge) -> Body:
    return {
        "at_ms": charge.at_ms,
        "via": charge.via,
        "tenant": charge.tenant,
        "scope_path": charge.scopes[-1],
        "action": {"kind": charge.kind, "name": charge.name},
        "unit": charge.unit,
        "charged": _amount(charge.unit, charge.amount),
    }


def _total(total: Total) -> Body:
    return {
        "action": {"kind": total.kind, "name": total.name},
        "unit": total.unit,
        "hour": _amount(total.unit, total.hour),
        "day": _amount(total.unit, total.day),
    }


def _denial(denial: Denial, times: int) -> Body:
    body: Body = {
        "at_ms": denial.at_ms,
        "times": times,
        "operation": denial.operation,
        "tenant": denial.tenant,
        "scope_path": denial.scope_path,
        "action": {"kind": denial.kind, "name": denial.name},
        "unit": denial.unit,
        "requested": _amount(denial.unit, denial.amount),
        "reason": denial.reason,
    }
    if denial.refused_by is not None:
        body["refused_by"] = denial.refused_by
    if denial.remaining is not None:
        body["remaining"] = _amount(denial.unit, denial.remaining)
    return body


def _amount(unit: str, amount: int) -> Body:
    shown = describe(Amount(unit=UnitEnum(unit), amount=amount))
    return {"amount": str(amount), "text": shown.removesuffix(f" {unit}")}
