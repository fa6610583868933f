"""What the commands of `cycles local` share: the ledger file, opened for one command, and the tenant in it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from click.core import ParameterSource

from cycles._outside.urls import is_postgres, without_password
from cycles.cli._errors import explained
from cycles.cli._parameters import TenantType
from cycles.local import LocalAuthority
from cycles.local.admin.names import read_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cycles.local import Budget, Tenant
    from cycles.local.admin.names import Wanted

C = TypeVar("C", bound="Callable[..., Any]")

tenant_argument: Final = click.argument("tenant_id", metavar="TENANT", type=TenantType())


IN_THIS_FOLDER: Final = Path("cycles.db")
"""The file that earlier versions made by default, in whatever folder they ran."""


def default_ledger() -> Path:
    """Return the ledger file of this user: the one that is meant when none is named."""
    import platformdirs  # noqa: PLC0415 - most commands name their file

    return platformdirs.user_data_path("cycles", appauthor=False) / "ledger.db"


def ledger_option(*, must_exist: bool = True) -> Callable[[C], C]:
    """Add --db to a command.

    Args:
        must_exist: Whether the file must be there: the command makes none.
    """

    def chosen(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
        path = value or named_by_environment()
        if path is not None and is_postgres(path):
            if value and ctx.get_parameter_source("db") is ParameterSource.COMMANDLINE:
                warn_of_password(value)
            return path
        if path is None and must_exist:
            _must_mean_a_file(ctx)
        if path is None:
            path = str(default_ledger())
            if IN_THIS_FOLDER.exists():
                there = f"note: {IN_THIS_FOLDER.absolute()} is left alone; --db {IN_THIS_FOLDER} names it"
                click.echo(f"{there}, and {path} is used", err=True)
        found = Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib raises for a user without a home
        try:
            if must_exist:
                found.stat()
        except FileNotFoundError:
            told = f"{path}: there is no such file; `cycles local init` makes one"
            raise click.BadParameter(told, ctx, param) from None
        except (OSError, ValueError):
            pass  # opening it says what is wrong
        return str(found)

    return click.option(
        "--db",
        metavar="FILE",
        callback=chosen,
        type=click.Path(dir_okay=False),
        help="The ledger file, or postgresql://…  [default: the one in CYCLES_LOCAL_DB or CYCLES_BASE_URL=local:FILE, "
        "else this user's: cycles/ledger.db in the directory for users' data]",
    )


def _must_mean_a_file(ctx: click.Context) -> None:
    """Refuse to look for this user's own file where CYCLES_BASE_URL says that another authority is meant."""
    url = os.environ.get("CYCLES_BASE_URL", "")
    if url.startswith("local:"):
        told = "CYCLES_BASE_URL names a ledger in memory, which each program has to itself: name a file with --db FILE"
        raise click.UsageError(told, ctx)
    if url.startswith(("http://", "https://")):
        raise click.UsageError(
            "CYCLES_BASE_URL names a server, and this command works on a ledger of this machine: name it with --db "
            "(the server may go on running), or use the server's administration (docs/authority.md)",
            ctx,
        )


def named_by_environment() -> str | None:
    """Return the file or the database that CYCLES_LOCAL_DB names, else CYCLES_BASE_URL, or None."""
    named = os.environ.get("CYCLES_LOCAL_DB", "").strip()
    if named:
        return named
    url = os.environ.get("CYCLES_BASE_URL", "")
    if is_postgres(url.removeprefix("local:")):
        return read_url(url)[0]
    return url.removeprefix("local:").partition("?")[0] or None if url.startswith("local:") else None


def warn_of_password(db: str) -> None:
    """Say that a password is where everybody can read it."""
    if is_postgres(db) and without_password(db) != db:
        click.echo(
            "Warning: the password in --db is on the command line, where every user of this machine can read it: "
            "use CYCLES_LOCAL_DB, or libpq's password file",
            err=True,
        )


def shown_ledger(db: str) -> str:
    """Return the ledger *db* as output may show it."""
    return without_password(db) if is_postgres(db) else db


@contextmanager
def ledger(db: str, *, as_json: bool) -> Iterator[LocalAuthority]:
    """Open the ledger *db* for one command, and show its errors."""
    with explained(as_json=as_json, refused=True, is_local=True), LocalAuthority(db) as authority:
        yield authority


def note_period(row: Budget, wanted: Wanted) -> None:
    """Say so where a budget that was there begins anew otherwise than *wanted*, and how to change that."""
    has = None if row.period is None else (row.period.kind, row.period.zone)
    asked = None if wanted.period is None else (wanted.period, wanted.zone or "UTC")
    if has == asked:
        return
    now = "does not begin anew" if has is None else f"begins anew each {has[0]} ({has[1]})"
    option = "--period none" if asked is None else f"--period {asked[0]} --zone {asked[1]}"
    told = f"note: {row.scope_path} is there already, and {now}; `cycles local budget set` with {option} changes that"
    click.echo(told, err=True)


def known_tenant(authority: LocalAuthority, tenant_id: str) -> Tenant | None:
    """Return the record of a tenant, or None: a tenant without one has the defaults."""
    with authority.store.reading() as books:
        return books.tenant(tenant_id)
