"""How a command reaches its authority: the environment's settings, and the options that win over them."""

from __future__ import annotations

import functools
import logging
import os
import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import click

from cycles.cli._errors import explained
from cycles.client import Client
from cycles.config import Config
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

P = ParamSpec("P")
R = TypeVar("R")

ATTEMPTS = 2
"""Attempts of a command that only asks, unless CYCLES_RETRY_MAX_ATTEMPTS says otherwise: a person can ask again."""


class Where(NamedTuple):
    """What the command line says about the authority.

    Attributes:
        base_url, tenant: As given, or None.
        api_key_file: Where the key is read from: a path, "-" for standard input, or None for the environment.
    """

    base_url: str | None
    tenant: str | None
    api_key_file: str | None


def authority_options(command: Callable[..., R]) -> Callable[..., R]:
    """Add the options that name an authority; the command gets them as `where`."""

    @functools.wraps(command)
    def with_where(*, base_url: str | None, tenant: str | None, api_key_file: str | None, **values: Any) -> R:
        return command(where=Where(base_url, tenant, api_key_file), **values)

    options = (
        click.option("--base-url", metavar="URL", help="Where the authority is.  [env: CYCLES_BASE_URL]"),
        click.option("--tenant", help="Whose budgets.  [env: CYCLES_TENANT]"),
        click.option(
            "--api-key-file",
            metavar="FILE",
            help="Read the API key from its first line; - is standard input.  [env: CYCLES_API_KEY holds the key]",
        ),
    )
    decorated: Callable[..., R] = with_where
    for option in reversed(options):
        decorated = option(decorated)
    return decorated


def configured(where: Where) -> Config:
    """Return the settings of the environment and the command line.

    Raises:
        ConfigError: naming what is missing or wrong.
    """
    key = None if where.api_key_file is None else key_in(where.api_key_file)
    base_url = where.base_url or os.environ.get("CYCLES_BASE_URL", "")
    if key is None and base_url.startswith("http") and not os.environ.get("CYCLES_API_KEY") and sys.stdin.isatty():
        key = click.prompt("API key", hide_input=True, err=True)
    return Config.from_env(base_url=where.base_url or None, tenant=where.tenant or None, api_key=key)


def key_in(path: str) -> str:
    """Return the first line of a file, or of standard input.

    Raises:
        ConfigError: when it can't be read, or is empty.
    """
    try:
        with click.open_file(path, encoding="utf-8") as file:
            key: str = file.readline(4096).strip()
    except OSError as error:
        raise ConfigError(f"--api-key-file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"--api-key-file {path}: no text; its first line must be the key") from None
    if not key:
        raise ConfigError(f"--api-key-file {path}: its first line is empty; it must be the key")
    return key


@contextmanager
def client_of(where: Where, *, as_json: bool, settles: bool = False) -> Iterator[Client]:
    """Give a client for one command, and show its errors.

    Args:
        where: The command line's part of the settings.
        as_json: Whether errors are written as JSON.
        settles: Whether the command charges: then it has a journal and all attempts. Without, what the journal holds
            is left alone.
    """
    with explained(as_json=as_json):
        config = configured(where)
        if not settles:
            config = config.replace(journal_enabled=False, unavailable="deny")
            if config.sources["retry_max_attempts"] == "default":
                config = config.replace(retry_max_attempts=ATTEMPTS)
        if config.is_in_memory:
            click.echo("note: local: is a new ledger in this command's own memory; local:PATH is shared", err=True)
        with nullcontext() if settles else _quietly(), Client(config) as client:
            yield client


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the log off the terminal: what goes wrong for good is the command's error."""
    handler = logging.NullHandler()
    log = logging.getLogger("cycles")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
