"""The client of a `Guard` that is given none: configured once, or made from the environment when first needed."""

from __future__ import annotations

import threading
from typing import Final

from cycles.client import AsyncClient, Client
from cycles.config import Config
from cycles.errors import ConfigError


class _Defaults:
    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._config: Config | None = None
        self._client: Client | None = None
        self._async_client: AsyncClient | None = None

    def configure(self, source: Client | AsyncClient | Config | None) -> None:
        if not isinstance(source, Client | AsyncClient | Config | None):
            raise ConfigError(f"configure: give a Client, an AsyncClient or a Config, not {type(source).__name__}")
        with self._lock:
            self._config = source if isinstance(source, Config) else None
            self._client = source if isinstance(source, Client) else None
            self._async_client = source if isinstance(source, AsyncClient) else None

    def client(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = Client(self._settings(self._async_client))
            return self._client

    def async_client(self) -> AsyncClient:
        with self._lock:
            if self._async_client is None:
                self._async_client = AsyncClient(self._settings(self._client))
            return self._async_client

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


DEFAULTS: Final = _Defaults()


def configure(source: Client | AsyncClient | Config | None) -> None:
    """Set the default that `Guard` uses.

    Args:
        source: A client (a guard of the other kind gets a twin with the same configuration), a configuration, or None
            for `Config.from_env()` when first needed, which is also the state at the start.

    Raises:
        ConfigError: when it is something else.
    """
    DEFAULTS.configure(source)
