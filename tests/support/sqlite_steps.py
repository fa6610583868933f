"""What SQLite does, counted in steps of its virtual machine instead of in seconds."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

GRAIN = 10
"""Steps between two counts."""


def counted_steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count the steps of every connection that is made from now on; return what tells how many there were so far."""
    counts = [0]
    connect = sqlite3.connect

    def count() -> int:
        counts[0] += GRAIN
        return 0

    def connected(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        connection = connect(*args, **kwargs)
        connection.set_progress_handler(count, GRAIN)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connected)
    return lambda: counts[0]
