"""`cycles local event`: what was charged in a ledger file without a reservation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cycles._core.windows import window
from cycles.amounts import spelled
from cycles.cli._errors import explained
from cycles.cli._ledger import ledger, ledger_option
from cycles.cli._options import given_levels, level_options
from cycles.cli._output import json_output, moment, one_more_than, write_list, write_table
from cycles.cli._parameters import MomentType, TenantType

if TYPE_CHECKING:
    from cycles.cli._parameters import MomentParameter
    from cycles.local import ChargedEvent

_MOMENT: MomentParameter = MomentType()


@click.group()
def event() -> None:
    """What was charged in a ledger file without a reservation: list."""


@event.command("list")
@ledger_option()
@click.option("--tenant", "tenant_id", type=TenantType(), help="Only this tenant's.")
@level_options("Only those of this")
@click.option("--idempotency-key", metavar="KEY", help="Only the one that was made with this key.")
@click.option(
    "--created-from",
    type=_MOMENT,
    help="Only those charged at this time or later: 2026-01-31T12:00:00Z, or 90m, 2h, 1d (ago).",
)
@click.option("--created-to", type=_MOMENT, help="Only those charged at this time or before.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0), help="Rows at most; 0 is all.")
@json_output
def list_events(db: str, *, tenant_id: str | None, limit: int, as_json: bool, **values: Any) -> None:
    """List events of the last 30 days, newest first: what `cycles record` and the protocol's events have charged.

    What was charged by the commit of a reservation is in `cycles reservations list`. A ledger that an earlier version
    made lists the events that were charged since this one opened it.

    \b
    Example:
      cycles local event list --agent planner --created-from 2h
    """
    with explained(as_json=as_json):
        ends = (values["created_from"], values["created_to"])
        created = window("--created", ends, datetime.now(UTC))
    with ledger(db, as_json=as_json) as authority:
        key, levels = values["idempotency_key"], given_levels(values)
        found = authority.charged_events(tenant_id, key=key, levels=levels, created=created)
        rows = one_more_than(limit, found)
    write_list(rows, limit, as_json=as_json, facts=_facts, show=_show, noun="event")


def _facts(row: ChargedEvent) -> dict[str, Any]:
    """Return an event as `--json` writes it: amounts as on the wire, and without what was not said."""
    facts = {
        "event_id": row.event_id,
        "tenant": row.tenant,
        "scope_path": row.affected[-1],
        "affected_scopes": list(row.affected),
        "subject": row.subject,
        "action": row.action,
        "actual": {"unit": row.unit, "amount": row.actual},
        "charged": {"unit": row.unit, "amount": row.charged},
        "overage_policy": row.overage_policy,
        "idempotency_key": row.idempotency_key,
        "created_at_ms": row.created_at_ms,
        "client_time_ms": row.client_time_ms,
        "metrics": row.metrics,
        "metadata": row.metadata,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _show(rows: list[ChargedEvent]) -> None:
    columns = ("EVENT", "ACTUAL", "CHARGED", "SCOPE", "ACTION", "CREATED")
    shown = [
        (
            row.event_id,
            spelled(row.unit, row.actual),
            spelled(row.unit, row.charged),
            row.affected[-1],
            f"{row.action['kind']} {row.action['name']}",
            moment(row.created_at_ms),
        )
        for row in rows
    ]
    write_table(columns, shown, right=("ACTUAL", "CHARGED"))
