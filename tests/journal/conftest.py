"""A journal of its own for each test."""

from __future__ import annotations

import pytest

from cycles._journal.journal import Journal


@pytest.fixture
def told():
    return []


@pytest.fixture
def journal(tmp_path, told):
    return Journal(tmp_path / "journal" / "partition", tell=lambda event, facts: told.append((event, facts)))
