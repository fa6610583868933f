"""The commands: `cycles serve`, and what an operator does with the ledger of this machine."""

from __future__ import annotations

import json
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from cycles.amounts import describe
from cycles.cli.journal import journal
from cycles.errors import CyclesError
from cycles.local import LocalAuthority
from cycles.local.authority import DEFAULT_TENANT
from cycles.local.names import parse_budget, unit_named
from cycles_api.models.amount import Amount
from cycles_api.models.unit_enum import UnitEnum

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from cycles.local import Budget

UNITS: Final = ("usd", "tokens", "credits", "risk_points")


if TYPE_CHECKING:
    AmountParameter = click.ParamType[Amount]
    BudgetParameter = click.ParamType[tuple[str, Amount]]
else:  # generic since click 8.4 or so
    AmountParameter = BudgetParameter = click.ParamType


class AmountType(AmountParameter):
    """An amount as people write it: usd:1.00, tokens:1000000."""

    name = "UNIT:AMOUNT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Amount:
        if isinstance(value, Amount):
            return value
        unit, separator, amount = str(value).partition(":")
        if not separator:
            self.fail(f"{value!r}: write it like usd:1.00 or tokens:1000000", param, ctx)
        try:
            return parse_budget(unit, amount)
        except CyclesError as error:
            self.fail(error.message, param, ctx)


class BudgetType(BudgetParameter):
    """A scope and an amount: tenant:acme=usd:1.00."""

    name = "SCOPE=UNIT:AMOUNT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Amount]:
        if isinstance(value, tuple):
            return value
        scope, separator, amount = str(value).rpartition("=")
        if not separator:
            self.fail(f"{value!r}: write it like tenant:acme=usd:1.00", param, ctx)
        return scope, AmountType().convert(amount, param, ctx)


@contextmanager
def explained() -> Iterator[None]:
    """Show our errors as the command's, without a traceback."""
    try:
        yield
    except CyclesError as error:
        raise click.ClickException(error.message) from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cycles-guard", prog_name="cycles")
def cycles() -> None:
    """Runtime budget authority for AI agents, on this machine."""


# -- serve -------------------------------------------------------------------------------------------------------------
cycles.add_command(journal)


@cycles.command()
@click.option("--db", type=click.Path(dir_okay=False), help="Ledger file; without it, everything is in memory.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=7878, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--beyond-loopback", is_flag=True, help="Let other machines in: keys travel in plain text.")
@click.option("--budget", "budgets", multiple=True, type=BudgetType(), help="Made unless it is there; repeatable.")
@click.option("--tenant", help="Whose API key is shown; default: the tenant of the first budget.")
@click.option("--api-key", help="Let this be the tenant's key; default: a new one.")
@click.option("--admin-key", help="Let X-Admin-API-Key be this; default: nobody is the administrator.")
@click.option("--json", "as_json", is_flag=True, help="Write the ready line as JSON: base_url, api_key, tenant.")
def serve(
    *,
    db: str | None,
    host: str,
    port: int,
    budgets: tuple[tuple[str, Amount], ...],
    tenant: str | None,
    api_key: str | None,
    admin_key: str | None,
    beyond_loopback: bool,
    as_json: bool,
) -> None:
    """Serve an authority over HTTP until SIGINT or SIGTERM.

    When it is ready, one line says how to reach it; it can be put in front of a command.

    \b
    Example:
      cycles serve --db ledger.db --budget tenant:acme=usd:1.00
    """
    with explained():
        from cycles.local.server import Server, listening, url_of  # noqa: PLC0415 - needs the extra

        # The address first: a start that fails because of it leaves no key behind in the ledger.
        with (
            listening(host, port, beyond_loopback=beyond_loopback) as listener,
            LocalAuthority(db, admin_key=admin_key) as authority,
        ):
            for scope, amount in budgets:
                authority.ensure_budget(scope, amount)
            tenant = tenant or (budgets[0][0].split("/")[0].removeprefix("tenant:") if budgets else DEFAULT_TENANT)
            if api_key is None:
                api_key = authority.key(tenant=tenant, name="cycles serve")
            else:
                authority.add_key(api_key, tenant=tenant, name="cycles serve")
            ready = {"base_url": url_of(listener), "api_key": api_key, "tenant": tenant}
            run(Server(authority), listener, _ready_line(ready, as_json=as_json))


def run(server: Any, listener: Any, line: str) -> None:
    """Run *server* in this thread until a signal ends it; *line* says that it is ready."""
    from threading import Thread  # noqa: PLC0415

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler
        server.should_exit = True

    def announce() -> None:
        server.ready.wait()
        click.echo(line)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    Thread(target=announce, daemon=True).start()
    try:
        server.run([listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ready_line(ready: dict[str, str], *, as_json: bool) -> str:
    if as_json:
        return json.dumps(ready)
    return " ".join(f"CYCLES_{name.upper()}={value}" for name, value in ready.items())


# -- the ledger of this machine ----------------------------------------------------------------------------------------
database = click.option("--db", required=True, type=click.Path(dir_okay=False), help="Ledger file.")
existing_database = click.option(
    "--db", required=True, type=click.Path(exists=True, dir_okay=False), help="Ledger file."
)
json_output = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
unit_argument = click.argument("unit", type=click.Choice(UNITS))


@contextmanager
def ledger(db: str) -> Iterator[LocalAuthority]:
    """Open the ledger *db* for one command."""
    with explained(), LocalAuthority(db) as authority:
        yield authority


def _figures(row: Budget) -> dict[str, Any]:
    names = ("allocated", "remaining", "reserved", "spent", "debt", "overdraft_limit", "is_over_limit", "status")
    return {"scope": row.scope_path, "unit": row.unit, **{name: getattr(row, name) for name in names}}


def _show(rows: list[Budget], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_figures(row) for row in rows]))
        return
    for row in rows:
        shown = {
            name: describe(Amount(unit=UnitEnum(row.unit), amount=getattr(row, name)))
            for name in ("remaining", "allocated", "reserved", "spent", "debt")
        }
        notes = [row.status] * (row.status != "ACTIVE") + ["over limit"] * row.is_over_limit
        debt = f", owes {shown['debt']}" if row.debt else ""
        click.echo(
            f"{row.scope_path}: {shown['remaining']} of {shown['allocated']} remain, {shown['reserved']} reserved, "
            f"{shown['spent']} spent{debt}{''.join(f' [{note}]' for note in notes)}"
        )


@cycles.command()
@existing_database
@json_output
def balances(db: str, *, as_json: bool) -> None:
    """Show every budget.

    \b
    Example:
      cycles balances --db ledger.db
    """
    with ledger(db) as authority:
        _show(authority.balances(), as_json=as_json)


@cycles.group()
def budget() -> None:
    """Create, fund, freeze and close budgets."""


@budget.command("set")
@database
@click.argument("scope")
@click.argument("amount", type=AmountType())
@click.option("--overdraft-limit", type=AmountType(), help="How much may be owed, in the same unit.")
@json_output
def set_budget(db: str, scope: str, amount: Amount, overdraft_limit: Amount | None, *, as_json: bool) -> None:
    """Create a budget, or set its allocation; what is spent, reserved and owed stays.

    \b
    Example:
      cycles budget set --db ledger.db tenant:acme/agent:planner usd:5
    """
    with ledger(db) as authority:
        _show([authority.budget(scope, amount, overdraft_limit=overdraft_limit)], as_json=as_json)


@budget.command()
@existing_database
@click.argument("scope")
@click.argument("operation", type=click.Choice(["CREDIT", "DEBIT", "RESET", "RESET_SPENT", "REPAY_DEBT"]))
@click.argument("amount", type=AmountType())
@json_output
def fund(db: str, scope: str, operation: str, amount: Amount, *, as_json: bool) -> None:
    """Add to a budget, take from it, begin its period anew, or repay its debt.

    \b
    Example:
      cycles budget fund --db ledger.db tenant:acme CREDIT usd:10
    """
    with ledger(db) as authority:
        _show([authority.fund(scope, operation, amount)], as_json=as_json)


def _status_command(name: str, method: str, meaning: str) -> None:
    @budget.command(name, help=f"{meaning}\n\n\b\nExample:\n  cycles budget {name} --db ledger.db tenant:acme usd")
    @existing_database
    @click.argument("scope")
    @unit_argument
    @json_output
    def command(db: str, scope: str, unit: str, *, as_json: bool) -> None:
        with ledger(db) as authority:
            _show([getattr(authority, method)(scope, unit_named(unit))], as_json=as_json)


_status_command("freeze", "freeze", "Let nothing new be reserved; what is held can still be settled.")
_status_command("unfreeze", "unfreeze", "Undo freeze.")
_status_command("close", "close_budget", "Close a budget for good.")


@cycles.group()
def tenant() -> None:
    """Set, suspend and close tenants."""


@tenant.command("set")
@database
@click.argument("tenant_id", metavar="TENANT")
@click.option("--status", type=click.Choice(["ACTIVE", "SUSPENDED"]), default="ACTIVE", show_default=True)
@click.option("--default-ttl-ms", type=int, default=60_000, show_default=True, help="When a request names none.")
@click.option("--max-ttl-ms", type=int, default=3_600_000, show_default=True, help="Longer ones are cut to this.")
@click.option("--max-extensions", type=int, default=10, show_default=True, help="Of one reservation; 0 forbids them.")
@click.option(
    "--overage-policy",
    type=click.Choice(["REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT"]),
    default="ALLOW_IF_AVAILABLE",
    show_default=True,
    help="When a request names none.",
)
def set_tenant(db: str, tenant_id: str, **settings: Any) -> None:
    """Create TENANT or set all its settings; a tenant without a record has these defaults.

    \b
    Example:
      cycles tenant set --db ledger.db acme --max-ttl-ms 600000
    """
    with ledger(db) as authority:
        made = authority.tenant(tenant_id, **settings)
        click.echo(f"{made.tenant_id}: {made.status}")


@tenant.command("close")
@existing_database
@click.argument("tenant_id", metavar="TENANT")
def close_tenant(db: str, tenant_id: str) -> None:
    """Close TENANT for good: release what is held, close its budgets, revoke its keys.

    \b
    Example:
      cycles tenant close --db ledger.db acme
    """
    with ledger(db) as authority:
        made = authority.tenant(tenant_id, status="CLOSED")
        click.echo(f"{made.tenant_id}: {made.status}")


@cycles.group()
def key() -> None:
    """Create and revoke API keys."""


@key.command("create")
@database
@click.argument("tenant")
@click.option("--api-key", help="Let this be the key; default: a new one.")
def create_key(db: str, tenant: str, api_key: str | None) -> None:
    """Make an API key of TENANT and show it, this once: only its hash is kept.

    \b
    Example:
      cycles key create --db ledger.db acme
    """
    with ledger(db) as authority:
        if api_key is None:
            api_key = authority.key(tenant=tenant, name="cycles key create")
        else:
            authority.add_key(api_key, tenant=tenant, name="cycles key create")
        click.echo(api_key)


@key.command("revoke")
@existing_database
@click.argument("api_key")
def revoke_key(db: str, api_key: str) -> None:
    """Take an API key's rights away.

    \b
    Example:
      cycles key revoke --db ledger.db cyc_live_…
    """
    with ledger(db) as authority:
        authority.revoke(api_key)
