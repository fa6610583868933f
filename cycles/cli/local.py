"""`cycles local`: make a ledger file of this machine, begin its next period, and the groups of its other commands."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cycles._outside.urls import is_postgres
from cycles.amounts import describe, spelled
from cycles.cli._errors import NO
from cycles.cli._keys import chosen_key, key_options
from cycles.cli._ledger import (
    default_ledger,
    known_tenant,
    ledger,
    ledger_option,
    note_period,
    shown_ledger,
)
from cycles.cli._options import amount_options, taken_amounts
from cycles.cli._output import figures_in, json_output, show_budgets, write_json
from cycles.cli._parameters import BudgetType, TenantType
from cycles.cli.local_budget import budget
from cycles.cli.local_event import event
from cycles.cli.local_key import key
from cycles.cli.local_keygen import keygen
from cycles.cli.local_tenant import tenant
from cycles.errors import InvalidRequest
from cycles.local.admin.names import Wanted, short_name_of
from cycles.local.registry import DEFAULT_TENANT
from cycles_api.models.amount import Amount
from cycles_api.models.unit_enum import to_unit_enum

if TYPE_CHECKING:
    from cycles.local import Budget, LocalAuthority


@click.group("local")
def local() -> None:
    """A ledger file of this machine, without any server."""


local.add_command(budget)
local.add_command(event)
local.add_command(tenant)
local.add_command(key)
local.add_command(keygen)


@local.command()
@ledger_option(must_exist=False)
@click.option(
    "--tenant",
    "tenant_id",
    type=TenantType(),
    envvar="CYCLES_TENANT",
    default=DEFAULT_TENANT,
    help=f"Whose.  [env: CYCLES_TENANT; default: {DEFAULT_TENANT}]",
)
@amount_options("The tenant's budget")
@click.option("--budget", "budgets", multiple=True, type=BudgetType(), help="A budget of another scope; repeatable.")
@key_options
@click.option("--plain", is_flag=True, help="Without `export`, for files such as docker's --env-file.")
@json_output
def init(
    db: str,
    tenant_id: str,
    *,
    budgets: tuple[tuple[str, Wanted], ...],
    api_key: str | None,
    api_key_file: str | None,
    plain: bool,
    as_json: bool,
    **values: Any,
) -> None:
    """Make a ledger with a tenant, a key and budgets, and print the settings for programs.

    What is there already stays as it is, and a new key is made each time. The output is for eval, or for a .env file.
    Who reaches the ledger over HTTP (`cycles serve --db FILE`) needs the key; it is shown this once.

    \b
    Example:
      eval "$(cycles local init --tenant acme --usd 25)"
    """
    secret = chosen_key(api_key, api_key_file)
    wanted = [(f"tenant:{tenant_id.lower()}", Wanted(amount)) for amount in taken_amounts(values)] + list(budgets)
    if not wanted and not is_postgres(db) and not Path(db).exists():
        raise click.UsageError("give the tenant a budget: --usd, --tokens, --credits or --risk-points")
    if db == str(default_ledger()):
        Path(db).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with ledger(db, as_json=as_json) as authority:
        if known_tenant(authority, tenant_id) is None:
            authority.tenant(tenant_id)
        there = {(row.scope_path, row.unit) for row in authority.balances()}
        made = [
            authority.ensure_budget(scope, asked.amount, period=asked.period, zone=asked.zone)
            for scope, asked in wanted
        ]
        for (_, asked), row in zip(wanted, made, strict=True):
            _note(row, asked, db, is_new=(row.scope_path, row.unit) not in there)
        if secret is None:
            secret = authority.key(tenant=tenant_id, name="cycles local init")
        else:
            authority.add_key(secret, tenant=tenant_id, name="cycles local init")
    settings = {
        "CYCLES_BASE_URL": f"local:{authority.store.place}",
        "CYCLES_API_KEY": secret,
        "CYCLES_TENANT": tenant_id,
    }
    if shown_ledger(db) != db:
        click.echo("note: the password is not shown; programs need it, too: see docs/postgres.md", err=True)
    if as_json:
        told = {name.removeprefix("CYCLES_").lower(): value for name, value in settings.items()}
        write_json({**told, "budgets": [figures_in(row) for row in made]})
        return
    for name, value in settings.items():
        click.echo(f"{'' if plain else 'export '}{name}={shlex.quote(value)}")


def _note(row: Budget, wanted: Wanted, db: str, *, is_new: bool) -> None:
    """Say what of a budget that was there is not as *wanted*."""
    if not is_new and row.allocated != wanted.amount.amount:
        _left_alone(row, wanted.amount, db)
    note_period(row, wanted)


def _left_alone(row: Budget, wanted: Amount, db: str) -> None:
    """Say on stderr that a budget was there with another amount, and how to change it: stdout is for eval."""
    short = short_name_of(row.unit)
    number = str(wanted.amount) if short != "usd" else describe(wanted).removeprefix("$").replace(",", "")
    has = f"{row.scope_path} has {spelled(row.unit, row.allocated)} ({spelled(row.unit, row.remaining)} left)"
    named = shlex.quote(shown_ledger(db))
    change = f"cycles local budget set {row.scope_path} --{short.replace('_', '-')} {number} --db {named}"
    click.echo(f"note: {has} already, and keeps it; to make it {spelled(row.unit, wanted.amount)}: {change}", err=True)


@local.command()
@click.argument("file", type=click.Path(dir_okay=False))
@ledger_option()
@json_output
def backup(db: str, file: str, *, as_json: bool) -> None:
    """Copy the ledger to FILE, which must not be there yet; programs may go on using the ledger meanwhile.

    The copy is a whole ledger in one file. A plain copy of a ledger in use lacks the last that was spent.

    \b
    Example:
      cycles local backup monday.db
    """
    with ledger(db, as_json=as_json) as authority:
        authority.backup(file)
    if as_json:
        write_json({"ledger": db, "copy": file})
    else:
        click.echo(f"copied {db} to {file}")


@local.command()
@ledger_option()
@json_output
def check(db: str, *, as_json: bool) -> None:
    """Read the whole ledger, and add it up: budgets, and the reservations that are held in them.

    The exit status is 1 when something is wrong with it.

    \b
    Example:
      cycles local check
    """
    with ledger(db, as_json=as_json) as authority:
        problems = authority.check()
    if as_json:
        write_json({"ledger": shown_ledger(db), "problems": problems})
    else:
        for problem in problems or ["all is well"]:
            click.echo(problem)
    if problems:
        raise click.exceptions.Exit(NO)


@local.command()
@ledger_option()
@click.option("--tenant", "tenant_id", type=TenantType(), help="Only this tenant's budgets.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_output
def reset(db: str, tenant_id: str | None, *, yes: bool, as_json: bool) -> None:
    """Begin a new period: nothing is spent or owed any more; allocations, and what is held, stay.

    Budgets that are frozen or closed stay as they are.

    \b
    Example:
      cycles local reset --yes
    """
    if not yes:
        click.confirm(f"Forget what was spent from {shown_ledger(db)}?", abort=True, err=True)
    with ledger(db, as_json=as_json) as authority:
        rows = [row for row in authority.balances() if tenant_id is None or row.tenant == tenant_id.lower()]
        if not rows and tenant_id is not None:
            raise InvalidRequest(f"the tenant {tenant_id} has no budget; `cycles local budget list` shows all")
        after = [_renewed(authority, row) if row.status == "ACTIVE" else row for row in rows]
    show_budgets([figures_in(row) for row in after], as_json=as_json, empty="no budget")


def _renewed(authority: LocalAuthority, row: Budget) -> Budget:
    unit = to_unit_enum(row.unit)
    if row.debt:
        authority.fund(row.scope_path, "REPAY_DEBT", Amount(unit=unit, amount=row.debt))
    allocated = row.allocated if row.period is None else row.period.amount
    return authority.fund(row.scope_path, "RESET_SPENT", Amount(unit=unit, amount=allocated))
