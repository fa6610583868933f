"""`cycles balances`, `cycles decide` and `cycles record`: each asks any authority once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from cycles.cli._errors import NO, remedy_for
from cycles.cli._options import authority_options, client_of
from cycles.cli._output import figures_of, json_output, money, printable, show_budgets, write_json
from cycles.cli._parameters import (
    ObjectType,
    PairType,
    amount_options,
    given_levels,
    level_options,
    taken_amount,
)
from cycles.local.admin.names import UNIT_NAMES, unit_named
from cycles_api.models.amount import Amount
from cycles_api.models.commit_overage_policy import CommitOveragePolicy
from cycles_api.models.standard_metrics import StandardMetrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._core.queries import Decision
    from cycles._core.records import Settlement
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


def spend_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add what decide and record say about a spend beside its amount."""
    options = (
        click.option(
            "--action",
            nargs=2,
            metavar="KIND NAME",
            default=("manual", "cycles"),
            show_default="manual cycles",
            help="What is done, such as llm.completion gpt-4o.",
        ),
        level_options("The subject's"),
        click.option("--dimension", "dimensions", multiple=True, type=PairType(), help="A further label; repeatable."),
        click.option("--tag", "tags", multiple=True, help="A label of the action; repeatable."),
        click.option("--metadata", type=ObjectType(), help="An object to keep with it."),
        click.option("--idempotency-key", metavar="KEY", help="The same key is the same request; default: a new one."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _spend(values: dict[str, Any]) -> dict[str, Any]:
    """Return the client's arguments out of a command's *values*."""
    rest = {name: values[name] for name in ("action", "metadata", "idempotency_key")}
    rest |= {"tags": list(values["tags"]) or None, "dimensions": dict(values["dimensions"]) or None}
    return rest | given_levels(values)


@click.command()
@authority_options
@amount_options("The estimate")
@spend_options
@json_output
def decide(*, where: Where, as_json: bool, **values: Any) -> None:
    """Ask whether an amount would be granted now; nothing is held. Ends with status 1 when it would not.

    \b
    Example:
      cycles decide --usd 0.05 --action llm.completion gpt-4o --agent planner
    """
    estimate = taken_amount(values)
    with client_of(where, as_json=as_json) as client:
        decision = client.decide(estimate, **_spend(values))
    _show_decision(decision, estimate, as_json=as_json)
    if not decision:
        raise click.exceptions.Exit(NO)


def _show_decision(decision: Decision, estimate: Amount, *, as_json: bool) -> None:
    caps = None if decision.caps is None else decision.caps.to_dict()
    if as_json:
        write_json(
            {
                "allowed": decision.allowed,
                "decision": str(decision.decision),
                "reason_code": decision.reason_code,
                "estimate": estimate.to_dict(),
                "caps": caps,
                "retry_after": decision.retry_after,
                "affected_scopes": list(decision.affected_scopes),
                "request_id": decision.info.request_id,
            }
        )
        return
    scope = decision.affected_scopes[-1] if decision.affected_scopes else None
    reason = None if decision.reason_code is None else f"({decision.reason_code})"
    parts = (decision.decision, reason, money(estimate), None if scope is None else f"at {scope}")
    click.echo(printable(" ".join(str(part) for part in parts if part is not None)))
    if caps is not None:
        click.echo(f"caps: {json.dumps(caps)}")
    if decision.retry_after is not None:
        click.echo(f"asking again may help after {decision.retry_after:g} s")
    remedy = None if decision.allowed else remedy_for(decision.reason_code)
    if remedy is not None:
        click.echo(f"Remedy: {remedy}")


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
        settlement = client.record(actual, overage_policy=overage_policy, metrics=_metrics(values), **_spend(values))
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
