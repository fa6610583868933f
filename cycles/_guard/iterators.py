"""Iterators that a guarded call returned, such as the streams of SDKs: the section lasts as long as the iteration.

Each is passed on in an object that looks like it: `isinstance` and all attributes are the iterator's own. Closing it,
leaving its with-block and dropping it end the section as a return does; what the iteration raises ends it as if the
call had raised it.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from cycles._client.opened_section import entered, stepped
from cycles._guard import async_generators, generators

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Generator
    from types import TracebackType

    from cycles._guard.handover import Rest


class _Lookalike:
    """An object with the class and the attributes of another one; its own begin with `_self_`."""

    __slots__ = ("__weakref__", "_self_iterator", "_self_rest", "_self_steps")

    _self_iterator: Any

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - it is not set
        return type(self._self_iterator)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_self_"):  # a copy that is being made has none yet
            raise AttributeError(name)
        return getattr(self._self_iterator, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_self_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._self_iterator, name, value)

    def __repr__(self) -> str:
        return repr(self._self_iterator)

    def _self_own(self, name: str) -> Any:
        """Return the iterator's special method *name*, or None."""
        method = getattr(type(self._self_iterator), name, None)
        return None if method is None else method.__get__(self._self_iterator)


class GuardedIterator(_Lookalike):
    """An iterator whose steps run in a section.

    Args:
        iterator: What the call returned.
        rest: The rest of the call's section.
    """

    __slots__ = ()

    def __init__(self, iterator: Any, rest: Rest[Any]) -> None:
        self._self_iterator = iterator
        self._self_rest: Final = rest
        self._self_steps: Final[Any] = generators.begun(_steps(iterator, rest))
        rest.outlives(self._self_steps)

    def __iter__(self) -> GuardedIterator:
        return self

    def __next__(self) -> Any:
        if self._self_steps.gi_frame is None:  # the section has ended; the iterator may go on after an error
            return next(self._self_iterator)
        return next(self._self_steps)

    def close(self) -> None:
        """Close the iterator, if it can be closed, and end the section."""
        try:
            with entered(self._self_rest.opened):
                if hasattr(self._self_iterator, "close"):
                    self._self_iterator.close()
        finally:
            self._self_steps.close()

    def __enter__(self) -> Any:
        enter = self._self_own("__enter__")
        if enter is None:
            return self
        with entered(self._self_rest.opened):
            inner = enter()
        return self if inner is self._self_iterator else inner

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        leave = self._self_own("__exit__")
        try:
            with entered(self._self_rest.opened):
                return None if leave is None else bool(leave(kind, error, trace))
        finally:
            self._self_fail(error)
            self.close() if leave is None else self._self_steps.close()

    def _self_fail(self, error: BaseException | None) -> None:
        """End the section with *error*, if there is one and the section is open."""
        if error is not None:
            try:
                self._self_steps.throw(error)
            except BaseException as raised:
                if raised is not error:
                    raise


def _steps(iterator: Any, rest: Rest[Any]) -> Generator[Any, None, None]:
    """Iterate inside the section; the first item is nobody's (see `begun`)."""
    with rest as opened:
        item = None
        while True:
            try:
                yield item
            except GeneratorExit:
                break
            with stepped(opened):
                try:
                    item = next(iterator)
                except StopIteration:
                    break
        opened.result = iterator


class GuardedAsyncIterator(_Lookalike):
    """An asynchronous iterator whose steps run in a section; see `GuardedIterator`."""

    __slots__ = ()

    def __init__(self, iterator: Any, rest: Rest[Any]) -> None:
        self._self_iterator = iterator
        self._self_rest: Final = rest
        self._self_steps: Final[Any] = async_generators.begun(_async_steps(iterator, rest))
        rest.outlives(self._self_steps)

    def __aiter__(self) -> GuardedAsyncIterator:
        return self

    def __anext__(self) -> Awaitable[Any]:
        if self._self_steps.ag_frame is None:  # see GuardedIterator
            return anext(self._self_iterator)
        step: Awaitable[Any] = self._self_steps.__anext__()
        return step

    def close(self) -> Any:
        """Close the iterator as its own method does; the section ends when that is awaited."""
        with entered(self._self_rest.opened):
            closing = self._self_iterator.close()
        return self._self_closed(closing) if inspect.isawaitable(closing) else closing

    async def aclose(self) -> None:
        """Close the iterator, if it can be closed, and end the section."""
        with entered(self._self_rest.opened):
            close = getattr(self._self_iterator, "aclose", None) or getattr(self._self_iterator, "close", None)
            closing = None if close is None else close()
        await self._self_closed(closing)

    async def _self_closed(self, closing: Any) -> None:
        try:
            with entered(self._self_rest.opened):
                if inspect.isawaitable(closing):
                    await closing
        finally:
            await self._self_steps.aclose()

    async def __aenter__(self) -> Any:
        enter = self._self_own("__aenter__")
        if enter is None:
            return self
        with entered(self._self_rest.opened):
            inner = await enter()
        return self if inner is self._self_iterator else inner

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        leave = self._self_own("__aexit__")
        try:
            with entered(self._self_rest.opened):
                return None if leave is None else bool(await leave(kind, error, trace))
        finally:
            await self._self_fail(error)
            await (self.aclose() if leave is None else self._self_steps.aclose())

    async def _self_fail(self, error: BaseException | None) -> None:
        """See `GuardedIterator`."""
        if error is not None:
            try:
                await self._self_steps.athrow(error)
            except BaseException as raised:
                if raised is not error:
                    raise


async def _async_steps(iterator: Any, rest: Rest[Any]) -> AsyncGenerator[Any, None]:
    """Iterate inside the section; the first item is nobody's (see `begun`)."""
    async with rest as opened:
        item = None
        while True:
            try:
                yield item
            except GeneratorExit:
                rest.is_closing = True
                break
            with stepped(opened):
                try:
                    item = await anext(iterator)
                except StopAsyncIteration:
                    break
        opened.result = iterator
