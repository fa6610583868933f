"""An authority and a client of its wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cycles.local import LocalAuthority
from tests.support.authorities import ADMIN_KEY, Clock
from tests.support.postgres import STORES, place_of
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=STORES)
def authority(request: pytest.FixtureRequest, clock: Clock) -> Iterator[LocalAuthority]:
    """One without tenants or budgets, with an administrator, and with a history; on each store."""
    with (
        place_of(request.param) as place,
        LocalAuthority(place, clock=clock, admin_key=ADMIN_KEY, history=1000) as made,
    ):
        yield made


@pytest.fixture
def wire(authority: LocalAuthority, clock: Clock) -> Iterator[Wire]:
    made = Wire(authority, clock)
    with made.http:
        yield made
