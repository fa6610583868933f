"""Tests that need a PostgreSQL."""

from __future__ import annotations

import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from tests.support.authorities import SCOPE, Clock
from tests.support.postgres import empty_ledger, reason_to_skip
from tests.support.wire import Wire


def pytest_collection_modifyitems(items):
    reason = reason_to_skip()
    for item in items:
        if reason is not None and "/store/postgres/" in item.path.as_posix():
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def url():
    """A database in which there is nothing yet."""
    with empty_ledger() as made:
        yield made


@pytest.fixture
def authority(url):
    with LocalAuthority(url, history=1000) as made:
        made.budget(SCOPE, tokens(1000))
        yield made


@pytest.fixture
def wire(authority):
    made = Wire(authority, Clock())
    with made.http:
        yield made
