"""Guards of the tests of what calls return."""

from __future__ import annotations

import pytest

import cycles
from cycles import usd_microcents as cost
from tests.guard.returned import ESTIMATE, Work
from tests.support.authorities import ACTION


@pytest.fixture
def work(authority):
    return Work(authority)


@pytest.fixture
def blocking_guard(authority):
    client = authority.client(tenant="acme")
    return lambda **fields: cycles.Guard(cost(ESTIMATE), action=ACTION, client=client, **fields)


@pytest.fixture
def async_guard(authority):
    client = authority.async_client(tenant="acme")
    return lambda **fields: cycles.Guard(cost(ESTIMATE), action=ACTION, client=client, **fields)
