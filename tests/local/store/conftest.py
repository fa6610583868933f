"""A ledger file in use."""

from __future__ import annotations

import pytest

from cycles import tokens
from cycles.local import LocalAuthority
from tests.support.authorities import SCOPE, Clock
from tests.support.wire import Wire


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


@pytest.fixture
def opened(path):
    """A ledger in use, of which 30 tokens are spent."""
    with LocalAuthority(path) as authority:
        authority.budget(SCOPE, tokens(100))
        wire = Wire(authority, Clock())
        assert wire.event(30).status_code == 201
        yield wire
