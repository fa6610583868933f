"""What a `Guard` and a `Limit` have in common: a value that opens something around a function, or around a block."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack, contextmanager
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

from cycles._client.opened_section import entered, standing_in
from cycles._client.raising import raised_here
from cycles._guard.decorated import decorated
from cycles._guard.handover import Handover
from cycles.client import DEFAULTS, AsyncClient, Client
from cycles.errors import ConfigError, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from cycles._client.opened_section import Opened
    from cycles._guard.fields import Fields

P = ParamSpec("P")
R = TypeVar("R")


I = TypeVar("I", bound="Callable[..., None]")  # noqa: E741 - an __init__


def names_what_is_missing(init: I) -> I:
    """Return *init*, which says what to do where the parentheses of a decorator were forgotten.

    Raises:
        InvalidRequest: a function is all that is given.
    """

    @functools.wraps(init)
    def checked(self: object, *args: Any, **kwargs: Any) -> None:
        if not kwargs and len(args) == 1 and isinstance(args[0], FunctionType | classmethod | staticmethod):
            kind, named = type(self).__name__, getattr(args[0], "__qualname__", repr(args[0]))
            raise InvalidRequest(
                f"@{kind} on {named}: action is missing; give the decorator its fields in parentheses, as in "
                f'@cycles.{kind}(usd("0.05"), action=("llm.completion", "gpt-4o"))'
            )
        init(self, *args, **kwargs)

    return cast("I", checked)


class Entry:
    """The with-block of an `Opener` that is entered now, if any: one at a time.

    No lock holds threads apart, which a forked child could inherit taken: each step is one of a dictionary's own.
    """

    __slots__ = ("_blocks",)

    def __init__(self) -> None:
        self._blocks: Final[dict[str, Any]] = {}

    def claim(self, block: R, kind: str) -> R:
        """Note that *block*, of an opener of this *kind*, is entered, and return it.

        Raises:
            RuntimeError: another one is entered.
        """
        if self._blocks.setdefault("entered", block) is not block:
            raise RuntimeError(f"this {kind} is entered already; make one for each with-block that can overlap")
        return block

    def unclaim(self) -> Any:
        """Return the block that was entered; nobody is inside now."""
        return self._blocks.pop("entered", None)


class Opener(ABC):
    """A value that is a decorator, and a with-block that one at a time enters.

    Args:
        fields: What each reserve asks for.
        client: A Client or AsyncClient; the default one when None.

    Raises:
        InvalidRequest: the client is something else.
    """

    def __init__(self, fields: Fields, client: Client | AsyncClient | None) -> None:
        if client is not None and not isinstance(client, Client | AsyncClient):
            raise InvalidRequest(
                f"client: give a cycles.Client or cycles.AsyncClient, not {type(client).__name__}; "
                "leave it out for the default one (cycles.configure)"
            )
        self._fields: Final = fields
        self._client: Final = client
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Be entered by nobody, as a new value."""
        self._entry = Entry()

    # -- what is opened ------------------------------------------------------------------------------------------------
    @abstractmethod
    def _opening(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AbstractContextManager[Opened[Any]]:
        """Return what a call with these arguments opens, and ends."""

    @abstractmethod
    def _opening_async(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AbstractAsyncContextManager[Opened[Any]]:
        """Return the same for asynchronous code."""

    def _blocking_client(self) -> Client:
        if isinstance(self._client, AsyncClient):
            raise ConfigError(
                f"this {type(self).__name__} has an AsyncClient, but is used by blocking code: give it a Client"
            )
        return self._client or DEFAULTS.client()

    def _async_client(self) -> AsyncClient:
        if isinstance(self._client, Client):
            raise ConfigError(
                f"this {type(self).__name__} has a Client, but is used by asynchronous code: give it an AsyncClient"
            )
        return self._client or DEFAULTS.async_client()

    # -- as a with-block -----------------------------------------------------------------------------------------------
    def _enter(self, place: int | None) -> Opened[Any]:
        block = self._entry.claim(self._around(place), type(self).__name__)
        try:
            with raised_here:
                return block.__enter__()
        except BaseException:
            self._entry.unclaim()
            raise

    @contextmanager
    def _around(self, place: int | None) -> Iterator[Opened[Any]]:
        # A generator: a block that is dropped without being left ends as one that is closed.
        with Handover(self._opening((), {})) as opened:
            if place is None:  # no generator holds the block
                yield opened
            else:
                with standing_in(place, opened):
                    yield opened

    async def _enter_async(self, place: int | None) -> Opened[Any]:
        block = self._entry.claim(AsyncExitStack(), type(self).__name__)  # no async generator: see `AsyncSection`
        try:
            with raised_here:
                opened = await block.enter_async_context(self._opening_async((), {}))
            block.enter_context(entered(opened))
            block.enter_context(standing_in(place, opened))
        except BaseException:
            self._entry.unclaim()
            raise
        return opened

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entry.unclaim().__exit__(kind, error, trace)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._entry.unclaim().__aexit__(kind, error, trace)

    # -- as a decorator ------------------------------------------------------------------------------------------------
    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return *function* with the same signature; each call opens one of its own."""
        if isinstance(function, classmethod | staticmethod):
            return cast("Callable[P, R]", type(function)(self(function.__func__)))
        if isinstance(function, functools.partialmethod):
            kept: Any = type(function)(self(function.func), *function.args, **function.keywords)
            return cast("Callable[P, R]", kept)
        if not callable(function):
            kind = type(self).__name__
            raise InvalidRequest(f"a {kind} decorates functions and methods, not {function!r}; put it below a property")
        return cast("Callable[P, R]", self._decorated(cast("Callable[..., Any]", function)))

    def _decorated(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return decorated(function, self._opening, self._opening_async)
