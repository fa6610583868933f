"""Which authority a `local:` URL means in this process: one for each name, for all that ask."""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cycles.local.authority import LocalAuthority

MEMORY: Final = ""
"""The name of `local:`, the ledger in memory."""

_registry: Final[dict[str, LocalAuthority]] = {}
_registry_lock = threading.Lock()


def shared(path: str, make: Callable[[], LocalAuthority]) -> LocalAuthority:
    """Return the authority of *path*, MEMORY or absolute, made if there is none that is open."""
    with _registry_lock:
        known = _registry.get(path)
        if known is None or known.store.is_closed:
            known = _registry[path] = make()
        return known


@contextmanager
def standing_in(authority: LocalAuthority) -> Iterator[None]:
    """Let `local:` mean *authority* in this process while the block lasts, and then what it meant before.

    For tests: whatever makes a client of the environment's settings spends here.
    """
    with _registry_lock:
        before = _registry.get(MEMORY)
        _registry[MEMORY] = authority
    try:
        yield
    finally:
        with _registry_lock:
            if before is None:
                _registry.pop(MEMORY, None)
            else:
                _registry[MEMORY] = before


@atexit.register
def forget_shared() -> None:
    """Close and forget the authorities that `local:` URLs of this process share; also at its end."""
    with _registry_lock:
        for authority in _registry.values():
            authority.close()
        _registry.clear()


def _after_fork() -> None:
    global _registry_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _registry_lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
