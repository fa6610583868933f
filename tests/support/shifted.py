"""`python -m tests.support.shifted FILE serve …`: the command `cycles` on a machine whose clock shows what FILE says.

FILE holds milliseconds since the epoch. The clock stands still until somebody writes another number.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path


def main() -> None:
    """Set the clock, and run the command."""
    file = Path(sys.argv.pop(1))
    time.time_ns = lambda: int(file.read_text()) * 1_000_000
    time.time = lambda: time.time_ns() / 1e9

    from cycles.cli import main as command  # noqa: PLC0415 - after the clock

    command()


if __name__ == "__main__":
    main()
