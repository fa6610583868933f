"""The drain at the program's exit: pending settlements get a last, bounded chance.

See docs/protocol.md, Settlement and recovery. The program's clients may be closed by then, or belong to a loop that
ended; so the exit opens connections of its own, as the last client for the same authority and principal did. SIGTERM
ends a Python program without an exit, unless the program turns it into one.
"""

from __future__ import annotations

import atexit
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from cycles._drivers import blocking
from cycles._journal.recovery import drain
from cycles._outside.arrivals import arrived
from cycles._outside.forks import in_forked_child
from cycles._telemetry import log

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from contextlib import AbstractContextManager

    from cycles._core.jobs import Charge
    from cycles._drivers.world import World
    from cycles._journal.journal import Journal
    from cycles.config import Config

    Opener = Callable[[], AbstractContextManager[World | None]]

_MANY: Final = 64
"""Debts from which on those that are settled are dropped."""


class _Debt(NamedTuple):
    """A charge that no journal holds, or only as what a running section has reported.

    Attributes:
        charge: What to charge.
        config, opener: See `remember`.
        creditor: Names the authority and the principal.
    """

    charge: Charge
    config: Config
    opener: Opener
    creditor: Hashable


_known: Final[WeakKeyDictionary[Journal, tuple[Config, Opener]]] = WeakKeyDictionary()
_owed: list[_Debt] = []
_sweep_at = _MANY
_lock = threading.RLock()  # a reservation that is collected in the middle of this adds its charge
_is_registered = False


def remember(journal: Journal, config: Config, opener: Opener) -> None:
    """Drain *journal* at exit, with the newest configuration of its principal.

    Args:
        journal: Holds the records.
        config: Says how long it may take, and how often to try.
        opener: Opens the world to do it in, or gives None when nothing can be sent any more. It must not keep *journal*
            alive: what has no client and no record is forgotten.
    """
    with _lock:
        _known[journal] = (config, opener)
        _register()


def owe(charge: Charge, config: Config, opener: Opener, creditor: Hashable) -> None:
    """Settle *charge* at exit, if the background is not done with it by then; see `remember`.

    Args:
        charge: What to charge.
        config, opener: See `remember`.
        creditor: Names the authority and the principal, for `owed_to`.
    """
    global _owed, _sweep_at  # noqa: PLW0603 - one a process
    with _lock:
        _owed.append(_Debt(charge, config, opener, creditor))
        if len(_owed) >= _sweep_at:
            _owed = [debt for debt in _owed if debt.charge.is_needed]
            _sweep_at = max(_MANY, 2 * len(_owed))
        _register()


def owed_to(creditor: Hashable) -> list[Charge]:
    """Return the charges that *creditor* is owed by this process and that no journal holds."""
    with _lock:
        return [debt.charge for debt in _owed if debt.creditor == creditor and debt.charge.is_needed]


def _register() -> None:
    global _is_registered  # noqa: PLW0603 - one a process
    if not _is_registered:
        _is_registered = True
        # With the first client, not on import: what is registered later runs earlier, and an authority inside this
        # process is closed by a function of its own.
        atexit.register(at_exit)


def at_exit() -> None:
    """Settle what memory and the journals of this process hold, within what is left of each `retry_flush_timeout`."""
    started = time.monotonic()
    with _lock:
        known, owed = list(_known.items()), [debt for debt in _owed if debt.charge.is_needed]
        _owed.clear()
    stopped: BaseException | None = None
    for charge, config, opener, _ in owed:
        left = started + config.retry_flush_timeout - time.monotonic()
        stopped = stopped or _tried(partial(_settle, charge, config, opener, max(0.0, left)))
    for journal, (config, opener) in known:
        left = started + config.retry_flush_timeout - time.monotonic()
        stopped = stopped or _tried(partial(_drain, journal, config, opener, max(0.0, left)))
        journal.leave()
    if stopped is not None:
        raise stopped


def _tried(work: Callable[[], None]) -> BaseException | None:
    """Do *work*; return what arrives from outside meanwhile, which ends the draining, and log what else fails."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - the exit goes on, and the records stay
        outside = arrived(error)
        if outside is None:
            log.notify("drain at exit failed", {"reason": repr(error)})
        return outside
    return None


def _settle(charge: Charge, config: Config, opener: Opener, left: float) -> None:
    pending = charge.pending
    with opener() as world:
        if world is None:
            facts = {"reservation_id": pending.reservation_id, "amount": pending.actual.amount}
            facts |= {"unit": str(pending.actual.unit), "reason": "its http_client can't be used any more"}
            log.notify("settlement failed", facts)
        else:
            patience = config.connect_timeout + config.read_timeout
            blocking.run(charge.last_attempt(config.retry, left, patience), world)


def _drain(journal: Journal, config: Config, opener: Opener, left: float) -> None:
    if not journal.names() or not journal.waiting():
        return
    facts: dict[str, Any] = {"directory": str(journal.directory)}
    with opener() as world:
        if world is None:
            facts |= {"pending": journal.waiting(), "reason": "its http_client can't be used any more"}
        else:
            patience = config.connect_timeout + config.read_timeout
            facts["pending"] = blocking.run(drain(journal, config.retry, left, patience), world).pending
    if facts["pending"]:
        log.notify("pending at exit", facts)


@in_forked_child
def _forget_debts() -> None:
    global _lock, _owed
    _lock, _owed = threading.RLock(), []  # another thread of the parent may have held it; what is owed is the parent's
