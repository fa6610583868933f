"""The client of one command: the environment's settings, and the options that win over them."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

import click

from cycles.cli._errors import explained
from cycles.cli._keys import key_in
from cycles.client import Client
from cycles.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles.cli._options import Where

ATTEMPTS: Final = 2
"""Attempts of a command that only asks, unless CYCLES_RETRY_MAX_ATTEMPTS says otherwise: a person can ask again."""


def configured(where: Where) -> Config:
    """Return the settings of the environment and the command line.

    Raises:
        ConfigError: naming what is missing or wrong.
    """
    key = None if where.api_key_file is None else key_in(where.api_key_file)
    base_url = where.base_url or os.environ.get("CYCLES_BASE_URL", "")
    is_asked = sys.stdin is not None and sys.stdin.isatty()  # None where the caller closed it
    if key is None and base_url.startswith("http") and not os.environ.get("CYCLES_API_KEY") and is_asked:
        key = click.prompt("API key", hide_input=True, err=True)
    return Config.from_env(base_url=where.base_url or None, tenant=where.tenant or None, api_key=key)


@contextmanager
def client_of(where: Where, *, as_json: bool, settles: bool = False) -> Iterator[Client]:
    """Open a client for one command, and show its errors.

    Args:
        where: The command line's part of the settings.
        as_json: Whether to write errors as JSON.
        settles: Whether the command charges. Then it has a journal and all attempts; otherwise it leaves the journal
            alone.
    """
    with explained(as_json=as_json) as asked:
        config = configured(where)
        asked.is_local = config.is_local
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
