"""`cycles reservations`: list, show and release the reservations of any authority."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from cycles._core.attempts import until_known
from cycles._core.effects import NewKey
from cycles._core.operations import RELEASE_RESERVATION
from cycles._core.outcomes import Verdict, error_of, judge
from cycles._core.requests import text
from cycles._drivers import blocking
from cycles._drivers.phases import Phases
from cycles._drivers.world import World
from cycles._telemetry import log
from cycles.cli._client import client_of
from cycles.cli._options import authority_options, given_levels, level_options
from cycles.cli._output import (
    json_output,
    moment,
    money,
    one_more_than,
    printable,
    write_facts,
    write_json,
    write_list,
    write_table,
)
from cycles.cli._parameters import MomentType
from cycles_api.models.release_request import ReleaseRequest
from cycles_api.models.reservation_sort_field import ReservationSortField
from cycles_api.models.reservation_status import ReservationStatus
from cycles_api.types import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles._core.effects import Flow
    from cycles._core.retry import RetryPolicy
    from cycles.cli._options import Where
    from cycles.cli._parameters import MomentParameter
    from cycles_api.models.release_response import ReleaseResponse
    from cycles_api.models.reservation_detail import ReservationDetail
    from cycles_api.models.reservation_summary import ReservationSummary

WINDOWS = ("created", "expires", "finalized")


@click.group()
def reservations() -> None:
    """What is held, and what was: list, show, release."""


def window_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the two ends of each time window."""
    kind: MomentParameter = MomentType()
    for name in reversed(WINDOWS):
        when = "from now" if name == "expires" else "ago"
        what = {"created": "made", "expires": "that expire", "finalized": "committed or released"}[name]
        last = click.option(f"--{name}-to", type=kind, help=f"Only those {what} at this time or before.")
        first = click.option(
            f"--{name}-from",
            type=kind,
            help=f"Only those {what} at this time or later: 2026-01-31T12:00:00Z, or 90m, 2h, 1d ({when}).",
        )
        command = first(last(command))
    return command


@reservations.command("list")
@authority_options
@level_options("Only those of this")
@click.option("--status", type=click.Choice([str(status) for status in ReservationStatus]), help="Only in this state.")
@click.option("--idempotency-key", metavar="KEY", help="Only the one that was made with this key.")
@window_options
@click.option("--sort-by", type=click.Choice([str(field) for field in ReservationSortField]), help="Default: by age.")
@click.option("--sort-dir", type=click.Choice(["asc", "desc"]), help="Default: desc.")
@click.option("--include", multiple=True, metavar="PART", help="Add to JSON: metadata, committed_metadata, evidence.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0), help="Rows at most; 0 is all.")
@json_output
def list_reservations(*, where: Where, limit: int, as_json: bool, **values: Any) -> None:
    """List reservations, newest first.

    What was charged without one (`cycles record`, events) is not among them: it is in what `cycles balances` shows as
    spent, on the page of `cycles serve`, and in `cycles local event list`, which reads a ledger of this machine.

    \b
    Example:
      cycles reservations list --status ACTIVE --created-from 2h
    """
    filters = given_levels(values)
    filters |= {name: values[name] for name in ("status", "idempotency_key", "sort_by", "sort_dir")}
    for name in WINDOWS:
        ends = (values[f"{name}_from"], values[f"{name}_to"])
        filters |= {name: None if ends == (None, None) else ends}
    with client_of(where, as_json=as_json) as client:
        found = client.reservations(
            **filters, include=list(values["include"]) or None, page_size=min(limit, 199) + 1 if limit else 200
        )
        rows = one_more_than(limit, found)
    write_list(rows, limit, as_json=as_json, facts=lambda row: row.to_dict(), show=_show_rows, noun="reservation")


def _show_rows(rows: list[ReservationSummary]) -> None:
    columns = ("RESERVATION", "STATUS", "RESERVED", "CHARGED", "SCOPE", "ACTION", "CREATED", "EXPIRES")
    shown = [
        (
            row.reservation_id,
            row.status,
            money(row.reserved),
            money(row.committed),
            row.scope_path,
            f"{row.action.kind} {row.action.name}",
            moment(row.created_at_ms),
            moment(row.expires_at_ms),
        )
        for row in rows
    ]
    write_table(columns, shown, right=("RESERVED", "CHARGED"))


@reservations.command()
@authority_options
@click.argument("reservation_id", metavar="RESERVATION")
@json_output
def show(*, where: Where, reservation_id: str, as_json: bool) -> None:
    """Show everything about one reservation.

    \b
    Example:
      cycles reservations show 4b0c3f8e-7d0a-4a53-9a34-b7f0c40f5d51
    """
    with client_of(where, as_json=as_json) as client:
        detail = client.reservation(reservation_id)
    if as_json:
        write_json(detail.to_dict())
    else:
        write_facts(_facts(detail))


def _facts(detail: ReservationDetail) -> list[tuple[str, object]]:
    def told(value: Any) -> str | None:
        if isinstance(value, Unset):
            return None
        return json.dumps(value if isinstance(value, dict) else value.to_dict(), ensure_ascii=False)

    return [
        ("reservation", detail.reservation_id),
        ("status", detail.status),
        ("reserved", money(detail.reserved)),
        ("charged", money(detail.committed)),
        ("scope", detail.scope_path),
        ("action", f"{detail.action.kind} {detail.action.name}"),
        ("subject", told(detail.subject)),
        ("created", moment(detail.created_at_ms)),
        ("expires", moment(detail.expires_at_ms)),
        ("finalized", moment(detail.finalized_at_ms)),
        ("idempotency key", None if isinstance(detail.idempotency_key, Unset) else detail.idempotency_key),
        ("metadata", told(detail.metadata)),
        ("committed metadata", told(detail.committed_metadata)),
        ("evidence", told(detail.evidence)),
    ]


@reservations.command()
@authority_options
@click.argument("reservation_ids", metavar="RESERVATION...", nargs=-1, required=True)
@click.option("--reason", help="Why, for whoever reads it later; at most 256 characters.")
@json_output
def release(*, where: Where, reservation_ids: tuple[str, ...], reason: str | None, as_json: bool) -> None:
    """Give what is held back to the budgets. The section that holds it, if it still runs, can't commit any more.

    \b
    Example:
      cycles reservations release 4b0c3f8e-7d0a-4a53-9a34-b7f0c40f5d51 --reason "the worker is gone"
    """
    released = []
    with client_of(where, as_json=as_json) as client:
        config = client.config
        timeout = Phases(config.connect_timeout, config.read_timeout, config.read_timeout, None)
        world = World(client.api, log.notify, timeout=timeout)
        try:
            for reservation_id in reservation_ids:
                answer = blocking.run(releasing(reservation_id, reason, config.retry), world.traced())
                released.append({"reservation_id": reservation_id, "released": answer.released.to_dict()})
                if not as_json:
                    click.echo(f"{printable(reservation_id)}: {money(answer.released)} given back")
        finally:
            if as_json:  # also those released before one that fails
                write_json(released)


def releasing(reservation_id: str, reason: str | None, policy: RetryPolicy) -> Flow[ReleaseResponse]:
    """Release a reservation that this process does not hold.

    Raises:
        AuthorityError, AuthorityUnavailable: when it is not released.
    """
    checked = text("RESERVATION", reservation_id, most=128)
    body = ReleaseRequest(
        idempotency_key=(yield from NewKey()), reason=UNSET if reason is None else text("--reason", reason, most=256)
    )
    answer, _ = yield from until_known(RELEASE_RESERVATION, {"reservation_id": checked, "body": body}, policy)
    if judge(RELEASE_RESERVATION, answer) is not Verdict.DONE or answer.parsed is None:
        raise error_of(RELEASE_RESERVATION, answer)
    return answer.parsed
