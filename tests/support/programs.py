"""Programs that a test runs to their end, each in a process of its own, warnings as errors."""

from __future__ import annotations

import subprocess
import sys

from tests.support.waiting import PATIENCE


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run *code*, and return how it ended and what it printed."""
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
