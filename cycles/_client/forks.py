"""Forks: in a forked child, clients leave the parent's connections behind and make their own."""

from __future__ import annotations

import weakref
from typing import Final, Protocol

from cycles._outside.forks import in_forked_child


class Connected(Protocol):
    """A client that can make its connections again."""

    def reconnect(self) -> object:
        """Leave the connections behind; return what must not be collected."""
        ...


_connected: Final[weakref.WeakSet[Connected]] = weakref.WeakSet()

_inherited: Final[list[object]] = []
"""Connections of the parent process, in its fork: kept, for some engines close them when they are collected, and that
would take them out of the epoll set that both processes share."""


def reconnect_in_forks(client: Connected) -> None:
    """Let *client*, as long as it lives, reconnect in each forked child."""
    _connected.add(client)


@in_forked_child
def _reconnect() -> None:
    for client in list(_connected):
        _inherited.append(client.reconnect())
