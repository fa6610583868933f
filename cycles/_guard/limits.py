"""Limits as context managers, blocking and asynchronous: held where they begin, charged where they end."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from cycles._drivers.asyncgens import closing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import TracebackType

    from cycles._client.running_limit import OpenedLimit
    from cycles._client.running_section import Keeper


@contextmanager
def limited(begin: Callable[[], OpenedLimit], keeper: Keeper, policy: str) -> Iterator[OpenedLimit]:
    """Open the limit that *begin* gives, and charge at its end what was spent inside.

    Args:
        begin: Begins it.
        keeper: The client's runtime.
        policy: What a lost lease does (`Config.heartbeat`).
    """
    opened = begin()
    limit = opened.limit
    try:
        yield opened
    except BaseException as raised:
        limit.end(keeper, hurried=not isinstance(raised, Exception))
        raise
    limit.end(keeper)
    limit.conclude(policy)


class AsyncLimited:
    """Opens a limit, and charges what was spent inside; see `limited`. A class, as `AsyncSection` is."""

    __slots__ = ("_begin", "_keeper", "_opened", "_policy")

    def __init__(self, begin: Callable[[], Awaitable[OpenedLimit]], keeper: Keeper, policy: str) -> None:
        self._begin: Final = begin
        self._keeper: Final = keeper
        self._policy: Final = policy

    async def __aenter__(self) -> OpenedLimit:
        self._opened = await self._begin()
        return self._opened

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        limit = self._opened.limit
        if raised is None:
            await limit.end_async(self._keeper)
            limit.conclude(self._policy)
            return
        hurried = not isinstance(raised, Exception)
        with closing() if isinstance(raised, GeneratorExit) else nullcontext():
            await limit.end_async(self._keeper, hurried=hurried)
        if hurried and self._policy == "cancel" and limit.account.is_lost:
            raised.__cause__ = limit.lost()
