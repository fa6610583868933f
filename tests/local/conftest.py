"""An authority and a client of its wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cycles.local import LocalAuthority
from tests.support.authorities import ADMIN_KEY, Clock
from tests.support.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def authority(clock: Clock) -> Iterator[LocalAuthority]:
    """One without tenants or budgets, and with an administrator."""
    with LocalAuthority(clock=clock, admin_key=ADMIN_KEY) as made:
        yield made


@pytest.fixture
def wire(authority: LocalAuthority, clock: Clock) -> Iterator[Wire]:
    made = Wire(authority, clock)
    with made.http:
        yield made
