"""What `import cycles` costs beside `import httpx, attrs`, which any client of this kind pays.

Each sample is a fresh interpreter; the two kinds take turns. Bytecode is cached, as it is after an installation.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

from _measure import Sheet, in_turns, main, middle, ratio

PROGRAM = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def sample(modules: str) -> float:
    """Return the seconds that importing *modules* takes in a fresh interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", PROGRAM.format(modules)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def work(sheet: Sheet) -> None:
    """Import the package in fresh interpreters."""
    times = in_turns({name: partial(sample, name) for name in ("httpx, attrs", "cycles")}, 2 if sheet.quick else 7)
    floor = f"import httpx, attrs: {middle(times, 'httpx, attrs', unit=1e3):.0f} ms"
    sheet.add("import cycles", ratio(times, "cycles", "httpx, attrs"), 1.4, floor=floor)


if __name__ == "__main__":
    main(work)
