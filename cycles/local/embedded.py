"""`LocalAuthority`: an authority inside this process, and how it is spoken to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles.errors import ConfigError, InvalidRequest
from cycles.local.admin.names import checked_scope, read_url
from cycles.local.admin.provisioning import Provisioning, new_secret
from cycles.local.ledger import reservations as ledger
from cycles.local.registry import MEMORY, shared
from cycles.local.store.sqlite import Store
from cycles.local.wire.clock import ManualClock, wall_clock
from cycles.local.wire.faults import Faults
from cycles.local.wire.history import History

if TYPE_CHECKING:
    import os
    from collections.abc import Callable
    from datetime import timedelta
    from types import TracebackType
    from typing import Self

    import httpx

    from cycles.client import AsyncClient, Client
    from cycles.local.ledger.events import RuntimeEvent
    from cycles.local.wire.app import App
    from cycles.local.wire.history import Log, RecordedRequest

DEFAULT_TENANT: Final = "default"
"""Whose budget a `local:` URL makes when no tenant is named."""

HISTORY: Final = 1000
"""Requests and events that an authority in memory remembers."""


class LocalAuthority(Provisioning):
    """An authority on SQLite inside this process; it speaks the runtime plane of the protocol.

    Args:
        path: A file, shared by every process of this machine that names it; None lives in memory and dies with the
            process.
        clock: Gives milliseconds since the epoch; the one clock of every comparison. For tests.
        admin_key: What X-Admin-API-Key must be; None: nobody is the administrator over HTTP.
        lenient_permissions: Whether over HTTP a tenant's key may fund its own budgets, and whatever else a key can be
            given, without having been given it.
        history: How many of the last requests and runtime events `requests` and `events` show; None: 1000 with a
            ledger in memory, and none with a file.

    Attributes:
        faults: What is to go wrong with requests that come in process or over HTTP; for tests (`Faults`).

    Raises:
        ConfigError: when the file is no ledger; it is left untouched.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        clock: Callable[[], int] = wall_clock,
        admin_key: str | None = None,
        history: int | None = None,
        lenient_permissions: bool = False,
    ) -> None:
        if history is not None and (type(history) is not int or history < 0):
            raise ConfigError(f"history={history!r}: give a whole number from 0 on, or None")
        super().__init__(Store(path), clock)
        self.faults: Final = Faults()
        remembered = (HISTORY if path is None else 0) if history is None else history
        self._history: Final = History(remembered) if remembered else None
        if self._history is not None:
            self.store.publish = self._history.publish
        self._admin_key: Final = admin_key
        self._lenient: Final = lenient_permissions
        self._app: App | None = None

    def session_key(self, *, tenant: str) -> str:
        """Return an API key of *tenant* for requests in this process, as long as it lives; no ledger file keeps it."""
        checked_scope(f"tenant:{tenant}")
        keys = self.app.session_keys
        known = next((secret for secret, owner in list(keys.items()) if owner == tenant), None)
        if known is None:
            known = new_secret()
            keys[known] = tenant
        return known

    # -- what tests look at --------------------------------------------------------------------------------------------
    @property
    def requests(self) -> Log[RecordedRequest]:
        """The last requests that came here, oldest first; those that an injected fault kept away too, marked so.

        Raises:
            ConfigError: when this authority keeps no history.
        """
        return self._remembered().requests

    @property
    def events(self) -> Log[RuntimeEvent]:
        """What a server would have published (authority.md §7) of what this object's transactions did, oldest first.

        Raises:
            ConfigError: when this authority keeps no history.
        """
        return self._remembered().events

    def _remembered(self) -> History:
        if self._history is None:
            raise ConfigError("this authority keeps no history: make it with LocalAuthority(…, history=1000)")
        return self._history

    def advance(self, by: float | timedelta) -> None:
        """Let time pass by the authority's own clock, and expire what is overdue then.

        Args:
            by: Seconds, or a timedelta; from 0.

        Raises:
            ConfigError: when it goes by the machine's clock.
            InvalidRequest: when *by* is no duration.
        """
        if not isinstance(self.clock, ManualClock):
            raise ConfigError("this authority goes by the machine's clock: make it with clock=ManualClock()")
        self.clock.advance(by)
        while self.sweep() == ledger.SWEPT_AT_ONCE:
            pass

    # -- speaking ------------------------------------------------------------------------------------------------------
    @property
    def app(self) -> App:
        """The wire, without a socket: `app.handle(request)`."""
        if self._app is None:
            from cycles.local.wire.app import App  # noqa: PLC0415 - provisioning alone does not need the wire

            self._app = App(
                self.store,
                clock=self.clock,
                admin_key=self._admin_key,
                lenient_permissions=self._lenient,
                history=self._history,
                faults=self.faults,
            )
        return self._app

    def transport(self) -> httpx.BaseTransport:
        """Return an httpx transport to this authority, without a socket."""
        from cycles.local.wire.transport import LocalTransport  # noqa: PLC0415

        return LocalTransport(self.app)

    def async_transport(self) -> httpx.AsyncBaseTransport:
        """Return an asynchronous httpx transport to this authority, without a socket."""
        from cycles.local.wire.transport import AsyncLocalTransport  # noqa: PLC0415

        return AsyncLocalTransport(self.app)

    def http_client(self, **settings: Any) -> httpx.Client:
        """Return an httpx client of this authority, quicker than one made of `transport`; *settings* are httpx's."""
        from cycles.local.wire.transport import LocalClient  # noqa: PLC0415

        return LocalClient(self.app, **settings)

    def async_http_client(self, **settings: Any) -> httpx.AsyncClient:
        """Return an asynchronous httpx client of this authority, quicker than one made of `async_transport`."""
        from cycles.local.wire.transport import AsyncLocalClient  # noqa: PLC0415

        return AsyncLocalClient(self.app, **settings)

    def client(self, *, tenant: str) -> Client:
        """Return a `cycles.Client` of this authority with a fresh key of *tenant*."""
        from cycles.client import Client  # noqa: PLC0415 - only here does the authority know the client
        from cycles.config import Config  # noqa: PLC0415

        config = Config(self._url(), api_key=self.session_key(tenant=tenant), tenant=tenant)
        return Client(config, http_client=self.http_client())

    def async_client(self, *, tenant: str) -> AsyncClient:
        """Return a `cycles.AsyncClient` of this authority with a fresh key of *tenant*."""
        from cycles.client import AsyncClient  # noqa: PLC0415
        from cycles.config import Config  # noqa: PLC0415

        config = Config(self._url(), api_key=self.session_key(tenant=tenant), tenant=tenant)
        return AsyncClient(config, http_client=self.async_http_client())

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
        tenant = DEFAULT_TENANT if tenant is None else tenant
        path, wanted = read_url(url)
        try:
            scope = checked_scope(f"tenant:{tenant}")
        except InvalidRequest as error:
            raise ConfigError(error.message) from None
        known = shared(path or MEMORY, lambda: cls(path or None, history=0))
        for amount in wanted:
            known.ensure_budget(scope, amount)
        return known
