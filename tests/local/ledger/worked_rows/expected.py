"""What worked rows expect and ask for by name."""

from __future__ import annotations

import pytest

from cycles.local.ledger.values import Refusal

OVERDRAFT = {"overage_policy": "ALLOW_WITH_OVERDRAFT"}
REJECT = {"overage_policy": "REJECT"}

only_pure = pytest.mark.parametrize("ledger", ["pure"], indirect=True)


def refused(code: str, status: int = 409):
    """Expect a refusal with this code and status."""
    return pytest.raises(Refusal, check=lambda refusal: (refusal.code, refusal.status) == (code, status))
