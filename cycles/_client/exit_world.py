"""The world in which the program's exit settles what a client left in its journal."""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from cycles._client.access import Access
from cycles._client.teller import Teller
from cycles._drivers.libraries import is_blocking
from cycles._drivers.world import World
from cycles._telemetry import log
from cycles._telemetry.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cycles._background import exit_drain
    from cycles._client.teller import OnSettlement
    from cycles._journal.journal import Journal
    from cycles.config import Config
    from cycles_api.http import AsyncHttpClient, HttpClient


def exit_opener(
    config: Config,
    http_client: HttpClient | AsyncHttpClient | None,
    journal: Journal | None,
    on_settlement: OnSettlement | None,
) -> exit_drain.Opener:
    """Return what opens the world of the exit: through *http_client* if that still exists, or a client of its own."""
    given = None if http_client is None else weakref.ref(http_client)
    keeper = None if journal is None else weakref.ref(journal)
    return partial(_exit_world, config, given, keeper, on_settlement)


@contextmanager
def _exit_world(
    config: Config,
    http_client: weakref.ref[HttpClient | AsyncHttpClient] | None,
    journal: weakref.ref[Journal] | None,
    on_settlement: OnSettlement | None,
) -> Iterator[World | None]:
    """Open the world of the exit; None when the http client that was given can't be used any more."""
    found, kept = None if http_client is None else http_client(), None if journal is None else journal()
    given = found if is_blocking(found) and not found.is_closed else None
    if given is None and http_client is not None and not config.is_local:
        yield None  # nobody can make it again: it may have had a proxy or a certificate of its own
        return
    access = Access(config, given)
    access.connect(given)
    access.open()
    try:
        is_gone = journal is not None and kept is None
        yield None if is_gone else journal_world(access, kept, on_settlement)
    finally:
        access.close()


def journal_world(access: Access, journal: Journal | None, on_settlement: OnSettlement | None) -> World:
    """Return a world of *access* in which *journal* is settled: for the exit, and the CLI."""
    return World(access.api, log.notify, Trace(), journal=journal, tell=Teller(on_settlement))
