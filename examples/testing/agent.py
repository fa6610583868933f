"""A small agent that pays for what it does; test_agent.py tests it. It knows nothing of tests, nor of an authority."""

from __future__ import annotations

import cycles
from cycles import usd, usd_microcents


@cycles.Guard(
    estimate=usd("0.10"),
    action=("llm.completion", "gpt-4o"),
    actual=lambda thought: usd_microcents(len(thought) * 200_000),  # $0.002 a character
)
def think(task: str) -> str:
    """Think about *task*; your model call."""
    return f"{task} is harder than it seems"


def work(task: str, steps: int = 1_000) -> list[str]:
    """Think about *task* until all *steps* are done, or the budget is."""
    thoughts: list[str] = []
    try:
        for _ in range(steps):
            thoughts.append(think(task))
    except cycles.BudgetExceeded:
        thoughts.append("out of money")
    return thoughts


def search(question: str) -> list[str]:
    """Search the web, unless the authority's caps forbid the tool."""
    with cycles.Guard(usd("0.20"), action=("tool.search", "web"), ttl=30) as reservation:
        if not reservation.allows_tool("web"):
            reservation.release("web is not allowed")
            return []
        pages = read(question)
        reservation.report(actual=usd("0.02"))
        return pages


def read(question: str) -> list[str]:
    """Read what there is; your tool."""
    return [f"page {number} on {question}" for number in (1, 2, 3)]
