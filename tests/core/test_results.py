"""What settlements show of themselves."""

from __future__ import annotations

import pytest

from cycles import tokens
from cycles._core.results import SettlementDetails
from tests.support.records import pending


def test_settlement_details_show_the_spend_and_are_frozen():
    details = SettlementDetails(
        pending("res-1", actual=tokens(7)), "pending", charged=None, attempts=1, recovered=False, error=None
    )
    assert repr(details) == "<SettlementDetails res-1 7 TOKENS pending via commit>"
    with pytest.raises(AttributeError, match="frozen: outcome"):
        details.outcome = "settled"
    free = pending(None, by_event=True)
    shown = repr(SettlementDetails(free, "settled", charged=None, attempts=1, recovered=False, error=None))
    assert "without reservation" in shown
