"""`cycles local key`: the API keys with which programs reach a ledger file over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

from cycles._core.windows import window
from cycles.cli._errors import explained
from cycles.cli._keys import chosen_key, key_options
from cycles.cli._ledger import ledger, ledger_option, tenant_argument
from cycles.cli._output import json_output, moment, write_json, write_table
from cycles.cli._parameters import MomentType, TenantType
from cycles.local.admin.new_keys import new_secret
from cycles.local.wire.clock import wall_clock

if TYPE_CHECKING:
    from cycles.local.ledger.keys import ApiKey

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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
