"""Lists as users iterate over them: every row of every page, asked for when needed.

Classes and no generators: a list that is left before its end needs no closing, under trio neither.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from cycles._client.tables import rows_table
from cycles._drivers import aio, blocking

if TYPE_CHECKING:
    from typing import Self

    from cycles._core.listings import Listing
    from cycles._core.retry import RetryPolicy
    from cycles._drivers.world import World

R = TypeVar("R")


class Rows(Generic[R]):
    """The rows of a list, for blocking code. After an error, going on asks for the page that failed again."""

    def __init__(self, listing: Listing[R], world: World, policy: RetryPolicy) -> None:
        self._listing: Final = listing
        self._world: Final = world
        self._policy: Final = policy
        self._ready: Final[deque[R]] = deque()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> R:
        while not self._ready:
            if self._listing.ended:
                raise StopIteration
            self._ready.extend(blocking.run(self._listing.page(self._policy), self._world))
        return self._ready.popleft()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: iterate over it, or make a list of it>"

    def _repr_html_(self) -> str:
        """Return the rows that come next as a notebook shows them; iterating still gives them all."""
        while not self._ready and not self._listing.ended:
            self._ready.extend(blocking.run(self._listing.page(self._policy), self._world))
        return rows_table(list(self._ready), more=not self._listing.ended)


class AsyncRows(Generic[R]):
    """The rows of a list, for asynchronous code; see `Rows`."""

    def __init__(self, listing: Listing[R], world: World, policy: RetryPolicy) -> None:
        self._listing: Final = listing
        self._world: Final = world
        self._policy: Final = policy
        self._ready: Final[deque[R]] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> R:
        while not self._ready:
            if self._listing.ended:
                raise StopAsyncIteration
            self._ready.extend(await aio.run(self._listing.page(self._policy), self._world))
        return self._ready.popleft()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: iterate over it by `async for`>"
