"""An agent whose runs may cost 50 cents each, inside the ten dollars of its tenant: `python examples/run_limit.py`.

No server is needed: the authority lives in this process. Each run stops at its own limit. When the tenant's budget
can't hold another run, the run does not begin.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import cycles
from cycles import usd, usd_microcents
from cycles.amounts import describe
from cycles.local import LocalAuthority

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cycles import Amount, Client, Limit

RUN_LIMIT = usd("0.50")
TENANT_BUDGET = usd("10.00")
STEP_ESTIMATE = usd("0.05")
STEP_COST = usd("0.04")


def near(limit: Limit) -> None:
    """Say when a run has spent most of what it may."""
    if not limit.is_reached:
        print(f"    {describe(limit.spent)} of {describe(limit.amount)} spent: time to wind down")


def run(client: Client, question: str, steps: int) -> Amount:
    """Take up to *steps* steps, as far as the limit of the run allows; return what they cost."""

    @cycles.Guard(STEP_ESTIMATE, action=("llm.completion", "gpt-4o"), actual=lambda _: STEP_COST, client=client)
    def think(step: int) -> str:
        return f"thought {step} about {question}"

    action = ("agent.run", "research")
    with cycles.Limit(RUN_LIMIT, action=action, on_limit=near, client=client) as limit:
        for step in range(steps):
            try:
                think(step)
            except cycles.BudgetExceeded as refused:
                if refused.limit is None:
                    raise
                print(f"    stopped before step {step + 1}: {describe(limit.remaining)} left")
                break
    return limit.spent


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the agent until the tenant's budget can't hold another run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=25, help="steps that each run wants to take (25)")
    steps = parser.parse_args(arguments).steps
    with LocalAuthority() as authority:
        authority.budget("tenant:acme", TENANT_BUDGET)
        with authority.client(tenant="acme") as client:
            runs = 0
            try:
                while True:
                    spent = run(client, f"question {runs + 1}", steps)
                    runs += 1
                    print(f"run {runs}: {describe(spent)}")
            except cycles.BudgetExceeded as denied:
                print(f"no further run: {denied.code} at {denied.scope or denied.affected_scopes[-1:]}")
        row = authority.balance("tenant:acme", "USD_MICROCENTS")
        print(f"{runs} runs, {describe(usd_microcents(row.spent))} of {describe(TENANT_BUDGET)} spent")


if __name__ == "__main__":
    main()
