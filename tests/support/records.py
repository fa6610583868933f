"""A spend that is to be settled, as the journal keeps it."""

from __future__ import annotations

from typing import Any

from cycles import usd
from cycles._core.records import Pending
from cycles._core.requests import terms
from tests.support.authorities import ACTION

WANTED = terms(usd("0.10"), action=ACTION, levels={"tenant": "acme", "agent": "a"}, tags=["t"], overage_policy="REJECT")


def pending(held: str | None = "res_1", **changes: Any) -> Pending:
    given = {"reservation_id": held, "terms": WANTED, "actual": usd("0.03"), "key": "key-1", **changes}
    return Pending(**given)
