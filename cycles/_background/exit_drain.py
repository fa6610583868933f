"""The drain at the program's exit: pending settlements get a last, bounded chance.

See docs/protocol.md, Settlement and recovery. The program's clients may be closed by then, or belong to a loop that
ended; so the exit opens connections of its own, as the last client for the same authority and principal did. SIGTERM
ends a Python program without an exit, unless the program turns it into one.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from cycles._drivers import blocking
from cycles._journal.recovery import drain
from cycles._telemetry import log

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from cycles._drivers.world import World
    from cycles._journal.journal import Journal
    from cycles.config import Config

    Opener = Callable[[], AbstractContextManager[World | None]]

_known: Final[WeakKeyDictionary[Journal, tuple[Config, Opener]]] = WeakKeyDictionary()
_lock = threading.Lock()
_is_registered = False


def remember(journal: Journal, config: Config, opener: Opener) -> None:
    """Drain *journal* at exit, with the newest configuration of its principal.

    Args:
        journal: Holds the records.
        config: Says how long it may take, and how often to try.
        opener: Opens the world to do it in, or gives None when nothing can be sent any more. It must not keep *journal*
            alive: what has no client and no record is forgotten.
    """
    global _is_registered  # noqa: PLW0603 - one a process
    with _lock:
        _known[journal] = (config, opener)
        if not _is_registered:
            _is_registered = True
            # With the first client, not on import: what is registered later runs earlier, and an authority inside
            # this process is closed by a function of its own.
            atexit.register(at_exit)


def at_exit() -> None:
    """Drain every journal that this process has records in, each within what is left of its `retry_flush_timeout`."""
    started = time.monotonic()
    with _lock:
        known = list(_known.items())
    for journal, (config, opener) in known:
        try:
            left = started + config.retry_flush_timeout - time.monotonic()
            if journal.names() and journal.waiting():
                _drain(journal, config, opener, max(0.0, left))
        except Exception as error:  # noqa: BLE001 - the exit goes on, and the records stay
            log.notify("drain at exit failed", {"reason": repr(error)})
        journal.leave()


def _drain(journal: Journal, config: Config, opener: Opener, left: float) -> None:
    facts: dict[str, Any] = {"directory": str(journal.directory)}
    with opener() as world:
        if world is None:
            facts |= {"pending": journal.waiting(), "reason": "its http_client can't be used any more"}
        else:
            patience = config.connect_timeout + config.read_timeout
            facts["pending"] = blocking.run(drain(journal, config.retry, left, patience), world).pending
    if facts["pending"]:
        log.notify("pending at exit", facts)


def _in_child() -> None:
    global _lock  # noqa: PLW0603 - a lock that another thread of the parent held would never be let go
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
