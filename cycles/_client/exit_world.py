"""The world in which the program's exit settles what a client left in its journal."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import httpx

from cycles._background import exit_drain
from cycles._client.access import Access
from cycles._client.teller import Teller
from cycles._drivers.world import World
from cycles._telemetry import log
from cycles._telemetry.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles._client.teller import OnSettlement
    from cycles._journal.journal import Journal
    from cycles.config import Config

    HttpClient = httpx.Client | httpx.AsyncClient


def settle_at_exit(
    config: Config, http_client: HttpClient | None, journal: Journal, on_settlement: OnSettlement | None
) -> None:
    """Let the exit settle what is left in *journal*: through *http_client* if that still exists, or its own client."""
    given = None if http_client is None else weakref.ref(http_client)
    exit_drain.remember(journal, config, partial(_exit_world, config, given, weakref.ref(journal), on_settlement))


@contextmanager
def _exit_world(
    config: Config,
    http_client: weakref.ref[HttpClient] | None,
    journal: weakref.ref[Journal],
    on_settlement: OnSettlement | None,
) -> Iterator[World | None]:
    """Open the world of the exit; None when the http client that was given can't be used any more."""
    found, kept = None if http_client is None else http_client(), journal()
    given = found if isinstance(found, httpx.Client) and not found.is_closed else None
    if given is None and http_client is not None and not config.is_local:
        yield None  # nobody can make it again: it may have had a proxy or a certificate of its own
        return
    access = Access(config, given)
    access.connect(given)
    access.open()
    try:
        yield None if kept is None else journal_world(access, kept, on_settlement)
    finally:
        access.close()


def journal_world(access: Access, journal: Journal, on_settlement: OnSettlement | None) -> World:
    """Return a world of *access* in which *journal* is settled: for the exit, and the CLI."""
    return World(access.api, log.notify, Trace(), journal=journal, tell=Teller(on_settlement))
