"""The client of a `Guard` that is given none: configured once, or made from the environment when first needed."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Generic, TypeGuard, TypeVar
from weakref import WeakKeyDictionary, ref

from cycles._client.async_runtime import AsyncRuntime
from cycles._client.blocking_runtime import BlockingRuntime
from cycles._client.faces import Face, runtime_of
from cycles._client.loop_home import running_loop
from cycles._drivers import threads
from cycles._outside.forks import renewed_in_forks
from cycles.config import Config
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator

C = TypeVar("C", bound=Face[BlockingRuntime])
A = TypeVar("A", bound=Face[AsyncRuntime])


class Defaults(Generic[C, A]):
    """The default clients of this process, one of each kind.

    Args:
        blocking: The class of clients for blocking code.
        asynchronous: The class of clients for asynchronous code.
    """

    def __init__(self, blocking: type[C], asynchronous: type[A]) -> None:
        self._kinds: Final = (blocking, asynchronous)
        self._make: Final[Callable[..., C]] = blocking
        self._make_async: Final[Callable[..., A]] = asynchronous
        self._lock = threads.Lock()
        self._config: Config | None = None
        self._client: C | None = None
        self._async_client: A | None = None
        self._made: list[C | A] = []  # for want of a configured one
        self._home: ref[AbstractEventLoop] | None = None  # the loop that the default client was last given to
        self._by_loop: WeakKeyDictionary[AbstractEventLoop, A] = WeakKeyDictionary()
        renewed_in_forks(self)

    def forked(self) -> None:
        """Begin with a lock of its own in a forked child: another thread of the parent may have held this one."""
        self._lock = threads.Lock()

    def configure(self, source: C | A | Config | None) -> None:
        """Set what the default clients are, or are made of; see `cycles.configure`."""
        if not isinstance(source, (*self._kinds, Config, type(None))):
            raise ConfigError(f"configure: give a Client, an AsyncClient or a Config, not {type(source).__name__}")
        with self._lock.native:
            self._config = source if isinstance(source, Config) else None
            self._client = source if self._is_blocking(source) else None
            self._async_client = source if self._is_async(source) else None
            self._by_loop.clear()

    def client(self) -> C:
        """Return the one for blocking code."""
        with self._lock.native:
            if self._client is None:
                self._client = self._make(self._settings(self._async_client))
                self._made.append(self._client)
            return self._client

    def async_client(self) -> A:
        """Return the one for asynchronous code in the running event loop."""
        with self._lock.native:
            if self._async_client is None:
                self._async_client = self._make_async(self._settings(self._client))
                self._made.append(self._async_client)
            return self._for_this_loop(self._async_client)

    def _for_this_loop(self, client: A) -> A:
        """Return *client*, or while it serves the loop of another thread, a twin of it for the running one."""
        loop = running_loop()
        if loop is None:  # trio; or nothing runs here, and nothing can be sent
            return client
        if (found := self._by_loop.get(loop)) is not None:
            return found
        home = None if self._home is None else self._home()
        if home is None or not home.is_running():
            self._home, home = ref(loop), loop
        runtime = runtime_of(client)
        if home is loop and not runtime.is_elsewhere:
            return client
        for ended in [each for each in self._by_loop if each.is_closed()]:  # their clients hold them
            del self._by_loop[ended]
        kept = {id(each) for each in (self._client, self._async_client, *self._by_loop.values())}
        self._made = [each for each in self._made if id(each) in kept]
        found = self._by_loop[loop] = self._make_async(client.config, on_settlement=runtime.on_settlement)
        self._made.append(found)
        return found

    def close(self) -> None:
        """End the default clients that were made here; see `cycles.close`."""
        for client in self._taken(lambda one: runtime_of(one).has_no_loop):
            self._close(client)

    async def aclose(self) -> None:
        """End the default clients that were made here, those of the running loop too; see `cycles.aclose`."""
        loop = running_loop()
        for client in self._taken(
            lambda client: runtime_of(client).has_no_loop or runtime_of(client).home.loop is loop
        ):
            if self._is_async(client):
                await runtime_of(client).close()
            else:
                self._close(client)

    def _taken(self, ends: Callable[[A], bool]) -> list[C | A]:
        """Forget the clients that were made here, of the asynchronous ones those that it *ends*; return them."""
        with self._lock.native:
            taken = [client for client in self._made if not self._is_async(client) or ends(client)]
            self._made = [client for client in self._made if client not in taken]
            self._client = None if self._client in taken else self._client
            self._async_client = None if self._async_client in taken else self._async_client
            for loop, client in list(self._by_loop.items()):
                if client in taken:
                    del self._by_loop[loop]
            return taken

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Forget the default while a with-block lasts, as if the program had just begun; then restore it.

        Clients that guards made meanwhile for want of a configured one are closed: for tests.
        """
        with self._lock.native:
            before = self._config, self._client, self._async_client, self._made
            self._config, self._client, self._async_client, self._made = None, None, None, []
        try:
            yield
        finally:
            with self._lock.native:
                made = self._made
                self._config, self._client, self._async_client, self._made = before
                self._by_loop.clear()
            for client in made:
                self._close(client)

    def _settings(self, twin: C | A | None) -> Config:
        """Return the configuration for the client that is missing: its twin's, if there is one."""
        if twin is not None:
            if not twin.shares_config:
                raise ConfigError(
                    "configure was given one client with an http_client of its own; sync and async guards need "
                    "one each: pass client= to the Guard"
                )
            return twin.config
        if self._config is None:
            self._config = Config.from_env()
        return self._config

    def _close(self, client: C | A) -> None:
        if self._is_blocking(client):
            runtime_of(client).close()
        elif self._is_async(client):
            runtime_of(client).end()

    def _is_blocking(self, source: object) -> TypeGuard[C]:
        return isinstance(source, self._kinds[0])

    def _is_async(self, source: object) -> TypeGuard[A]:
        return isinstance(source, self._kinds[1])
