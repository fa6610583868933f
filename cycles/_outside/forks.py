"""Forks: what begins anew in a forked child. The parent's threads, which may hold its locks, are not there.

Handlers run in the order in which their modules were loaded; none depends on another.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[[], None]")


class Forkable(Protocol):
    """Something whose copy in a forked child begins anew."""

    def forked(self) -> None:
        """Begin anew: with locks, connections and so on of its own."""
        ...


_forkable: Final[weakref.WeakValueDictionary[int, Forkable]] = weakref.WeakValueDictionary()
"""By their ids: some of them are equal when what they hold is, and so can't be hashed."""


def in_forked_child(begin_anew: F) -> F:
    """Call *begin_anew*, a function of a module, in each forked child; a decorator."""
    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=begin_anew)
    return begin_anew


def renewed_in_forks(one: Forkable) -> None:
    """Call `forked` of *one* in each forked child, as long as it lives."""
    _forkable[id(one)] = one


@in_forked_child
def _renew() -> None:
    for one in list(_forkable.values()):
        one.forked()
