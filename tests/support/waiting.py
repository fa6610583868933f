"""Waiting for what another thread, task or process does."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 300.0
"""Seconds after which a test fails instead of waiting for ever; a machine under load may take its time."""


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():  # asked no more once it is true: some conditions are no longer so the next time
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def until_async(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
