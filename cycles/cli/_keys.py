"""API keys on the command line: read from a file, chosen for a ledger, or kept for the next start of a server."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cycles.errors import ConfigError
from cycles.local.admin.new_keys import new_secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local import LocalAuthority


def key_in(path: str, option: str = "--api-key-file") -> str:
    """Return the first line of a file, or of standard input.

    Raises:
        ConfigError: when it can't be read, or is empty.
    """
    try:
        with click.open_file(path, encoding="utf-8") as file:
            key: str = file.readline(4096).strip()
    except OSError as error:
        raise ConfigError(f"{option} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{option} {path}: no text; its first line must be the key") from None
    if not key:
        raise ConfigError(f"{option} {path}: its first line is empty; it must be the key")
    return key


def key_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --api-key and --api-key-file, with which a person chooses the key."""
    command = click.option("--api-key-file", metavar="FILE", help="Let the first line of FILE be the key; - is stdin.")(
        command
    )
    return click.option(
        "--api-key", metavar="KEY", help="Let this be the key; others on this machine may see it. Default: a new one."
    )(command)


def ensure_key_file(path: str) -> None:
    """Make the file with a new key in it, for its owner's eyes, where there is none; whole, or not at all.

    Raises:
        ConfigError: when it can't be made.
    """
    if path == "-" or os.path.lexists(path):
        return
    at = Path(path)
    try:
        number, whole = tempfile.mkstemp(dir=at.parent, prefix=f".{at.name}.")  # mode 0600
        try:
            with os.fdopen(number, "w", encoding="utf-8") as file:
                file.write(f"{new_secret()}\n")
            with suppress(FileExistsError):  # another server that starts was first
                os.link(whole, at)
        finally:
            os.unlink(whole)  # noqa: PTH108 - as it was made
    except OSError as error:
        raise ConfigError(f"--api-key-file {path}: {error.strerror}") from None


def environments_key(authority: LocalAuthority, tenant: str) -> str | None:
    """Return CYCLES_API_KEY where it is a good key of *tenant* in this ledger already; None: it is not, or unset."""
    secret = os.environ.get("CYCLES_API_KEY", "")
    if not secret:
        return None
    with authority.store.glancing() as books:
        known = books.key(secret)
    is_good = known is not None and known.tenant == tenant and known.status(authority.clock()) == "ACTIVE"
    return secret if is_good else None


def chosen_key(api_key: str | None, api_key_file: str | None) -> str | None:
    """Return the key that the command line chooses, or None."""
    if api_key is not None and api_key_file is not None:
        raise click.UsageError("give --api-key or --api-key-file, not both")
    try:
        key = api_key if api_key_file is None else key_in(api_key_file)
    except ConfigError as error:
        raise click.UsageError(error.message) from None
    if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
        raise click.UsageError("a key must be printable ASCII without spaces, to go in a header")
    return key
