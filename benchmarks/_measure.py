"""Timers, rounds that take turns, and figures with their goals: what all benchmarks share.

A benchmark is a function that fills a `Sheet`. `python benchmarks/NAME.py [--quick]` prints it, and judges nothing;
`nox -s bench` runs all of them three times in turns, and judges the best of each figure (`_run.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import statistics
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

MARGIN: Final = 0.05
"""How much of its goal the best figure of three runs may miss it by: two runs of the same thing differ by that much."""

Times = dict[str, list[float]]
"""Seconds of one piece of work, round after round, by what did it."""


class Figure(NamedTuple):
    """What was measured, and what is wanted.

    Attributes:
        name: What of, unique among all benchmarks.
        value: The number.
        goal: What it should be at most, or at least; None for what is only shown.
        unit: "" for a ratio.
        floor: What nobody can do without, in words: the other side of a ratio.
        least: Whether more is better.
    """

    name: str
    value: float
    goal: float | None = None
    unit: str = ""
    floor: str = ""
    least: bool = False

    @property
    def is_missed(self) -> bool:
        """Whether it misses its goal by more than the margin."""
        if self.goal is None:
            return False
        return self.value < self.goal / (1 + MARGIN) if self.least else self.value > self.goal * (1 + MARGIN)

    def better(self, other: Figure) -> Figure:
        """Return the better one of two measurements of the same thing."""
        return max(self, other, key=lambda figure: figure.value if self.least else -figure.value)

    def __str__(self) -> str:
        return f"{self.name:<76} {number(self.value):>9} {self.unit:<5} {self.wanted}".rstrip()

    @property
    def wanted(self) -> str:
        """The goal in words."""
        if self.goal is None:
            return ""
        return f"{'≥' if self.least else '≤'} {number(self.goal)} {self.unit}".rstrip()


class Sheet:
    """What one run of a benchmark found.

    Attributes:
        quick: Whether it only shows that it works.
    """

    def __init__(self, *, quick: bool) -> None:
        self.quick: Final = quick
        self.figures: list[Figure] = []
        self.points: list[tuple[str, int, float]] = []

    def add(self, name: str, value: float, goal: float | None = None, **more: Any) -> None:
        """Note a figure; *more* is what `Figure` has."""
        self.figures.append(Figure(name, value, goal, **more))
        print(self.figures[-1], flush=True)

    def point(self, curve: str, at: int, value: float) -> None:
        """Note a point of a curve of the plot."""
        self.points.append((curve, at, value))
        print(f"{curve:<30} {at:>5} {number(value):>9}", flush=True)


def number(value: float) -> str:
    """Return *value* with three digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def main(work: Callable[[Sheet], None]) -> None:
    """Run one benchmark as a command."""
    parser = argparse.ArgumentParser(description=work.__doc__)
    parser.add_argument("--quick", action="store_true", help="a short look, which only shows that it works")
    parser.add_argument("--json", type=Path, help="write what was found there")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    gc.freeze()  # what was imported: to look through it in each round took longer than the round (`steady`)
    sheet = Sheet(quick=options.quick)
    work(sheet)
    if options.json is not None:
        options.json.write_text(json.dumps({"figures": sheet.figures, "points": sheet.points}), encoding="utf-8")


# -- time --------------------------------------------------------------------------------------------------------------
@contextmanager
def steady() -> Iterator[None]:
    """Keep the collector out of what is measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def timed(
    work: Callable[[], object], count: int, clock: Callable[[], float] = time.perf_counter, *, before: int = 0
) -> float:
    """Return the seconds of one call, of *count*, by *clock*; *before* go first, for the collector cools caches."""
    with steady():
        for _ in range(before):
            work()
        started = clock()
        for _ in range(count):
            work()
        return (clock() - started) / count


async def timed_async(
    work: Callable[[], Awaitable[object]],
    count: int,
    clock: Callable[[], float] = time.perf_counter,
    *,
    tasks: int = 1,
    before: int = 0,
) -> float:
    """Return the seconds of one call, of *count* in each of *tasks* that run at once; see `timed`."""

    async def some() -> None:
        for _ in range(count):
            await work()

    with steady():
        for _ in range(before):
            await work()
        started = clock()
        if tasks == 1:
            await some()
        else:
            await asyncio.gather(*(some() for _ in range(tasks)))
        return (clock() - started) / (count * tasks)


def cpu_of(process: int) -> float:
    """Return the CPU seconds of the process with this id; Linux has a clock for each (`clock_getcpuclockid`)."""
    return time.clock_gettime((~process << 3) | 2)


def in_turns(samples: dict[str, Callable[[], float]], rounds: int) -> Times:
    """Take each sample once a round, so that a machine that slows down slows all; the first round warms up."""
    times: Times = {name: [] for name in samples}
    for turn in range(rounds + 1):
        for name, sample in samples.items():
            taken = sample()
            if turn:
                times[name].append(taken)
    return times


async def in_turns_async(samples: dict[str, Callable[[], Awaitable[float]]], rounds: int) -> Times:
    """The same for asynchronous samples; see `in_turns`."""
    times: Times = {name: [] for name in samples}
    for turn in range(rounds + 1):
        for name, sample in samples.items():
            taken = await sample()
            if turn:
                times[name].append(taken)
    return times


def ratio(times: Times, ours: str, *theirs: str) -> float:
    """Return the median of each round's ratio of *ours* to the sum of *theirs*."""
    rounds = zip(times[ours], *(times[name] for name in theirs), strict=True)
    found: float = statistics.median(first / sum(rest) for first, *rest in rounds)
    return found


def quiet(times: Times, ours: str, *theirs: str) -> float:
    """Return the ratio of the quickest tenth of the rounds of *ours* to that of the sum of *theirs*.

    What else the machine did was in the other rounds; many short ones have quiet moments on a busy machine, too.
    """
    return quickest(times[ours]) / quickest([sum(each) for each in zip(*(times[name] for name in theirs), strict=True)])


def quickest(rounds: list[float]) -> float:
    """Return the time of the quickest tenth of *rounds*."""
    return sorted(rounds)[len(rounds) // 10]


def middle(times: Times, *names: str, unit: float = 1e6) -> float:
    """Return the sum of the medians of *names*, in microseconds."""
    return sum(statistics.median(times[name]) for name in names) * unit
