"""All benchmarks, three times in turns: `nox -s bench`, or `python benchmarks/_run.py [--quick] [NAME ...]`.

The best of each figure's three runs is judged by its goal, with a margin of `_measure.MARGIN`, and printed with its
history. A run of all of them is a line in results.jsonl, from which `_page.py` makes docs/performance.md's table and
`_plot.py` the plot. With `--quick` each runs once and briefly; that shows that it works, and judges nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from _measure import MARGIN, Figure, number

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results.jsonl"
RUNS: Final = 3
ONCE: Final = frozenset(("crowd", "growth", "open"))
"""They count, or take minutes: one run of each is enough."""

ALONE: Final = frozenset(("stores",))
"""Needs a PostgreSQL, and prints a table of its own: run it by itself."""

Found = dict[str, list[Any]]
"""Each figure's measurements by its name, and each curve's points."""


def names() -> list[str]:
    return sorted({path.stem for path in HERE.glob("[!_]*.py")} - ALONE)


def ran(name: str, *, quick: bool) -> dict[str, Any]:
    """Run one benchmark in a process of its own, and return what it found."""
    print(f"-- {name}", flush=True)
    with tempfile.TemporaryDirectory() as made:
        into = Path(made) / "found.json"
        command = [sys.executable, str(HERE / f"{name}.py"), "--json", str(into)]
        subprocess.run([*command, "--quick"] if quick else command, check=True)
        found: dict[str, Any] = json.loads(into.read_text(encoding="utf-8"))
    return found


def best_of(chosen: list[str], *, quick: bool, runs: int = RUNS) -> tuple[list[Figure], dict[str, dict[int, float]]]:
    """Return the best of each figure, and the curves, of so many *runs*."""
    figures: dict[str, Figure] = {}
    curves: dict[str, dict[int, float]] = {}
    for run in range(1 if quick else runs):
        for name in chosen:
            if run and name in ONCE:
                continue
            found = ran(name, quick=quick)
            for figure in map(Figure._make, found["figures"]):
                before = figures.get(figure.name)
                figures[figure.name] = figure if before is None else figure.better(before)
            for curve, at, value in found["points"]:
                known = curves.setdefault(curve, {})
                known[at] = max(value, known.get(at, 0.0))
    return list(figures.values()), curves


def said(*command: str) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, cwd=HERE).stdout.strip()


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def line_of(figures: list[Figure], curves: dict[str, dict[int, float]], runs: int) -> dict[str, Any]:
    """Return what results.jsonl keeps of a run."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "commit": said("git", "rev-parse", "--short", "HEAD"),
        "machine": {
            "cores": os.cpu_count(),
            "cpu": cpu_model(),
            "python": platform.python_version(),
            "load": round(os.getloadavg()[0], 1),
        },
        "runs": runs,
        "figures": {figure.name: figure._asdict() for figure in figures},
        "curves": curves,
    }


def history() -> list[dict[str, Any]]:
    """Return the runs that are kept, the oldest first."""
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def told_before(name: str, before: list[dict[str, Any]]) -> list[str]:
    """Return what the last runs have found for the figure of this *name*."""
    known = [(run, run["figures"][name]["value"]) for run in before[-5:] if name in run["figures"]]
    return [
        f"    {run['date']} {run['commit']}: {number(value)}, load {run['machine']['load']}" for run, value in known
    ]


def judged(figures: list[Figure], before: list[dict[str, Any]]) -> list[Figure]:
    """Print each figure, and what is missed with its history; return what is missed."""
    print(f"\n-- the best of all runs; a goal is missed by more than {MARGIN:.0%}")
    missed = [figure for figure in figures if figure.is_missed]
    for figure in figures:
        print(f"{figure}{'  MISSED' * figure.is_missed}")
        if figure.is_missed:
            for line in told_before(figure.name, before):
                print(line)
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(description="All benchmarks, judged by their goals.")
    parser.add_argument("--quick", action="store_true", help="only show that each works; nothing is judged")
    parser.add_argument("--runs", type=int, default=RUNS, help="of each benchmark, %(default)s unless given")
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks; all of them without a name")
    options = parser.parse_args()
    figures, curves = best_of(options.names or names(), quick=options.quick, runs=options.runs)
    if options.quick:
        return 0
    missed = judged(figures, history())
    if not options.names:
        with RESULTS.open("a", encoding="utf-8") as results:
            results.write(json.dumps(line_of(figures, curves, options.runs), ensure_ascii=False) + "\n")
        subprocess.run([sys.executable, str(HERE / "_page.py")], check=True)
    print(f"{len(missed)} of {sum(figure.goal is not None for figure in figures)} goals were missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
