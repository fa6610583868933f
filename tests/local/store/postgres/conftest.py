"""Tests that need a PostgreSQL."""

from __future__ import annotations

import pytest

from tests.support.postgres import empty_ledger, reason_to_skip


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
