"""`python -m cycles.testing.simulate`: run schedules from many seeds, or one seed with its trace."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from cycles.testing.faults import Fault
from cycles.testing.limit_simulation import LimitSimulation
from cycles.testing.metered_limits import MeteredLimits
from cycles.testing.metered_work import MeteredWork
from cycles.testing.returned_work import ReturnedWork
from cycles.testing.simulation import Simulation
from cycles.testing.violation import Broken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Kind = Callable[[int], Simulation | LimitSimulation]

_KINDS: Final[dict[str, tuple[Kind, str]]] = {
    "limits": (LimitSimulation, "sections inside limits"),
    "returned": (ReturnedWork, "work that goes on after its call returned: generators, streams, tasks"),
    "metered": (MeteredWork, "metered requests, whole and streamed"),
    "metered-limits": (MeteredLimits, "metered requests inside limits"),
}
"""The kinds of schedules beside that of guarded sections, each with an option of its own."""

_SHOWN: Final = 30
"""Lines of the trace that a failure shows."""


class Found(NamedTuple):
    """A seed that breaks an invariant."""

    seed: int
    broken: Broken
    simulation: Simulation | LimitSimulation


class Summary:
    """The results of many schedules.

    Attributes:
        schedules, effects: How many there were.
        faults: How often each fault occurred.
        found: The first seed that broke an invariant, or None.
    """

    def __init__(self) -> None:
        self.schedules = 0
        self.effects = 0
        self.faults: Final[Counter[Fault]] = Counter()
        self.found: Found | None = None

    @property
    def missed(self) -> list[Fault]:
        """The faults that never occurred."""
        return [fault for fault in Fault if not self.faults[fault]]


def search(
    seeds: Iterable[int],
    *,
    seconds: float | None = None,
    at_least: int = 0,
    make: Kind = Simulation,
) -> Summary:
    """Run the schedules of *seeds* for *seconds*, or until one breaks an invariant.

    On a busy machine it goes on until there were *at_least* so many, for three times as long at most.
    """
    summary, until = Summary(), None if seconds is None else time.monotonic() + seconds
    for seed in seeds:
        if until is not None and seconds is not None:
            over = time.monotonic() - until
            if over >= 0.0 and (summary.schedules >= at_least or over >= 2 * seconds):
                break
        simulation = make(seed)
        try:
            simulation.run()
        except Broken as broken:
            summary.found = Found(seed, broken, simulation)
        summary.schedules += 1
        summary.effects += simulation.effects
        summary.faults.update(simulation.faults)
        if summary.found is not None:
            break
    return summary


def replay(seed: int, kind: Kind = Simulation) -> int:
    """Print the whole trace of *seed*; return the exit status."""
    summary = search([seed], make=(made := _Keeping(kind)).make)
    _say(made.simulation.trace.text())
    if summary.found is None:
        _say(f"seed {seed}: every invariant held")
        return 0
    _say(f"seed {seed} breaks an invariant\n  {summary.found.broken.invariant}\n  {summary.found.broken.detail}")
    return 1


class _Keeping:
    """Makes simulations and keeps the last one."""

    simulation: Simulation | LimitSimulation

    def __init__(self, kind: Kind) -> None:
        self._kind: Final = kind

    def make(self, seed: int) -> Simulation | LimitSimulation:
        self.simulation = self._kind(seed)
        return self.simulation


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m cycles.testing.simulate", description=__doc__)
    parser.add_argument("--seconds", type=float, help="how long to run (60, unless --schedules says how many)")
    parser.add_argument("--schedules", type=int, help="how many schedules to run")
    parser.add_argument(
        "--at-least",
        type=int,
        default=0,
        help="take up to three times as long for so many schedules, and fail when there were fewer (0)",
    )
    parser.add_argument("--first", type=int, help="the first seed; the next ones follow (chosen at random)")
    parser.add_argument("--seed", type=int, help="run this seed alone and print its trace")
    kinds = parser.add_mutually_exclusive_group()
    for name, (_, what) in _KINDS.items():
        kinds.add_argument(f"--{name}", dest="kind", action="store_const", const=name, help=f"schedules of {what}")
    asked = parser.parse_args(arguments)
    kind: Kind = Simulation if asked.kind is None else _KINDS[asked.kind][0]
    if asked.seed is not None:
        return replay(asked.seed, kind)
    first = int.from_bytes(os.urandom(4)) if asked.first is None else asked.first
    seeds = count(first) if asked.schedules is None else range(first, first + asked.schedules)
    seconds = 60.0 if asked.seconds is None and asked.schedules is None else asked.seconds
    started = time.perf_counter()
    summary = search(seeds, seconds=seconds, at_least=asked.at_least, make=kind)
    status = _reported(summary, first, time.perf_counter() - started, asked.kind)
    if status == 0 and summary.schedules < asked.at_least:
        _say(f"only {summary.schedules} schedules, {asked.at_least} were asked for: give it more --seconds")
        return 1
    return status


def _reported(summary: Summary, first: int, took: float, kind: str | None) -> int:
    if summary.found is not None:
        seed, broken, simulation = summary.found
        _say(simulation.trace.text(last=_SHOWN))
        _say(f"seed {seed} breaks an invariant\n  {broken.invariant}\n  {broken.detail}")
        _say(f"replay it: python -m cycles.testing.simulate{'' if kind is None else f' --{kind}'} --seed {seed}")
        return 1
    pace = summary.schedules / took if took else 0.0
    _say(f"{summary.schedules} schedules from seed {first}, {pace:.0f} a second, {summary.effects} effects")
    for fault in Fault:
        _say(f"{summary.faults[fault]:>9}  {fault}")
    if kind is not None:
        return 0  # not every fault is of these schedules
    if summary.missed:
        _say(f"never met: {', '.join(summary.missed)}; run more schedules")
    return 1 if summary.missed else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    raise SystemExit(main())
