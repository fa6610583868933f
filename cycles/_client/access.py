"""How a client reaches its authority: the configuration, the generated client, and who owns the connections."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from cycles._client.checked import Memory
from cycles._client.key_tenant import KeyTenant
from cycles._client.local_authority import budget_remedy, local_authority
from cycles._drivers.bounded_api import BoundedApi
from cycles._drivers.libraries import Library, library, library_of
from cycles._drivers.phases import Phases
from cycles._drivers.surroundings import opened
from cycles._journal.partitions import partition_of
from cycles.config import Config
from cycles.errors import ConfigError, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cycles.errors import BudgetNotFound
    from cycles.local.embedded import EmbeddedAuthority
    from cycles_api.http import AsyncHttpClient, HttpClient

    AsyncFactory = Callable[..., AsyncHttpClient]

LOCAL_ORIGIN: Final = "http://cycles.local"
"""The base URL of requests to an authority inside this process; nothing resolves it."""


class _Opened:
    """The connections that a client has, if it has opened any; the generated client asks this for them."""

    def __init__(self, engine: Library, make_async: AsyncFactory) -> None:
        self._engine: Final = engine
        self._make_async: Final = make_async
        self.blocking: HttpClient | None = None
        self.asynchronous: AsyncHttpClient | None = None

    def make(self, **options: Any) -> HttpClient:
        """Open those of blocking requests."""
        self.blocking = opened(self._engine.http, self._engine.client, **options)
        return self.blocking

    def make_async(self, **options: Any) -> AsyncHttpClient:
        """Open those of asynchronous requests."""
        self.asynchronous = opened(self._engine.http, self._make_async, **options)
        return self.asynchronous


class Access:
    """A client's way to its authority.

    Args:
        config: Where and for whom; `Config.from_env()` when None.
        http_client: What the client was given to send through, or None.
        parent: The access of the client whose `with_options` makes this one, or None.
        async_factory: Makes the http client of asynchronous requests, if the connections are a pool of its own.

    Attributes:
        config: As it is used: for `local:` with a tenant, and a key of this process.
        authority: The authority inside this process, or None.
        engine: The library that sends.
        api: The generated client.
        timeout: Of each phase of an ordinary request.
        given: What the client was given to send through, or None.
        is_owned: The connections were made here, and are closed here.
        key_tenant: Whom the key is of.
        checked: Arguments of reserves that were checked before.
        shares_config: Another client made of the same configuration reaches the same authority.
    """

    def __init__(
        self,
        config: Config | None,
        http_client: HttpClient | AsyncHttpClient | None,
        *,
        parent: Access | None = None,
        async_factory: Callable[[Config], AsyncFactory] | None = None,
    ) -> None:
        config = Config.from_env() if config is None else config
        authority: EmbeddedAuthority | None = None
        if config.is_local and http_client is None:
            authority, config = local_authority(config)
        # An authority in this process has clients of httpx, whatever is configured.
        engine = "httpx" if config.is_local else config.http_engine
        self.engine: Final = library(engine) if http_client is None else library_of(http_client)
        if http_client is None and authority is None:
            # Not by whichever thread asks first: a child that is forked meanwhile could never import it.
            importlib.import_module(self.engine.core)
        self.config: Final = config
        self.given: Final = http_client
        self.is_owned: Final = http_client is None
        self.authority: Final[EmbeddedAuthority | None] = authority if parent is None else parent.authority
        self.shares_config: Final[bool] = self.is_owned if parent is None else parent.shares_config
        self.key_tenant: Final = self._key_tenant(parent)
        self.checked: Final = Memory()
        # A busy pool is waited for as long as an answer, and not reported as a dead network.
        self.timeout: Final = Phases(config.connect_timeout, config.read_timeout, config.read_timeout, None)
        make_async: AsyncFactory = self.engine.async_client
        self._is_closed = False
        if async_factory is not None and self.is_owned and not config.is_local:
            make_async = async_factory(config)
        self._opened: Final = _Opened(self.engine, make_async)
        self.api: Final = BoundedApi(
            base_url=LOCAL_ORIGIN if config.is_local else config.base_url,
            token=config.api_key or "",
            timeout=self.timeout,
            http_module=self.engine.http,
            client_factory=self._opened.make,
            async_client_factory=self._opened.make_async,
        )

    def advise(self, error: BudgetNotFound, unit: object) -> None:
        """Let *error* say how a budget of *unit* is made, where the ledger is one of this machine."""
        if self.config.is_local:
            error.remedy = budget_remedy(self.config.base_url, unit)

    @property
    def base_url(self) -> str:
        """Where its requests go, without a slash at the end."""
        return LOCAL_ORIGIN if self.config.is_local else self.config.base_url.rstrip("/")

    def open(self) -> None:
        """Make the connections of blocking requests, if there are none yet: before anything is sent.

        Raises:
            ConfigError: when the environment's proxies or certificates can't be used.
            InvalidRequest: when the client is closed.
        """
        self._must_be_open()
        if self._opened.blocking is None:
            with suppress(self.engine.http.ConnectError):  # the request that comes next says it in its own way
                self.api.get_httpx_client()

    def open_async(self) -> None:
        """Make the connections of asynchronous requests; see `open`."""
        self._must_be_open()
        if self._opened.asynchronous is None:
            with suppress(self.engine.http.ConnectError):
                self.api.get_async_httpx_client()

    def _must_be_open(self) -> None:
        if self._is_closed:
            raise InvalidRequest("this client is closed: ask before close(), or make another client")

    def _key_tenant(self, parent: Access | None) -> KeyTenant:
        """Return what is known of the key's tenant: the parent's, for the same key at the same authority."""
        key, tenant = self.config.api_key, self.config.tenant
        if parent is not None and (key, self.config.base_url) == (parent.config.api_key, parent.config.base_url):
            return parent.key_tenant
        if self.authority is None or tenant is None or key != self.authority.session_key(tenant=tenant):
            return KeyTenant()
        return KeyTenant(tenant)

    @property
    def is_pooled(self) -> bool:
        """Whether the connections are a pool that was made here, or by a parent, and can be made again."""
        return self.shares_config and not self.config.is_local

    def reaches_same(self, other: Access, *, tenant: str | None) -> bool:
        """Return whether both spend at the same authority for the same principal; *tenant* is what was named."""
        mine, theirs = self.config, other.config
        if mine.base_url != theirs.base_url or (tenant is None and mine.api_key != theirs.api_key):
            return False
        return not mine.is_local or self.local_app is other.local_app

    @property
    def creditor(self) -> tuple[str, int | None]:
        """Names the authority and the principal, in this process."""
        config, app = self.config, self.local_app
        return partition_of(config.base_url, config.tenant, config.api_key), None if app is None else id(app)

    @property
    def local_app(self) -> object:
        """What serves requests in this process, whichever client was given; None where that is not known."""
        if self.authority is not None:
            return self.authority.app
        return getattr(self.given, "app", None)

    def connect(self, http_client: HttpClient | None) -> HttpClient | None:
        """Send blocking requests through *http_client*, or through the authority's own; return what was found."""
        if http_client is None and self.authority is not None:
            http_client = self.authority.http_client(timeout=self.timeout)
        if http_client is not None:
            self._opened.blocking = http_client
            self.api.set_httpx_client(http_client)
        return http_client

    def connect_async(self, http_client: AsyncHttpClient | None) -> None:
        """Send asynchronous requests through *http_client*, or through the authority's own."""
        if http_client is None and self.authority is not None:
            http_client = self.authority.async_http_client(timeout=self.timeout)
        if http_client is not None:
            self._opened.asynchronous = http_client
            self.api.set_async_httpx_client(http_client)

    def reconnect(self) -> object:
        """Leave the connections behind, without closing them: they belong to another process, or to a loop that ended.

        Two processes on one inherited socket would read each other's answers.

        Returns:
            The asynchronous connections that were left behind.
        """
        left = self.api._async_client  # noqa: SLF001 - the generated client has no way to make its connections anew
        self.api._client = self.api._async_client = None  # noqa: SLF001 - as above
        self._opened.blocking = self._opened.asynchronous = None
        return left

    def changed(self, changes: Mapping[str, Any]) -> Config:
        """Return the configuration with *changes* that the shared http client can carry.

        Raises:
            ConfigError: a setting is unknown or wrong, or base_url would change from or to `local:`.
        """
        config = self.config.replace(**changes)
        if config.base_url != self.config.base_url and (config.is_local or self.config.is_local):
            raise ConfigError(
                "with_options: base_url can't change from or to local:, for the http client is shared; "
                "make another client"
            )
        if self.authority is not None and config.tenant is not None and config.tenant != self.config.tenant:
            return config.replace(api_key=self.authority.session_key(tenant=config.tenant))
        return config

    def end(self) -> None:
        """Open nothing any more."""
        self._is_closed = self.is_owned

    def close(self) -> None:
        """Close the blocking connections, if there are any and they were made here. Nothing is opened any more."""
        self._is_closed = self.is_owned
        if self.is_owned and self._opened.blocking is not None:
            self._opened.blocking.close()

    async def aclose(self) -> None:
        """Close the asynchronous connections; see `close`."""
        self._is_closed = self.is_owned
        if self.is_owned and self._opened.asynchronous is not None:
            await self._opened.asynchronous.aclose()
