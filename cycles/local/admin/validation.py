"""Validation of the administration's bodies, with the checks of wire/validation.py."""

from __future__ import annotations

import re
from typing import Any, Final

from cycles.local.ledger import times
from cycles.local.ledger.values import INT64_MAX, UNITS
from cycles.local.wire.validation import (
    amount,
    anything,
    duration,
    fields,
    integer,
    invalid,
    items,
    key,
    one_of,
    permissions,
    policy,
    strings,
    text,
)

OPERATIONS: Final = ("CREDIT", "DEBIT", "RESET", "RESET_SPENT", "REPAY_DEBT")

_TENANT_ID: Final = re.compile(r"[a-z0-9-]{3,64}")
_WORD: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def _tenant_id(value: Any, field: str) -> str:
    if not isinstance(value, str) or not _TENANT_ID.fullmatch(value):
        raise invalid(field, "must be 3 to 64 characters out of lower-case letters, digits and '-'")
    return value


def _word(value: Any, field: str) -> str:
    """Check the name of a policy that this authority keeps and does not evaluate: any name will do."""
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise invalid(field, "must be a name of capital letters, digits and '_', at most 64")
    return value


def _moment(value: Any, field: str) -> str:
    try:
        times.iso(times.microseconds(value) // 1000)  # what could not be shown again is not taken
    except (TypeError, ValueError, OverflowError):
        raise invalid(field, "must be a time with its zone, such as 2026-01-31T12:00:00Z") from None
    return str(value)


def _scopes(value: Any, field: str) -> list[str]:
    return [_scope(scope, f"{field}[{position}]") for position, scope in enumerate(items(value, field, 64))]


_scope: Final = text(1, 1024)
_name: Final = text(1, 256, blank=False)
_settings: Final = {
    "metadata": strings,
    "default_commit_overage_policy": policy,
    "default_reservation_ttl_ms": duration,
    "max_reservation_ttl_ms": duration,
    "max_reservation_extensions": integer(0, INT64_MAX),
    "reservation_expiry_policy": _word,
}

unit: Final = one_of(*UNITS)
reason: Final = text(0, 512)

new_tenant: Final = fields({"tenant_id": _tenant_id, "name": _name}, {"parent_tenant_id": _tenant_id, **_settings})
changed_tenant: Final = fields({}, {"name": _name, "status": one_of("ACTIVE", "SUSPENDED", "CLOSED"), **_settings})
new_key: Final = fields(
    {"tenant_id": text(1, 128), "name": _name},
    {
        "description": text(0, 1024),
        "permissions": permissions,
        "scope_filter": _scopes,
        "expires_at": _moment,
        "metadata": anything,
    },
)
new_budget: Final = fields(
    {"scope": _scope, "unit": unit, "allocated": amount},
    {
        "tenant_id": text(1, 128),
        "overdraft_limit": amount,
        "commit_overage_policy": policy,
        "rollover_policy": _word,
        "period_start": _moment,
        "period_end": _moment,
        "metadata": anything,
    },
)
changed_budget: Final = fields({}, {"overdraft_limit": amount, "commit_overage_policy": policy, "metadata": anything})
funding: Final = fields(
    {"operation": one_of(*OPERATIONS), "amount": amount},
    {"spent": amount, "reason": reason, "idempotency_key": key, "metadata": anything},
)
status_change: Final = fields({}, {"reason": reason})
