"""What settlements show of themselves."""

from __future__ import annotations

import pytest

from cycles import tokens
from cycles._core.results import SettlementDetails


def test_settlement_details_show_the_spend_and_are_frozen():
    details = SettlementDetails("res-1", tokens(7), "pending", via="commit", attempts=1)
    assert repr(details) == "<SettlementDetails res-1 7 TOKENS pending via commit>"
    with pytest.raises(AttributeError, match="frozen: outcome"):
        details.outcome = "settled"
    shown = repr(SettlementDetails(None, tokens(7), "settled", via="event", attempts=1))
    assert "without reservation" in shown
