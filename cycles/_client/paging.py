"""Lists as users iterate over them: every row of every page, asked for when needed.

Classes and no generators: a list that is left before its end needs no closing, under trio neither.
"""

from __future__ import annotations

from collections import deque
from html import escape
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from cycles._client.tables import rows_line, rows_table
from cycles._drivers import aio, blocking

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any, Self

    from cycles._core.listings import Listing
    from cycles._core.retry import RetryPolicy
    from cycles._drivers.world import World

R = TypeVar("R")


class Rows(Generic[R]):
    """The rows of a list of an authority, for blocking code: an iterator, which asks for pages when it needs them.

    After an error, iterating on asks for the failed page again. A notebook that shows one asks for the first page, and
    takes no row away. Made by `Client.balances` and `Client.reservations`.

    Example:
        ```python
        import cycles

        with cycles.Client() as client:
            for balance in client.balances():
                print(balance)
        ```
    """

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
        if self._ready:
            return rows_line(type(self).__name__, list(self._ready), more=not self._listing.ended)
        if self._listing.ended:
            return f"{type(self).__name__}()"
        return f"<{type(self).__name__}: iterate over it, or make a list of it>"

    def _repr_html_(self) -> str:
        """Return the rows that come next as a notebook shows them; iterating still gives them all."""
        while not self._ready and not self._listing.ended:
            self._ready.extend(blocking.run(self._listing.page(self._policy), self._world))
        return rows_table(list(self._ready), more=not self._listing.ended)


class AsyncRows(Generic[R]):
    """The rows of a list of an authority, for asynchronous code: an asynchronous iterator; see `Rows`.

    `await rows` asks for the page that comes next, if nothing of it is there, takes no row away, and gives the same
    rows: what a notebook or a prompt with top-level await shows. Made by `AsyncClient.balances` and
    `AsyncClient.reservations`.

    Example:
        ```python
        import asyncio

        import cycles


        async def main() -> None:
            async with cycles.AsyncClient() as client:
                print(await client.balances())
                async for balance in client.balances():
                    print(balance.remaining)


        asyncio.run(main())
        ```
    """

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

    def __await__(self) -> Generator[Any, Any, Self]:
        return self._peeked().__await__()

    async def _peeked(self) -> Self:
        while not self._ready and not self._listing.ended:
            self._ready.extend(await aio.run(self._listing.page(self._policy), self._world))
        return self

    def __repr__(self) -> str:
        if self._ready:
            return rows_line(type(self).__name__, list(self._ready), more=not self._listing.ended)
        if self._listing.ended:
            return f"{type(self).__name__}()"
        return f"<{type(self).__name__}: iterate over it by `async for`, or show it by `await`>"

    def _repr_html_(self) -> str:
        """Return the rows that were read and come next as a notebook shows them; nothing is asked for."""
        if self._ready or self._listing.ended:
            return rows_table(list(self._ready), more=not self._listing.ended)
        return f"<p>{escape(repr(self))}</p>"
