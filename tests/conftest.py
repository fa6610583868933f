"""What every test has: a journal of its own, never the user's."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _journal_of_the_test(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
