"""API keys on the command line: read from a file, or chosen for a ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cycles.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable


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
