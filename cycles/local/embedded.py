"""An authority inside this process: its store, its wire, and the ways to it without a socket.

It does not know the client; `LocalAuthority` adds that (authority.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles.errors import ConfigError
from cycles.local.admin.budgets import Budgets
from cycles.local.admin.keys import Keys
from cycles.local.admin.names import own_scope
from cycles.local.admin.spending import Spending
from cycles.local.admin.tenants import Tenants
from cycles.local.admin.upkeep import Upkeep
from cycles.local.ledger import leases
from cycles.local.ledger.keys import key_hash
from cycles.local.store.stores import store_of
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

    from cycles.local.ledger.notices import RuntimeEvent
    from cycles.local.wire.app import App
    from cycles.local.wire.history import Log, RecordedRequest
    from cycles.local.wire.signing_keys import SigningKeys


def _signing(source: str | os.PathLike[str] | bytes) -> SigningKeys:
    from cycles.local.wire import signing_keys  # noqa: PLC0415 - an extra

    signing_keys.need_extra()
    return signing_keys.SigningKeys(source)


HISTORY: Final = 1000
"""Requests and events that an authority in memory remembers."""


class EmbeddedAuthority(Upkeep, Spending, Budgets, Keys, Tenants):  # docs/reference.md shows the last one first
    """`LocalAuthority` without its clients; it takes the same arguments."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        clock: Callable[[], int] = wall_clock,
        admin_key: str | None = None,
        history: int | None = None,
        lenient_permissions: bool = False,
        signing_key: str | os.PathLike[str] | bytes | None = None,
    ) -> None:
        if history is not None and (type(history) is not int or history < 0):
            raise ConfigError(f"history={history!r}: give a whole number from 0 on, or None")
        self._signing: Final = None if signing_key is None else _signing(signing_key)
        store = store_of(path)
        super().__init__(store, store.clock if store.clock is not None and clock is wall_clock else clock)
        self.faults: Final = Faults()
        remembered = (HISTORY if path is None else 0) if history is None else history
        self._history: Final = History(remembered) if remembered else None
        if self._history is not None:
            self.store.publish = self._history.publish
        self._admin_key: Final = admin_key
        self._lenient: Final = lenient_permissions
        self._app: App | None = None

    def session_key(self, *, tenant: str) -> str:
        """Return an API key of *tenant* that is good in this process, as long as it lives; no ledger keeps the key.

        Example:
            ```python
            from cycles import Client, Config, usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                key = authority.session_key(tenant="acme")
                client = Client(Config("local:", api_key=key, tenant="acme"), http_client=authority.http_client())
            ```
        """
        own_scope(f"tenant:{tenant}")
        return self.app.session_keys.key(tenant)

    # -- what tests look at --------------------------------------------------------------------------------------------
    @property
    def requests(self) -> Log[RecordedRequest]:
        """The last requests to this authority, oldest first, including those that an injected fault kept from it.

        Raises:
            ConfigError: when this authority keeps no history.
        """
        return self._remembered().requests

    @property
    def events(self) -> Log[RuntimeEvent]:
        """The last runtime events of this object's transactions, as a server would publish them, oldest first.

        Raises:
            ConfigError: when this authority keeps no history.
        """
        return self._remembered().events

    def _remembered(self) -> History:
        if self._history is None:
            raise ConfigError("this authority keeps no history: make it with LocalAuthority(…, history=1000)")
        return self._history

    def advance(self, by: float | timedelta) -> None:
        """Move the authority's `ManualClock` forward, and expire the reservations that are overdue then.

        Args:
            by: Seconds, or a timedelta; 0 or more.

        Raises:
            ConfigError: when its clock is no `ManualClock`.
            InvalidRequest: when *by* is no duration.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority, ManualClock

            with LocalAuthority(clock=ManualClock()) as authority:
                authority.budget("tenant:acme", usd("1.00"))
                with authority.client(tenant="acme") as client:
                    client.reserve(usd("0.05"), action=("tool.search", "web"), ttl=30)
                    authority.advance(60)
                assert authority.balance("tenant:acme", "USD_MICROCENTS").reserved == 0
            ```
        """
        if not isinstance(self.clock, ManualClock):
            raise ConfigError("this authority goes by the machine's clock: make it with clock=ManualClock()")
        self.clock.advance(by)
        while self.sweep() == leases.SWEPT_AT_ONCE:
            pass

    # -- the wire ------------------------------------------------------------------------------------------------------
    @property
    def app(self) -> App:
        """The wire without a socket: `app.handle(request)`."""
        if self._app is None:
            from cycles.local.admin.http import HttpAdministration  # noqa: PLC0415 - a script that provisions needs none
            from cycles.local.wire.app import App  # noqa: PLC0415
            from cycles.local.wire.evidence import Evidence  # noqa: PLC0415
            from cycles.local.wire.transactions import Transactions  # noqa: PLC0415

            transactions = Transactions(self.store, self.clock)
            admin_hash = key_hash(self._admin_key) if self._admin_key else None
            administration = HttpAdministration(transactions, admin_hash=admin_hash, lenient=self._lenient)
            self._app = App(
                transactions,
                administration,
                admin_hash=admin_hash,
                history=self._history,
                faults=self.faults,
                signing=None if self._signing is None else Evidence(self._signing),
            )
        return self._app

    def transport(self) -> httpx.BaseTransport:
        """Return an httpx transport to this authority, without a socket.

        Example:
            ```python
            import httpx

            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                with httpx.Client(transport=authority.transport(), base_url="http://cycles.local") as http:
                    assert http.get("/actuator/health").status_code == 200
            ```
        """
        from cycles.local.wire.transport import LocalTransport  # noqa: PLC0415

        return LocalTransport(self.app)

    def async_transport(self) -> httpx.AsyncBaseTransport:
        """Return an asynchronous httpx transport to this authority, without a socket.

        Example:
            ```python
            import asyncio

            import httpx

            from cycles.local import LocalAuthority


            async def health(authority: LocalAuthority) -> int:
                transport = authority.async_transport()
                async with httpx.AsyncClient(transport=transport, base_url="http://cycles.local") as http:
                    return (await http.get("/actuator/health")).status_code


            assert asyncio.run(health(LocalAuthority())) == 200
            ```
        """
        from cycles.local.wire.transport import AsyncLocalTransport  # noqa: PLC0415

        return AsyncLocalTransport(self.app)

    def http_client(self, **settings: Any) -> httpx.Client:
        """Return an httpx client of this authority, quicker than one made of `transport`.

        Its base URL is set; *settings* are other arguments of httpx.Client, such as headers.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                with authority.http_client() as http:
                    assert http.get("/actuator/health").status_code == 200
            ```
        """
        from cycles.local.wire.transport import LocalClient  # noqa: PLC0415

        return LocalClient(self.app, **settings)

    def async_http_client(self, **settings: Any) -> httpx.AsyncClient:
        """Return an asynchronous httpx client of this authority, quicker than one made of `async_transport`.

        Example:
            ```python
            import asyncio

            from cycles.local import LocalAuthority


            async def health(authority: LocalAuthority) -> int:
                async with authority.async_http_client() as http:
                    return (await http.get("/actuator/health")).status_code


            assert asyncio.run(health(LocalAuthority())) == 200
            ```
        """
        from cycles.local.wire.transport import AsyncLocalClient  # noqa: PLC0415

        return AsyncLocalClient(self.app, **settings)

    def close(self) -> None:
        """Close the ledger; one in memory is lost.

        Example:
            ```python
            from cycles.local import LocalAuthority

            authority = LocalAuthority()
            authority.close()
            ```
        """
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
