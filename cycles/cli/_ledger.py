"""What the commands of `cycles local` share: the ledger file, opened for one command, and the tenant in it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from cycles.cli._errors import explained
from cycles.cli._parameters import TenantType
from cycles.local import LocalAuthority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cycles.local import Tenant

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
        if path is None and must_exist and os.environ.get("CYCLES_BASE_URL", "").startswith("local:"):
            told = (
                "CYCLES_BASE_URL names a ledger in memory, which each program has to itself: name a file with --db FILE"
            )
            raise click.UsageError(told, ctx)
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
        help="The ledger file.  [default: the one in CYCLES_BASE_URL=local:FILE, else this user's: "
        "cycles/ledger.db in the directory for users' data]",
    )


def named_by_environment() -> str | None:
    """Return the file that CYCLES_BASE_URL names, or None."""
    url = os.environ.get("CYCLES_BASE_URL", "")
    return url.removeprefix("local:").partition("?")[0] or None if url.startswith("local:") else None


@contextmanager
def ledger(db: str, *, as_json: bool) -> Iterator[LocalAuthority]:
    """Open the ledger *db* for one command, and show its errors."""
    with explained(as_json=as_json, refused=True, is_local=True), LocalAuthority(db) as authority:
        yield authority


def known_tenant(authority: LocalAuthority, tenant_id: str) -> Tenant | None:
    """Return the record of a tenant, or None: a tenant without one has the defaults."""
    with authority.store.reading() as books:
        return books.tenant(tenant_id)
