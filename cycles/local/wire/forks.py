"""Forks: a forked child gets new locks, because the parent's threads, which may hold the old ones, are not there."""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol


class Locking(Protocol):
    """Something with a lock."""

    def forked(self) -> None:
        """Begin with a lock of its own."""
        ...


_locking: Final[weakref.WeakValueDictionary[int, Locking]] = weakref.WeakValueDictionary()
"""By their ids: some of them are equal when what they hold is, and so can't be hashed."""


def renewed_in_forks(one: Locking) -> None:
    """Let *one*, as long as it lives, have a new lock in each forked child."""
    _locking[id(one)] = one


def _in_child() -> None:
    for one in list(_locking.values()):
        one.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
