"""What effects show of themselves."""

from __future__ import annotations

from cycles._core.effects import Call
from cycles._core.operations import COMMIT_RESERVATION


def test_effects_name_their_operation():
    assert repr(COMMIT_RESERVATION) == "<Operation commit_reservation>"
    assert repr(Call(COMMIT_RESERVATION, reservation_id="res-1")) == "Call(commit_reservation)"
