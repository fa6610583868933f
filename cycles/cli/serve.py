"""`cycles serve`: serve an authority over HTTP until a signal."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cycles.cli._errors import explained
from cycles.cli._keys import chosen_key, ensure_key_file, environments_key, key_in, key_options
from cycles.cli._ledger import note_period, warn_of_password
from cycles.cli._parameters import BudgetType
from cycles.errors import ConfigError
from cycles.local import LocalAuthority
from cycles.local.registry import DEFAULT_TENANT
from cycles.local.wire.log import FORMATS, LEVELS, started, written_to_stderr

if TYPE_CHECKING:
    from types import FrameType

    from cycles.local.admin.names import Wanted


@click.command()
@click.option(
    "--db",
    metavar="FILE",
    envvar="CYCLES_LOCAL_DB",
    help="Ledger file, or postgresql://…; without it, everything is in memory.  [env: CYCLES_LOCAL_DB]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=7878, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--beyond-loopback", is_flag=True, help="Let other machines in: keys travel in plain text.")
@click.option("--budget", "budgets", multiple=True, type=BudgetType(), help="Made unless it is there; repeatable.")
@click.option("--tenant", help="Whose API key is shown; default: the tenant of the first budget.")
@key_options
@click.option(
    "--admin-key",
    envvar="CYCLES_ADMIN_KEY",
    help="Let X-Admin-API-Key be this; default: nobody is the administrator.  [env: CYCLES_ADMIN_KEY]",
)
@click.option("--admin-key-file", metavar="FILE", help="Let the first line of FILE be the administrator's key.")
@click.option("--lenient-permissions", is_flag=True, help="Let a tenant's key fund its own budgets over HTTP.")
@click.option("--sign", "signing_key", metavar="KEYFILE", help="Sign answers with the keys of `cycles local keygen`.")
@click.option(
    "--log-level",
    type=click.Choice(LEVELS),
    default="warning",
    show_default=True,
    help="What is logged to stderr; info: the start, and a line for each request.",
)
@click.option("--log-format", type=click.Choice(FORMATS), default="text", show_default=True, help="Of the log.")
@click.option("--json", "as_json", is_flag=True, help="Write the ready line as JSON: base_url, api_key, tenant.")
def serve(
    *,
    db: str | None,
    host: str,
    port: int,
    budgets: tuple[tuple[str, Wanted], ...],
    tenant: str | None,
    api_key: str | None,
    api_key_file: str | None,
    admin_key: str | None,
    admin_key_file: str | None,
    log_level: str,
    log_format: str,
    lenient_permissions: bool,
    signing_key: str | None,
    beyond_loopback: bool,
    as_json: bool,
) -> None:
    """Serve an authority over HTTP until SIGINT or SIGTERM.

    When it is ready, one line says how to reach it; it can be put in front of a command. The key in it is the one of
    --api-key-file, which is made where there is none; else CYCLES_API_KEY, if the ledger knows it; else a new one.

    \b
    Example:
      cycles serve --db ledger.db --budget tenant:acme=usd:5.00/day
    """
    if db is not None and click.get_current_context().get_parameter_source("db") is ParameterSource.COMMANDLINE:
        warn_of_password(db)
    if api_key is None and api_key_file is not None:
        with explained(as_json=as_json):
            ensure_key_file(api_key_file)
    api_key = chosen_key(api_key, api_key_file)
    admin_key = _administrators_key(admin_key, admin_key_file)
    written_to_stderr(log_level, log_format)
    with explained(as_json=as_json):
        from cycles.local.wire.server import Server, listening, url_of  # noqa: PLC0415 - needs the extra

        # The address first: a start that fails because of it leaves no key behind in the ledger.
        with (
            listening(host, port, beyond_loopback=beyond_loopback) as listener,
            LocalAuthority(
                db, admin_key=admin_key, lenient_permissions=lenient_permissions, history=0, signing_key=signing_key
            ) as authority,
        ):
            for scope, wanted in budgets:
                row = authority.ensure_budget(scope, wanted.amount, period=wanted.period, zone=wanted.zone)
                note_period(row, wanted)
            tenant = tenant or (budgets[0][0].split("/")[0].removeprefix("tenant:") if budgets else DEFAULT_TENANT)
            if api_key is None:
                api_key = environments_key(authority, tenant) or _new_key(authority, tenant, as_json=as_json)
            else:
                authority.add_key(api_key, tenant=tenant, name="cycles serve")
            started(url_of(listener), authority.store.place or "memory")
            ready = {"base_url": url_of(listener), "api_key": api_key, "tenant": tenant}
            token = authority.app.links.token(tenant, authority.clock())
            page = f"{ready['base_url']}/#once={token}"
            if as_json:
                ready["page"] = page
            else:
                click.echo(f"Look at it; this link is good once, for ten minutes: {page}", err=True)
            run(Server(authority), listener, _ready_line(ready, as_json=as_json))


def _new_key(authority: LocalAuthority, tenant: str, *, as_json: bool) -> str:
    """Return a new key, and say how to have the same one at the next start; a ledger in memory has none."""
    if not authority.store.is_memory and not as_json:
        click.echo("Made a new key; with --api-key-file FILE each start has the same one.", err=True)
    return authority.key(tenant=tenant, name="cycles serve")


def _administrators_key(admin_key: str | None, admin_key_file: str | None) -> str | None:
    """Return the administrator's key, and warn about one that `ps` shows."""
    if admin_key_file is not None:
        if click.get_current_context().get_parameter_source("admin_key") is ParameterSource.COMMANDLINE:
            raise click.UsageError("give --admin-key or --admin-key-file, not both")
        try:
            return key_in(admin_key_file, "--admin-key-file")
        except ConfigError as error:
            raise click.UsageError(error.message) from None
    if click.get_current_context().get_parameter_source("admin_key") is ParameterSource.COMMANDLINE:
        click.echo(
            "Warning: --admin-key is on the command line, where every user of this machine can read it: "
            "use CYCLES_ADMIN_KEY or --admin-key-file",
            err=True,
        )
    return admin_key


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
