"""Forks: in a forked child, clients leave the parent's connections behind and make their own."""

from __future__ import annotations

import os
import weakref
from typing import Final, Protocol


class Forkable(Protocol):
    """A client that can make its connections again."""

    def reconnect(self) -> object:
        """Leave the connections behind; return what must not be collected."""
        ...


_forkable: Final[weakref.WeakSet[Forkable]] = weakref.WeakSet()

_inherited: Final[list[object]] = []
"""Connections of the parent process, in its fork: kept, for some engines close them when they are collected, and that
would take them out of the epoll set that both processes share."""


def reconnect_in_forks(client: Forkable) -> None:
    """Let *client*, as long as it lives, reconnect in each forked child."""
    _forkable.add(client)


def _in_child() -> None:
    for client in list(_forkable):
        _inherited.append(client.reconnect())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
