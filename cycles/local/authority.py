"""`LocalAuthority`: an authority inside this process, and how it is spoken to."""

from __future__ import annotations

import atexit
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from cycles.errors import ConfigError, InvalidRequest
from cycles.local.names import checked_scope, parse_budget
from cycles.local.provisioning import Provisioning
from cycles.local.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    import httpx

    from cycles.client import AsyncClient, Client
    from cycles.local.app import App

DEFAULT_TENANT: Final = "default"
"""Whose budget a `local:` URL makes when no tenant is named."""

ORIGIN: Final = "http://cycles.local"
"""What requests inside the process are addressed to; nothing resolves it."""


def wall_clock() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


class LocalAuthority(Provisioning):
    """An authority on SQLite inside this process; it speaks the runtime plane of the protocol.

    Args:
        path: A file, shared by every process of this machine that names it; None lives in memory and dies with the
            process.
        clock: Gives milliseconds since the epoch; the one clock of every comparison. For tests.
        admin_key: What X-Admin-API-Key must be; None: nobody is the administrator over HTTP.

    Raises:
        ConfigError: when the file is no ledger; it is left untouched.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        clock: Callable[[], int] = wall_clock,
        admin_key: str | None = None,
    ) -> None:
        super().__init__(Store(path), clock)
        self._admin_key: Final = admin_key
        self._app: App | None = None

    # -- speaking ------------------------------------------------------------------------------------------------------
    @property
    def app(self) -> App:
        """The wire, without a socket: `app.handle(request)`."""
        if self._app is None:
            from cycles.local.app import App  # noqa: PLC0415 - provisioning alone does not need the wire

            self._app = App(self.store, clock=self.clock, admin_key=self._admin_key)
        return self._app

    def transport(self) -> httpx.BaseTransport:
        """Return an httpx transport to this authority, without a socket."""
        from cycles.local.transport import LocalTransport  # noqa: PLC0415

        return LocalTransport(self.app)

    def async_transport(self) -> httpx.AsyncBaseTransport:
        """Return an asynchronous httpx transport to this authority, without a socket."""
        from cycles.local.transport import AsyncLocalTransport  # noqa: PLC0415

        return AsyncLocalTransport(self.app)

    def client(self, *, tenant: str) -> Client:
        """Return a `cycles.Client` of this authority with a fresh key of *tenant*."""
        import httpx  # noqa: PLC0415

        from cycles.client import Client  # noqa: PLC0415 - only here does the authority know the client
        from cycles.config import Config  # noqa: PLC0415

        config = Config(self._url(), api_key=self.key(tenant=tenant), tenant=tenant)
        return Client(config, http_client=httpx.Client(transport=self.transport(), base_url=ORIGIN))

    def async_client(self, *, tenant: str) -> AsyncClient:
        """Return a `cycles.AsyncClient` of this authority with a fresh key of *tenant*."""
        import httpx  # noqa: PLC0415

        from cycles.client import AsyncClient  # noqa: PLC0415
        from cycles.config import Config  # noqa: PLC0415

        config = Config(self._url(), api_key=self.key(tenant=tenant), tenant=tenant)
        return AsyncClient(config, http_client=httpx.AsyncClient(transport=self.async_transport(), base_url=ORIGIN))

    def _url(self) -> str:
        return "local:" if self.store.path is None else f"local:{self.store.path}"

    def close(self) -> None:
        """Close the store; a ledger in memory is gone."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LocalAuthority {'in memory' if self.store.path is None else str(self.store.path)!r}>"

    # -- local: URLs ---------------------------------------------------------------------------------------------------
    @classmethod
    def from_url(cls, url: str, *, tenant: str | None = None) -> LocalAuthority:
        """Return the authority that a `local:` URL names; in one process the same one for the same name.

        A fork of this process opens a file anew. A ledger in memory stays the property of the process that made it:
        a fork that asked its copy would have the budget a second time, so it is refused.

        Args:
            url: "local:" (memory), "local:PATH", either with ?usd=1.00 (or tokens, credits, risk_points): a budget
                that is created for *tenant* unless it is there.
            tenant: Whose budget that is; "default" when None.

        Raises:
            ConfigError: naming what is wrong with the URL.
        """
        if not url.startswith("local:"):
            raise ConfigError(f"{url!r} is no local: URL: write local:, local:PATH or local:?usd=1.00")
        tenant = DEFAULT_TENANT if tenant is None else tenant
        path, _, query = url.removeprefix("local:").partition("?")
        wanted = [parse_budget(name, value) for name, value in parse_qsl(query, keep_blank_values=True)]
        try:
            scope = checked_scope(f"tenant:{tenant}")
        except InvalidRequest as error:
            raise ConfigError(error.message) from None
        known = _shared(os.path.abspath(Path(path).expanduser()) if path else "")  # noqa: PTH100 - not resolved
        for amount in wanted:
            known.ensure_budget(scope, amount)
        return known


_registry: Final[dict[str, LocalAuthority]] = {}
_registry_lock = threading.Lock()


def _shared(path: str) -> LocalAuthority:
    with _registry_lock:
        known = _registry.get(path)
        if known is None or known.store.is_closed:
            known = _registry[path] = LocalAuthority(path or None)
        return known


@atexit.register
def forget_shared() -> None:
    """Close and forget the authorities that `local:` URLs of this process share; also at its end."""
    with _registry_lock:
        for authority in _registry.values():
            authority.close()
        _registry.clear()


def _after_fork() -> None:
    global _registry_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _registry_lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
