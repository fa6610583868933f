"""`cycles local tenant`: the tenants of a ledger file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cycles.cli._ledger import known_tenant, ledger, ledger_option, tenant_argument
from cycles.cli._output import json_output, moment, write_json, write_table
from cycles.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local import Tenant

POLICIES = ("REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT")
SETTINGS = ("default_ttl_ms", "max_ttl_ms", "max_extensions", "overage_policy")


@click.group()
def tenant() -> None:
    """The tenants of a ledger file: create, set, suspend, resume, close, list."""


def _settings(command: Callable[..., None]) -> Callable[..., None]:
    options = (
        click.option("--default-ttl-ms", type=int, help="Milliseconds of a lease when none is asked for.  [60000]"),
        click.option("--max-ttl-ms", type=int, help="Milliseconds; longer leases are cut to this.  [3600000]"),
        click.option("--max-extensions", type=int, help="Of one reservation; 0 forbids them.  [10]"),
        click.option(
            "--overage-policy", type=click.Choice(POLICIES), help="When a request names none.  [ALLOW_IF_AVAILABLE]"
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _show(tenants: list[Tenant], *, as_json: bool) -> None:
    if as_json:
        names = ("tenant_id", "name", "status", *SETTINGS, "created_at_ms")
        write_json([{name: getattr(made, name) for name in names} for made in tenants])
        return
    if not tenants:
        click.echo("no tenant")
        return
    columns = ("TENANT", "STATUS", "DEFAULT TTL", "MAX TTL", "EXTENSIONS", "OVERAGE POLICY", "CREATED")
    rows = [
        (
            made.tenant_id,
            made.status,
            f"{made.default_ttl_ms / 1000:g} s",
            f"{made.max_ttl_ms / 1000:g} s",
            made.max_extensions,
            made.overage_policy,
            moment(made.created_at_ms or None),
        )
        for made in tenants
    ]
    write_table(columns, rows)


@tenant.command("create")
@ledger_option()
@tenant_argument
@_settings
@json_output
def create_tenant(db: str, tenant_id: str, *, as_json: bool, **settings: Any) -> None:
    """Create TENANT; a tenant without a record of its own has the same defaults.

    \b
    Example:
      cycles local tenant create acme --max-ttl-ms 600000
    """
    given = {name: value for name, value in settings.items() if value is not None}
    with ledger(db, as_json=as_json) as authority:
        if known_tenant(authority, tenant_id) is not None:
            raise InvalidRequest(f"the tenant {tenant_id} is there already; `cycles local tenant set` changes it")
        _show([authority.tenant(tenant_id, **given)], as_json=as_json)


def _change(db: str, tenant_id: str, changes: dict[str, Any], *, as_json: bool, status: str | None = None) -> None:
    with ledger(db, as_json=as_json) as authority:
        known = known_tenant(authority, tenant_id)
        before = {} if known is None else {name: getattr(known, name) for name in (*SETTINGS, "status")}
        after: dict[str, Any] = before | changes | ({} if status is None else {"status": status})
        _show([authority.tenant(tenant_id, **after)], as_json=as_json)


@tenant.command("set")
@ledger_option()
@tenant_argument
@_settings
@json_output
def set_tenant(db: str, tenant_id: str, *, as_json: bool, **settings: Any) -> None:
    """Change settings of TENANT; the others stay as they are.

    \b
    Example:
      cycles local tenant set acme --max-extensions 0
    """
    _change(db, tenant_id, {name: value for name, value in settings.items() if value is not None}, as_json=as_json)


@tenant.command("suspend")
@ledger_option()
@tenant_argument
@json_output
def suspend(db: str, tenant_id: str, *, as_json: bool) -> None:
    """Refuse the keys of TENANT, until it is resumed.

    \b
    Example:
      cycles local tenant suspend acme
    """
    _change(db, tenant_id, {}, as_json=as_json, status="SUSPENDED")


@tenant.command("resume")
@ledger_option()
@tenant_argument
@json_output
def resume(db: str, tenant_id: str, *, as_json: bool) -> None:
    """Undo suspend.

    \b
    Example:
      cycles local tenant resume acme
    """
    _change(db, tenant_id, {}, as_json=as_json, status="ACTIVE")


@tenant.command("close")
@ledger_option()
@tenant_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_output
def close_tenant(db: str, tenant_id: str, *, yes: bool, as_json: bool) -> None:
    """Close TENANT for good: release what is held, close its budgets, revoke its keys.

    \b
    Example:
      cycles local tenant close acme --yes
    """
    if not yes:
        click.confirm(f"Close {tenant_id}? Nothing opens it again", abort=True, err=True)
    _change(db, tenant_id, {}, as_json=as_json, status="CLOSED")


@tenant.command("list")
@ledger_option()
@json_output
def list_tenants(db: str, *, as_json: bool) -> None:
    """List the tenants, those that have only a budget or a key too.

    \b
    Example:
      cycles local tenant list
    """
    with ledger(db, as_json=as_json) as authority:
        _show(authority.tenants(), as_json=as_json)
