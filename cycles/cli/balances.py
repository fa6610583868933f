"""`cycles balances`: the budgets of a tenant at any authority."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cycles.cli._client import client_of
from cycles.cli._options import authority_options, given_levels, level_options
from cycles.cli._output import figures_of, json_output, show_budgets
from cycles.local.admin.names import UNIT_NAMES, unit_named

if TYPE_CHECKING:
    from cycles.cli._options import Where


@click.command()
@authority_options
@level_options("Only budgets at this")
@click.option("--unit", type=click.Choice(UNIT_NAMES), help="Only budgets in this unit.")
@json_output
def balances(*, where: Where, unit: str | None, as_json: bool, **levels: Any) -> None:
    """Show the budgets of a tenant, and what is left of each.

    \b
    Example:
      cycles balances --agent planner
    """
    with client_of(where, as_json=as_json) as client:
        rows = client.balances(page_size=200, **given_levels(levels))
        found = [figures_of(row) for row in rows]
    if unit is not None:
        found = [row for row in found if row["unit"] == unit_named(unit)]
    show_budgets(found, as_json=as_json, empty="no budget found; `cycles doctor` says what was looked for")
