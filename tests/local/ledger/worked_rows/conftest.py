"""The ledger of a worked row: the pure one, and each store's over HTTP."""

from __future__ import annotations

import pytest

from cycles.local import LocalAuthority
from tests.local.ledger.world import Ledger, Wired
from tests.support.authorities import Clock
from tests.support.postgres import STORES, place_of


@pytest.fixture(params=["pure", *STORES])
def ledger(request):
    if request.param == "pure":
        yield Ledger()
        return
    clock = Clock()
    with place_of(request.param) as place, LocalAuthority(place, clock=clock, admin_key="of the rows") as authority:
        wired = Wired(authority, "of the rows", clock)
        with wired.http, wired.admin:
            yield wired
