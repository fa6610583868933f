"""`cycles local tenant` and `cycles local key`: who may spend from a ledger file that is served."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from cycles._core.windows import window
from cycles.cli._errors import explained
from cycles.cli._ledger import known_tenant, ledger, ledger_option
from cycles.cli._options import key_in
from cycles.cli._output import json_output, moment, write_json, write_table
from cycles.cli._parameters import MomentType, TenantType
from cycles.errors import ConfigError, InvalidRequest
from cycles.local.admin.provisioning import new_secret
from cycles.local.wire.clock import wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local import Tenant
    from cycles.local.ledger.values import ApiKey

POLICIES = ("REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT")
SETTINGS = ("default_ttl_ms", "max_ttl_ms", "max_extensions", "overage_policy")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

tenant_argument = click.argument("tenant_id", metavar="TENANT", type=TenantType())


def key_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --api-key and --api-key-file, for a key that is chosen."""
    command = click.option("--api-key-file", metavar="FILE", help="Let the first line of FILE be the key; - is stdin.")(
        command
    )
    return click.option(
        "--api-key", metavar="KEY", help="Let this be the key; others on this machine may see it. Default: a new one."
    )(command)


def chosen_key(api_key: str | None, api_key_file: str | None) -> str | None:
    """Return the key that was chosen, or None."""
    if api_key is not None and api_key_file is not None:
        raise click.UsageError("give --api-key or --api-key-file, not both")
    try:
        key = api_key if api_key_file is None else key_in(api_key_file)
    except ConfigError as error:
        raise click.UsageError(error.message) from None
    if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
        raise click.UsageError("a key must be printable ASCII without spaces, to go in a header")
    return key


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


@click.group()
def key() -> None:
    """The API keys of a ledger file, for who reaches it over HTTP: create, revoke, list."""


@key.command("create")
@ledger_option()
@tenant_argument
@click.option("--name", default="cycles local key create", help="What it is for, for people.")
@click.option("--permission", "permissions", multiple=True, help="For the administration's paths; repeatable.")
@click.option("--expires", type=MomentType(), help="A duration such as 90d, or a time with its offset; default: never.")
@key_options
@json_output
def create_key(
    db: str,
    tenant_id: str,
    *,
    name: str,
    permissions: tuple[str, ...],
    expires: str | timedelta | None,
    api_key: str | None,
    api_key_file: str | None,
    as_json: bool,
) -> None:
    """Make an API key of TENANT and show it, this once: only its hash is kept.

    \b
    Example:
      cycles local key create acme --name "the nightly job"
    """
    secret = chosen_key(api_key, api_key_file) or new_secret()
    with explained(as_json=as_json):
        until = expires if isinstance(expires, timedelta | None) else window("--expires", (expires, None), _EPOCH)[0]
    with ledger(db, as_json=as_json) as authority:
        made = authority.add_key(secret, tenant=tenant_id, name=name, permissions=permissions or None, expires=until)
    if as_json:
        write_json({"api_key": secret, **_facts(made)})
    else:
        click.echo(secret)


def _facts(made: ApiKey) -> dict[str, Any]:
    names = ("key_id", "tenant", "name", "prefix", "created_at_ms", "expires_at_ms", "revoked_at_ms")
    facts = {name: getattr(made, name) for name in names}
    return facts | {"permissions": list(made.permissions), "status": made.status(wall_clock())}


@key.command("list")
@ledger_option()
@click.option("--tenant", "tenant_id", type=TenantType(), help="Only this tenant's.")
@click.option("--all", "show_all", is_flag=True, help="Also the nameless ones that programs make for themselves.")
@json_output
def list_keys(db: str, tenant_id: str | None, *, show_all: bool, as_json: bool) -> None:
    """List the keys, without their secrets, which are not kept.

    \b
    Example:
      cycles local key list --tenant acme
    """
    with ledger(db, as_json=as_json) as authority:
        keys = [_facts(made) for made in authority.keys(tenant_id) if made.name or show_all]
    if as_json:
        write_json(keys)
    elif keys:
        rows = [
            (
                made["key_id"],
                made["tenant"],
                made["name"],
                f"{made['prefix']}…" if made["prefix"] else None,
                made["status"],
                moment(made["created_at_ms"]),
                moment(made["expires_at_ms"]),
            )
            for made in keys
        ]
        write_table(("KEY", "TENANT", "NAME", "BEGINS", "STATUS", "CREATED", "EXPIRES"), rows)
    else:
        click.echo("no key")


@key.command("revoke")
@ledger_option()
@click.argument("key_ids", metavar="KEY...", nargs=-1, required=True)
@click.option("--reason", help="Why, for whoever reads it later.")
@json_output
def revoke_key(db: str, key_ids: tuple[str, ...], *, reason: str | None, as_json: bool) -> None:
    """Take the rights of keys away, by the ids that `cycles local key list` shows.

    \b
    Example:
      cycles local key revoke key_6f1d2a4c9b3e4f70
    """
    with ledger(db, as_json=as_json) as authority:
        revoked = [_facts(authority.revoke_key(key_id, reason)) for key_id in key_ids]
    if as_json:
        write_json(revoked)
    else:
        for made in revoked:
            click.echo(f"{made['key_id']} of {made['tenant']}: {made['status']}")
