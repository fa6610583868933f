"""Paths and bodies of the administration."""

from __future__ import annotations

import re
from typing import Any

from tests.support.authorities import SCOPE

TENANTS, KEYS, BUDGETS = "/v1/admin/tenants", "/v1/admin/api-keys", "/v1/admin/budgets"
AT = {"scope": SCOPE, "unit": "TOKENS"}
ISO = re.compile(r"2027-01-15T08:00:0[0-9]\.[0-9]{3}Z")
"""A time near the beginning of the tests' clock."""

FUND = {**AT, "tenant_id": "acme"}


def amount(number: int, unit: str = "TOKENS") -> dict[str, Any]:
    return {"unit": unit, "amount": number}


def budget(**fields: Any) -> dict[str, Any]:
    return {"tenant_id": "acme", "scope": SCOPE, "unit": "TOKENS", "allocated": amount(1000), **fields}


def funding(operation: str = "CREDIT", number: int = 100, **fields: Any) -> dict[str, Any]:
    return {"operation": operation, "amount": amount(number), **fields}
