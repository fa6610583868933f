"""The client of a `Guard` that is given none: configured once, or made from the environment when first needed."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary, ref

from cycles.client import AsyncClient, Client
from cycles.config import Config
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


class _Defaults:
    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._config: Config | None = None
        self._client: Client | None = None
        self._async_client: AsyncClient | None = None
        self._made: list[Client | AsyncClient] = []  # for want of a configured one
        self._home: ref[AbstractEventLoop] | None = None  # the loop that the default client was last given to
        self._by_loop: WeakKeyDictionary[AbstractEventLoop, AsyncClient] = WeakKeyDictionary()

    def configure(self, source: Client | AsyncClient | Config | None) -> None:
        if not isinstance(source, Client | AsyncClient | Config | None):
            raise ConfigError(f"configure: give a Client, an AsyncClient or a Config, not {type(source).__name__}")
        with self._lock:
            self._config = source if isinstance(source, Config) else None
            self._client = source if isinstance(source, Client) else None
            self._async_client = source if isinstance(source, AsyncClient) else None
            self._by_loop.clear()

    def client(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = Client(self._settings(self._async_client))
                self._made.append(self._client)
            return self._client

    def async_client(self) -> AsyncClient:
        with self._lock:
            if self._async_client is None:
                self._async_client = AsyncClient(self._settings(self._client))
                self._made.append(self._async_client)
            return self._for_this_loop(self._async_client)

    def _for_this_loop(self, client: AsyncClient) -> AsyncClient:
        """Return *client*, or while it serves the loop of another thread, a twin of it for the running one."""
        import asyncio  # noqa: PLC0415 - whoever calls this from a loop has loaded it

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # trio; or nothing runs here, and nothing can be sent
            return client
        if (found := self._by_loop.get(loop)) is not None:
            return found
        home = None if self._home is None else self._home()
        if home is None or not home.is_running():
            self._home, home = ref(loop), loop
        if home is loop and not client._is_elsewhere:  # noqa: SLF001 - for this package's own use
            return client
        found = self._by_loop[loop] = client._twin()  # noqa: SLF001 - as above
        self._made.append(found)
        return found

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        with self._lock:
            before = self._config, self._client, self._async_client, self._made
            self._config, self._client, self._async_client, self._made = None, None, None, []
        try:
            yield
        finally:
            with self._lock:
                made = self._made
                self._config, self._client, self._async_client, self._made = before
                self._by_loop.clear()
            for client in made:
                _close(client)

    def _settings(self, twin: Client | AsyncClient | None) -> Config:
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


def _close(client: Client | AsyncClient) -> None:
    if isinstance(client, Client):
        client.close()
    elif client.config.is_local:  # without a connection, so there is nothing to wait for, and no loop is needed
        with suppress(StopIteration):
            client.close().send(None)


DEFAULTS: Final = _Defaults()


def set_aside() -> AbstractContextManager[None]:
    """Forget the default while a with-block lasts, as if the program had just begun; afterwards it is what it was.

    Clients that guards had made meanwhile for want of a configured one are closed: for tests.
    """
    return DEFAULTS.set_aside()


def configure(source: Client | AsyncClient | Config | None) -> None:
    """Set the default that `Guard` uses.

    Args:
        source: A client (a guard of the other kind gets a twin with the same configuration), a configuration, or None
            for `Config.from_env()` when first needed, which is also the state at the start.

    Raises:
        ConfigError: when it is something else.
    """
    DEFAULTS.configure(source)
