"""`cycles record`: charge what was spent already, at any authority."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cycles.cli._client import client_of
from cycles.cli._options import amount_options, authority_options, spend_options, taken_amount, taken_spend
from cycles.cli._output import figures_of, json_output, money, printable, write_json
from cycles_api.models.amount import Amount
from cycles_api.models.commit_overage_policy import CommitOveragePolicy
from cycles_api.models.standard_metrics import StandardMetrics

if TYPE_CHECKING:
    from cycles._core.results import Settlement
    from cycles.cli._options import Where


@click.command()
@authority_options
@amount_options("What it really cost")
@spend_options
@click.option(
    "--overage-policy",
    type=click.Choice([str(policy) for policy in CommitOveragePolicy]),
    help="When too little is left; default: the authority's.",
)
@click.option("--tokens-input", type=click.IntRange(0), help="Metrics: tokens read.")
@click.option("--tokens-output", type=click.IntRange(0), help="Metrics: tokens written.")
@click.option("--latency-ms", type=click.IntRange(0), help="Metrics: milliseconds that it took.")
@click.option("--model-version", help="Metrics: which model.")
@json_output
def record(*, where: Where, overage_policy: str | None, as_json: bool, **values: Any) -> None:
    """Charge an amount that was spent already.

    It is in the journal before it is sent, so that it is charged once whatever happens; when no answer comes, the
    command ends with status 1 and `cycles journal drain` (or any program with these settings) charges it later.

    \b
    Example:
      cycles record --usd 0.032 --action tool.search web --agent planner
    """
    actual = taken_amount(values)
    with client_of(where, as_json=as_json, settles=True) as client:
        settlement = client.record(
            actual, overage_policy=overage_policy, metrics=_metrics(values), **taken_spend(values)
        )
    _show_charge(settlement, actual, as_json=as_json)


def _metrics(values: dict[str, Any]) -> StandardMetrics | None:
    names = ("tokens_input", "tokens_output", "latency_ms", "model_version")
    given = {name: values[name] for name in names if values[name] is not None}
    return StandardMetrics(**given) if given else None


def _show_charge(settlement: Settlement, actual: Amount, *, as_json: bool) -> None:
    charged = settlement.charged
    if as_json:
        write_json(
            {
                "actual": actual.to_dict(),
                "charged": None if charged is None else charged.to_dict(),
                "attempts": settlement.attempts,
                "balances": [figures_of(balance) for balance in settlement.balances],
                "request_id": settlement.info.request_id,
            }
        )
        return
    less = "" if charged is None or charged.amount >= actual.amount else f" of {money(actual)}: no more was left"
    click.echo(f"charged {money(charged) or 'an amount that the authority did not name'}{less}")
    for balance in settlement.balances:
        click.echo(f"{printable(balance.scope_path)}: {money(_remaining(balance))} left")


def _remaining(balance: Any) -> Amount:
    return Amount(unit=balance.remaining.unit, amount=balance.remaining.amount)
