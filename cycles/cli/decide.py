"""`cycles decide`: whether any authority would grant an amount now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from cycles.cli._client import client_of
from cycles.cli._errors import NO, remedy_for
from cycles.cli._options import amount_options, authority_options, spend_options, taken_amount, taken_spend
from cycles.cli._output import detail_in, detail_lines, json_output, money, printable, write_json

if TYPE_CHECKING:
    from cycles._core.results import Decision
    from cycles.cli._options import Where
    from cycles_api.models.amount import Amount


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
        decision = client.decide(estimate, **taken_spend(values))
        is_local = client.config.is_local
    _show_decision(decision, estimate, as_json=as_json, is_local=is_local)
    if not decision:
        raise click.exceptions.Exit(NO)


def _show_decision(decision: Decision, estimate: Amount, *, as_json: bool, is_local: bool) -> None:
    caps = None if decision.caps is None else decision.caps.to_dict()
    if as_json:
        write_json(
            {
                "allowed": decision.allowed,
                "decision": str(decision.decision),
                "reason_code": decision.reason_code,
                "estimate": estimate.to_dict(),
                "caps": caps,
                "detail": detail_in(decision.detail),
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
    for line in detail_lines(decision.detail, estimate):
        click.echo(printable(line))
    if decision.retry_after is not None:
        click.echo(f"asking again may help after {decision.retry_after:g} s")
    remedy = None if decision.allowed else remedy_for(decision.reason_code, decision.detail, is_local=is_local)
    if remedy is not None:
        click.echo(f"Remedy: {remedy}")
