"""`Client` and `AsyncClient`: one connection pool, one configuration, and the reservations made with them.

The two are twins of about six lines a method, held together by tests/client/test_parity.py; what they do is in `_core`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Required, TypeAlias, TypedDict, Unpack

import httpx
from cycles_api.client import AuthenticatedClient
from cycles_api.types import UNSET, Unset

from cycles import telemetry
from cycles._core import guarding, requests
from cycles._core.requests import LEVELS
from cycles._drivers import aio, blocking
from cycles._drivers.world import World
from cycles.config import Config
from cycles.errors import ConfigError
from cycles.reservation import AsyncReservation, Reservation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta
    from types import TracebackType
    from typing import Self

    from cycles_api.models.action import Action
    from cycles_api.models.amount import Amount
    from cycles_api.models.commit_overage_policy import CommitOveragePolicy

    from cycles._core.effects import Flow
    from cycles._core.guarding import Section
    from cycles.local import LocalAuthority

Level: TypeAlias = "str | Unset | None"
"""A level of the subject: UNSET takes the configured one, None leaves it out."""


class ReserveOptions(TypedDict, total=False):
    """What a reservation is asked for, beside the estimate. All but `action` may be left out."""

    action: Required[Action | tuple[str, str]]
    """(kind, name), such as ("llm.completion", "gpt-4o"): at most 64 and 256 characters."""
    tenant: Level
    """Whom to spend for, as are the next five; a text, or None to leave the configured level out."""
    workspace: Level
    app: Level
    workflow: Level
    agent: Level
    toolset: Level
    dimensions: Mapping[str, str] | None
    """At most 16 further labels; they choose no budget."""
    ttl: float | timedelta | None
    """Seconds that the lease lasts, 1 to 86400 (default 60); None for the authority's default."""
    grace_period: float | timedelta | None
    """Seconds after the lease in which a commit is still taken, 0 to 60; None for the authority's default."""
    overage_policy: CommitOveragePolicy | str | None
    """What a commit above the estimate does (protocol.md §7); None for the authority's default."""
    metadata: Mapping[str, Any] | None
    """JSON values to keep with the reservation."""
    tags: Sequence[str] | None
    """At most 10 labels of the action, of at most 64 characters."""
    idempotency_key: str | None
    """1 to 256 characters; a fresh one when None."""
    dry_run: bool
    """Only evaluate: nothing is held."""
    wait: float | timedelta
    """Seconds to keep asking while denied or throttled; 0 (default) asks once."""
    raise_on_unsettled: bool
    """Whether the end raises when a charge could not be confirmed (default: True by hand, False in a Guard)."""


LOCAL_ORIGIN: Final = "http://cycles.local"
"""What requests to an authority inside this process are addressed to; nothing resolves it."""

DEFAULT_TENANT: Final = "default"
"""Whom `local:` spends for when no tenant is configured."""


class _Base:
    """What both clients share: the configuration, and requests made from it."""

    def __init__(self, config: Config | None, http_client: httpx.Client | httpx.AsyncClient | None) -> None:
        config = Config.from_env() if config is None else config
        self._authority: LocalAuthority | None = None
        if config.is_local and http_client is None:
            self._authority, config = _local(config)
        self.config: Final = config
        self._owned: Final = http_client is None
        self.api: Final = AuthenticatedClient(
            base_url=LOCAL_ORIGIN if config.is_local else config.base_url,
            token=config.api_key or "",
            timeout=self._timeout(),
        )
        self._world: Final = World(self.api, telemetry.notify)

    @property
    def shares_config(self) -> bool:
        """Whether another client made of the same configuration reaches the same authority."""
        return self._owned

    def _timeout(self) -> httpx.Timeout:
        read = self.config.read_timeout
        # A busy pool is waited for as long as an answer, and not reported as a dead network.
        return httpx.Timeout(read, connect=self.config.connect_timeout, pool=None)

    def _beginning(self, estimate: Amount, options: ReserveOptions) -> tuple[Flow[Section], bool]:
        """Return the flow that begins a section, and whether its commit raises when unsettled.

        Everything is checked here, before a flow exists.
        """
        unknown = sorted(set(options) - ReserveOptions.__annotations__.keys())
        if unknown:
            raise TypeError(f"reserve() got an unexpected keyword argument {unknown[0]!r}")
        rest: dict[str, Any] = {"ttl": 60.0, **options}
        key = rest.pop("idempotency_key", None)
        wait = requests.milliseconds("wait", rest.pop("wait", 0.0), low=0.0, high=requests.MAX_TTL) / 1000
        raise_on_unsettled = rest.pop("raise_on_unsettled", True)
        given = {level: rest.pop(level, UNSET) for level in LEVELS}
        levels = {
            level: getattr(self.config, level) if isinstance(value, Unset) else value for level, value in given.items()
        }
        if "action" not in rest:
            raise TypeError("reserve() needs action=(kind, name)")
        terms = requests.terms(estimate, levels=levels, **rest)
        key = None if key is None else requests.text("idempotency_key", key, most=256)
        return guarding.begin(terms, self.config.retry, key=key, wait=wait), raise_on_unsettled

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.config.base_url} tenant {self.config.tenant!r}>"


def _local(config: Config) -> tuple[LocalAuthority, Config]:
    """Return the authority that a `local:` URL names, and the configuration to use it with."""
    from cycles.local import LocalAuthority  # noqa: PLC0415 - sqlite3 and the ledger load only when used

    config = config if config.tenant is not None else config.replace(tenant=DEFAULT_TENANT)
    assert config.tenant is not None  # noqa: S101 - types
    authority = LocalAuthority.from_url(config.base_url, tenant=config.tenant)
    # A key configured for a real server means nothing here, and the process is its own authority.
    return authority, config.replace(api_key=authority.key(tenant=config.tenant))


class Client(_Base):
    """A client of an authority, for blocking code; safe to share between threads.

    Args:
        config: Where and for whom; `Config.from_env()` when None.
        http_client: An httpx.Client to send through (proxies, custom CAs, HTTP/2 are its options). It is not closed
            with this client, its own base URL is not used, and the key is sent only with requests made here.

    Raises:
        ConfigError: when a setting is missing or wrong.
    """

    def __init__(self, config: Config | None = None, *, http_client: httpx.Client | None = None) -> None:
        if http_client is not None and not isinstance(http_client, httpx.Client):
            raise ConfigError(f"http_client: a Client needs an httpx.Client, not {type(http_client).__name__}")
        super().__init__(config, http_client)
        if http_client is None and self._authority is not None:
            http_client = httpx.Client(transport=self._authority.transport(), timeout=self._timeout())
        if http_client is not None:
            self.api.set_httpx_client(http_client)

    def reserve(self, estimate: Amount, **options: Unpack[ReserveOptions]) -> Reservation:
        """Hold *estimate* and return the reservation; it is yours to commit or release.

        Args:
            estimate: The most that the work is expected to cost.
            **options: See `ReserveOptions`; `action` is required.

        Raises:
            InvalidRequest: refused before sending; names the field.
            Denied: the authority said no.
            AuthorityError, AuthorityUnavailable: it could not be asked.
        """
        flow, raise_on_unsettled = self._beginning(estimate, options)
        world = self._world.traced()
        section = blocking.run(flow, world)
        return Reservation(section, world, raise_on_unsettled=raise_on_unsettled)

    def close(self) -> None:
        """Close the connections, unless they belong to an http_client that was given."""
        if self._owned:
            self.api.get_httpx_client().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient(_Base):
    """A client of an authority, for asynchronous code (asyncio, or trio); safe to share between tasks.

    Args:
        config: Where and for whom; `Config.from_env()` when None.
        http_client: An httpx.AsyncClient to send through; see `Client`.

    Raises:
        ConfigError: when a setting is missing or wrong.
    """

    def __init__(self, config: Config | None = None, *, http_client: httpx.AsyncClient | None = None) -> None:
        if http_client is not None and not isinstance(http_client, httpx.AsyncClient):
            raise ConfigError(
                f"http_client: an AsyncClient needs an httpx.AsyncClient, not {type(http_client).__name__}"
            )
        super().__init__(config, http_client)
        if http_client is None and self._authority is not None:
            http_client = httpx.AsyncClient(transport=self._authority.async_transport(), timeout=self._timeout())
        if http_client is not None:
            self.api.set_async_httpx_client(http_client)

    async def reserve(self, estimate: Amount, **options: Unpack[ReserveOptions]) -> AsyncReservation:
        """Hold *estimate* and return the reservation; see `Client.reserve`."""
        flow, raise_on_unsettled = self._beginning(estimate, options)
        world = self._world.traced()
        section = await aio.run(flow, world)
        return AsyncReservation(section, world, raise_on_unsettled=raise_on_unsettled)

    async def close(self) -> None:
        """Close the connections, unless they belong to an http_client that was given."""
        if self._owned:
            await self.api.get_async_httpx_client().aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
