"""The plot of calls a second over the number of tasks, as SVG, drawn by hand: both axes are logarithmic."""

from __future__ import annotations

import math
from typing import Final

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 180, 30, 50
COLOURS: Final = {"httpx": "#c0392b", "httpx2": "#2471a3", "aiohttp": "#1e8449"}

Curves = dict[str, dict[str, float]]
"""Calls a second by number of tasks, by what makes the calls: "httpx, bare"."""


def ticks(least: float, most: float) -> list[float]:
    """Return 1, 2, 5, 10 and so on, as far as they lie between *least* and *most*."""
    steps = [head * 10.0**power for power in range(7) for head in (1, 2, 5)]
    return [step for step in steps if least <= step <= most]


class Scale:
    """Positions in the plot of numbers of tasks, and of calls a second."""

    def __init__(self, curves: Curves) -> None:
        tasks = [int(at) for points in curves.values() for at in points]
        rates = [rate for points in curves.values() for rate in points.values()]
        self.tasks = (min(tasks), max(tasks))
        self.rates = (min(rates) / 1.2, max(rates) * 1.2)

    def x(self, tasks: float) -> float:
        return LEFT + _part(tasks, *self.tasks) * (WIDTH - LEFT - RIGHT)

    def y(self, rate: float) -> float:
        return HEIGHT - BOTTOM - _part(rate, *self.rates) * (HEIGHT - TOP - BOTTOM)


def _part(value: float, least: float, most: float) -> float:
    return math.log(value / least) / math.log(most / least)


def text(x: float, y: float, content: str, anchor: str = "middle", colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{content}</text>'


def line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def curve(name: str, points: dict[str, float], scale: Scale) -> list[str]:
    """Return one curve; guarded calls are solid lines, bare ones are dashed."""
    engine, _, kind = name.partition(", ")
    colour, dashes = COLOURS[engine], ' stroke-dasharray="5 4"' if kind == "bare" else ""
    places = [(scale.x(int(at)), scale.y(rate)) for at, rate in points.items()]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>']


def legend(curves: Curves) -> list[str]:
    """Return the names of the curves, the fastest at the end first."""
    ends = sorted(curves, key=lambda name: -list(curves[name].values())[-1])
    parts = []
    for place, name in enumerate(ends):
        engine, _, kind = name.partition(", ")
        x, y = WIDTH - RIGHT + 20, TOP + 20 + 22 * place
        dashes = ' stroke-dasharray="5 4"' if kind == "bare" else ""
        stroke = f'stroke="{COLOURS[engine]}" stroke-width="2"{dashes}'
        parts.append(f'<line x1="{x}" y1="{y - 4}" x2="{x + 28}" y2="{y - 4}" {stroke}/>')
        parts.append(text(x + 36, y, name, "start"))
    return parts


def svg(curves: Curves) -> str:
    """Return the plot of *curves*."""
    scale = Scale(curves)
    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for tick in ticks(*scale.tasks):
        parts.append(line(scale.x(tick), TOP, scale.x(tick), HEIGHT - BOTTOM))
        parts.append(text(scale.x(tick), HEIGHT - BOTTOM + 18, f"{tick:,.0f}"))
    for tick in ticks(*scale.rates):
        parts.append(line(LEFT, scale.y(tick), WIDTH - RIGHT, scale.y(tick)))
        parts.append(text(LEFT - 8, scale.y(tick) + 4, f"{tick:,.0f}", "end"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "tasks at once"))
    parts.append(text(LEFT, TOP - 10, "calls a second (reserve and commit)", "start"))
    for name, points in curves.items():
        parts += curve(name, points, scale)
    parts += legend(curves)
    space, font = 'xmlns="http://www.w3.org/2000/svg"', 'font-family="sans-serif" font-size="13"'
    head = f'<svg {space} viewBox="0 0 {WIDTH} {HEIGHT}" {font}>'
    return "\n".join((head, *parts, "</svg>\n"))
