"""docs/performance.md's table and docs/throughput.svg, from results.jsonl: `python benchmarks/_page.py`.

A test says that both are those of the last line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from _measure import MARGIN, Figure, number
from _plot import svg
from _run import history

ROOT: Final = Path(__file__).parents[1]
BEGINS, ENDS = "<!-- table: made by benchmarks/_page.py -->\n", "<!-- end of the table -->\n"


def row(figure: Figure) -> str:
    """Return one line of the table."""
    measured = f"{number(figure.value)} {figure.unit}".strip()
    if figure.is_missed:
        measured = f"**{measured}**"
    return f"| {figure.name} | {figure.wanted} | {measured} | {figure.floor} |\n"


def table(run: dict[str, Any]) -> str:
    """Return the table of one run."""
    machine, figures = run["machine"], [Figure(**known) for known in run["figures"].values()]
    missed, goals = sum(figure.is_missed for figure in figures), sum(figure.goal is not None for figure in figures)
    head = (
        f"Measured on {run['date']} UTC, commit {run['commit']}: {machine['cores']} cores ({machine['cpu']}), "
        f"Python {machine['python']}, at a load of {machine['load']}, the best of {run['runs']} runs. "
        f"{missed} of {goals} goals were missed by more than {MARGIN:.0%}{'; they are bold' * bool(missed)}.\n\n"
    )
    head += "| | goal | measured | floor |\n|---|---|---|---|\n"
    return head + "".join(map(row, figures))


def page(text: str, run: dict[str, Any]) -> str:
    """Return the page *text* with the table of *run*."""
    before, _, rest = text.partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    return before + BEGINS + table(run) + ENDS + after


def main() -> None:
    run = history()[-1]
    path = ROOT / "docs/performance.md"
    path.write_text(page(path.read_text(encoding="utf-8"), run), encoding="utf-8")
    (ROOT / "docs/throughput.svg").write_text(svg(run["curves"]), encoding="utf-8")


if __name__ == "__main__":
    main()
