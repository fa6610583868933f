"""What `import cycles` costs beside `import httpx, attrs`, which any client of this kind pays.

Each sample is a fresh interpreter; the two kinds alternate, so that both see the same noise. Bytecode is cached, as it
is after an installation. The ratio of the medians must be at most 1.4.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

BOUND = 1.4
PROGRAM = "import time; start = time.perf_counter(); import {}; print(time.perf_counter() - start)"


def sample(modules: str) -> float:
    """Return the seconds that importing *modules* takes in a fresh interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", PROGRAM.format(modules)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


def main() -> int:
    rounds = 7 if "--quick" in sys.argv else 25
    kinds = ("httpx, attrs", "cycles")
    for modules in kinds:
        sample(modules)  # writes the bytecode
    times: dict[str, list[float]] = {modules: [] for modules in kinds}
    for _ in range(rounds):
        for modules in kinds:
            times[modules].append(sample(modules))
    base, ours = (statistics.median(times[modules]) for modules in kinds)
    ratio = ours / base
    print(f"import httpx, attrs  {base * 1000:6.1f} ms (median of {rounds})")
    print(f"import cycles        {ours * 1000:6.1f} ms   ratio {ratio:.2f}   bound {BOUND}")
    return 0 if ratio <= BOUND else 3


if __name__ == "__main__":
    sys.exit(main())
