"""`Client` and `AsyncClient`: one connection pool, one configuration, and the reservations made with them.

The two are twins of about six lines a method, held together by tests/client/test_parity.py; what they do is in `_core`.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

import httpx

from cycles._background import exit_drain
from cycles._background.schedule import LoopHeartbeats, ThreadHeartbeats, in_trio
from cycles._client import arguments
from cycles._client.options import ReserveOptions
from cycles._client.paging import AsyncRows, Rows
from cycles._core import flows, requests, section_flows, settlements
from cycles._core.renewal import Heart
from cycles._drivers import aio, blocking
from cycles._drivers.connections import AsyncDirectClient, DirectClient
from cycles._drivers.world import World
from cycles._journal.recovery import Recoverer, drain
from cycles._journal.registry import journal_of
from cycles._telemetry import log
from cycles._telemetry.trace import Trace
from cycles.config import Config
from cycles.errors import ConfigError, InvalidRequest
from cycles.reservation import AsyncReservation, Reservation
from cycles_api.client import AuthenticatedClient

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import timedelta
    from types import TracebackType
    from typing import Self

    from cycles._background.schedule import Job
    from cycles._client.options import BalanceFilters, DecideOptions, RecordOptions, ReservationFilters
    from cycles._core.effects import Flow
    from cycles._core.queries import Decision
    from cycles._core.records import Settlement, SettlementDetails
    from cycles._core.section_flows import Section
    from cycles._journal.journal import Journal
    from cycles._journal.recovery import Drained
    from cycles.local.embedded import EmbeddedAuthority
    from cycles_api.models.amount import Amount
    from cycles_api.models.balance import Balance
    from cycles_api.models.reservation_detail import ReservationDetail
    from cycles_api.models.reservation_summary import ReservationSummary

C = TypeVar("C", bound="_Base")

LOCAL_ORIGIN: Final = "http://cycles.local"
"""What requests to an authority inside this process are addressed to; nothing resolves it."""

_MOST_IN_FLIGHT: Final = {"httpx": 20, "aiohttp": 100}
"""Requests that a client has in flight, by engine: as many as it keeps connections alive. For more httpx
opens others, to close them again, and looks through all connections and all that wait whenever a request ends: 500
reserves at once took 8 s that way (docs/performance.md)."""

_LATER: Final = 5.0
"""Seconds after which a settlement whose attempts are used up is tried again in the background."""

_SETTLING_IN: Final = 1.0
"""Seconds until a create whose fate is not known is looked for: it may still be on its way."""

DEFAULT_TENANT: Final = "default"
"""Whom `local:` spends for when no tenant is configured."""


_sibling_of: Final[ContextVar[Client | AsyncClient | None]] = ContextVar("cycles_sibling_of", default=None)
"""The client whose `with_options` is making another one."""


class _Teller:
    """Passes on what became of a spend, and has it tried again if it is pending.

    Worlds hold it, and the background holds worlds: it must not keep the client alive.
    """

    def __init__(
        self, on_settlement: Callable[[SettlementDetails], None] | None, retry_later: Callable[[], None] | None = None
    ) -> None:
        self._on_settlement: Final = on_settlement
        self._retry_later: Final = None if retry_later is None else weakref.WeakMethod(retry_later)

    def __call__(self, details: SettlementDetails) -> None:
        if self._on_settlement is not None:
            try:
                self._on_settlement(details)
            except Exception as error:  # noqa: BLE001 - it must not hide the section's own result
                log.notify("on_settlement failed", {"reason": repr(error)})
        retry_later = None if self._retry_later is None else self._retry_later()
        if retry_later is not None and details.outcome == "pending" and not details.recovered:
            retry_later()


class _Base:
    """What both clients share: the configuration, requests made from it, and the journal of what is not settled."""

    _recoverer: Recoverer | None = None
    _batch = 32
    """Records that recovery settles between two chances for heartbeats to be sent."""

    def __init__(
        self,
        config: Config | None,
        http_client: httpx.Client | httpx.AsyncClient | None,
        on_settlement: Callable[[SettlementDetails], None] | None,
    ) -> None:
        config = Config.from_env() if config is None else config
        self._authority: EmbeddedAuthority | None = None
        if config.is_local and http_client is None:
            self._authority, config = _local(config)
        self.config: Final = config
        self._owned: Final = http_client is None
        self._shares_config = self._owned
        self._is_pooled = self._owned and not config.is_local
        self.api: Final = AuthenticatedClient(
            base_url=LOCAL_ORIGIN if config.is_local else config.base_url,
            token=config.api_key or "",
            timeout=self._timeout(),
            client_factory=DirectClient,
            async_client_factory=self._async_client_factory(),
        )
        self._on_settlement: Final = on_settlement
        self._is_sibling: Final = _sibling_of.get() is not None
        self._is_closed = False
        self._too_short: Final[set[int]] = set()
        self._journal: Final[Journal | None] = journal_of(config, log.notify)
        self._world: Final = World(
            self.api,
            log.notify,
            journal=self._journal,
            tell=_Teller(on_settlement, self.retry_later),
            timeout=self._timeout(),
        )
        if self._journal is not None:
            if config.unavailable == "allow":
                self._journal.check()
            self._remember(http_client)
        if self._shares_config and not config.is_local:
            _forkable.add(self)

    def _async_client_factory(self) -> Callable[..., httpx.AsyncClient]:
        """Return what makes the httpx client of asynchronous requests."""
        return AsyncDirectClient

    def _remember(self, http_client: httpx.Client | httpx.AsyncClient | None) -> None:
        """Have the exit settle what is left, through *http_client* if that is still there, or a client of its own."""
        if self._journal is not None:
            given = None if http_client is None else weakref.ref(http_client)
            opener = partial(_world_at_exit, self.config, given, self._journal, self._on_settlement)
            exit_drain.remember(self._journal, self.config, opener)

    def _begin_recovery(self) -> None:
        """Have what was found in the journal settled in the background.

        One client made by `with_options` is enough for that: a program may make one for each request.
        """
        journal = self._journal
        if journal is not None and not (self._is_sibling and journal.was_visited) and journal.names():
            journal.was_visited = True
            self._recovering()

    @property
    def shares_config(self) -> bool:
        """Whether another client made of the same configuration reaches the same authority."""
        return self._shares_config

    def _timeout(self) -> httpx.Timeout:
        read = self.config.read_timeout
        # A busy pool is waited for as long as an answer, and not reported as a dead network.
        return httpx.Timeout(read, connect=self.config.connect_timeout, pool=None)

    def _keep(self, heartbeats: ThreadHeartbeats | LoopHeartbeats, section: Section, world: World) -> None:
        """Have the lease of *section* renewed until it ends."""
        if section.reservation_id is not None and not section.terms.dry_run:
            ordinary = self.config.connect_timeout + self.config.read_timeout
            heart = Heart(section, ordinary, self._on_lost())
            if heart.is_too_short and heart.ttl_ms not in self._too_short:
                self._too_short.add(heart.ttl_ms)  # once is enough: a program asks for the same few
                facts = {"reservation_id": section.reservation_id, "left": heart.left, "needed": heart.needed}
                log.notify("lease too short to be renewed safely, ask for a longer ttl", facts)
            heartbeats.keep(heart, world)

    def world(self, *, journal: Journal, on_settlement: Callable[[SettlementDetails], None] | None = None) -> World:
        """Return a world of this client's connections in which *journal* is settled: for the exit, and the CLI."""
        return World(self.api, log.notify, Trace(), journal=journal, tell=_Teller(on_settlement))

    # -- settling ------------------------------------------------------------------------------------------------------
    def retry_later(self) -> None:
        """Have what the journal holds tried again in a while; for this package's own use."""
        if self.config.retry_enabled:
            self._recovering(delay=min(self.config.retry_max_delay, _LATER))

    def _cut_off(self, asking_for: flows.Asking) -> None:
        """Have a hold looked for and given back that a reserve may have made which failed or was interrupted."""
        if asking_for.unanswered is not None:
            due = time.monotonic() + _SETTLING_IN
            self._plan(flows.GiveBack(self.config.retry, key=asking_for.unanswered, due=due))

    def give_back(self, section: Section) -> None:
        """Charge what a dropped *section* reported, else give its hold back; for this package's own use."""
        if section.provisional is not None:
            self._plan(settlements.Charge(section.provisional, due=time.monotonic()))
        else:
            held = section.reservation_id
            self._plan(flows.GiveBack(self.config.retry, reservation_id=held, due=time.monotonic()))

    def _plan(self, job: Job) -> None:
        """Have *job* done in the background, wherever this is called from."""
        if not self._is_closed:
            self._schedule(job)

    def _schedule(self, job: Job) -> None:
        """Have *job* done in the background."""
        raise NotImplementedError

    def _recovering(self, *, delay: float = 0.0) -> None:
        """Have what the journal holds settled in the background, unless it is being done already."""
        running = self._recoverer
        if running is not None and running.is_needed and running.pid == os.getpid():
            return
        if self._is_closed or self._journal is None:
            return
        self._recoverer = Recoverer(
            self._journal, self.config.retry, repeats=self.config.retry_enabled, delay=delay, batch=self._batch
        )
        self._schedule(self._recoverer)

    def _draining(self, timeout: float | timedelta) -> Flow[Drained]:
        seconds = requests.milliseconds("timeout", timeout, low=0.0, high=requests.MAX_TTL) / 1000
        patience = self.config.connect_timeout + self.config.read_timeout
        return drain(self._journal, self.config.retry, seconds, patience)

    def _beginning(
        self, estimate: Amount, options: ReserveOptions, asking_for: flows.Asking
    ) -> tuple[Flow[Section], bool]:
        """Return the flow that begins a section, and whether its commit raises when unsettled.

        Everything is checked here, before a flow exists.
        """
        if self._is_closed:
            raise InvalidRequest("this client is closed: reserve before close(), or make another client")
        key, rest = arguments.spend(self.config, "reserve", ReserveOptions, {"ttl": 60.0, **options})
        wait = requests.milliseconds("wait", rest.pop("wait", 0.0), low=0.0, high=requests.MAX_TTL) / 1000
        raise_on_unsettled = rest.pop("raise_on_unsettled", True)
        terms = requests.terms(estimate, **rest)
        unguarded = self.config.unavailable == "allow"
        flow = section_flows.begin(terms, self.config.retry, key=key, wait=wait, unguarded=unguarded, asking=asking_for)
        return flow, raise_on_unsettled

    def _on_lost(self) -> Callable[[], object] | None:
        """Return what is called when the lease of the section that begins now is lost, or None."""
        return None

    def _reconnect(self) -> None:
        """Leave the connections behind, without closing them: they belong to another process, or to a loop that ended.

        Two processes on one inherited socket would read each other's answers.
        """
        self.api._client = self.api._async_client = None  # noqa: SLF001 - what it makes lazily, it makes anew

    def _changed(self, changes: Mapping[str, Any]) -> Config:
        """Return this configuration with *changes* that the shared http client can carry."""
        config = self.config.replace(**changes)
        if config.base_url != self.config.base_url and (config.is_local or self.config.is_local):
            raise ConfigError(
                "with_options: base_url can't change from or to local:, for the http client is shared; "
                "make another client"
            )
        if self._authority is not None and config.tenant is not None and config.tenant != self.config.tenant:
            return config.replace(api_key=self._authority.session_key(tenant=config.tenant))
        return config

    def _related(self, other: C) -> C:
        """Return *other*, which has this client's connections, with its authority too."""
        other._is_pooled = self._is_pooled  # noqa: SLF001 - our own
        if self._shares_config:
            other._remember(None)  # noqa: SLF001 - our own
        other._authority, other._shares_config = self._authority, self._shares_config  # noqa: SLF001 - our own
        if self in _forkable:
            _forkable.add(other)
        return other

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.config.base_url} tenant {self.config.tenant!r}>"


@contextmanager
def _sibling(parent: Client | AsyncClient) -> Iterator[None]:
    """Make a client as one of *parent*'s, by `with_options`: it sends and keeps leases by what its parent has."""
    token = _sibling_of.set(parent)
    try:
        yield
    finally:
        _sibling_of.reset(token)


class _Lane:
    """How many requests a client and its siblings have in flight, in whichever event loop they are used."""

    def __init__(self, width: int) -> None:
        self._width: Final = width
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gate: AbstractAsyncContextManager[Any] | None = None

    def gate(self, loop: asyncio.AbstractEventLoop | None) -> AbstractAsyncContextManager[Any]:
        """Return what each request passes in *loop*."""
        if self._gate is None or loop is not self._loop:
            import anyio  # noqa: PLC0415 - costs import time, and httpx's async client has loaded it by now

            self._loop, self._gate = loop, anyio.Semaphore(self._width, fast_acquire=True)
        return self._gate


_forkable: Final[weakref.WeakSet[_Base]] = weakref.WeakSet()
"""Clients that made their connections themselves, and can make them again."""


_inherited: Final[list[object]] = []
"""Connections of the parent process, in its fork: kept, for some engines close them when they are collected, and that
would take them out of the epoll set that both processes share."""


def _in_child() -> None:
    for client in list(_forkable):
        _inherited.append(client.api._async_client)  # noqa: SLF001 - see _reconnect
        client._reconnect()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def _local(config: Config) -> tuple[EmbeddedAuthority, Config]:
    """Return the authority that a `local:` URL names, and the configuration to use it with."""
    from cycles.local.registry import authority_of  # noqa: PLC0415 - sqlite3 and the ledger load only when used

    config = config if config.tenant is not None else config.replace(tenant=DEFAULT_TENANT)
    assert config.tenant is not None  # noqa: S101 - types
    authority = authority_of(config.base_url, tenant=config.tenant)
    # A key configured for a real server means nothing here, and the process is its own authority.
    return authority, config.replace(api_key=authority.session_key(tenant=config.tenant))


class Client(_Base):
    """A client of an authority, for blocking code; safe to share between threads.

    Args:
        config: Where and for whom; `Config.from_env()` when None.
        http_client: An httpx.Client to send through (proxies, custom CAs, HTTP/2 are its options). It is not closed
            with this client, its own base URL is not used, and the key is sent only with requests made here.
        on_settlement: Called with what became of each spend, in whatever thread settled it; it must not block.

    Raises:
        ConfigError: when a setting is missing or wrong.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        http_client: httpx.Client | None = None,
        on_settlement: Callable[[SettlementDetails], None] | None = None,
    ) -> None:
        if http_client is not None and not isinstance(http_client, httpx.Client):
            raise ConfigError(f"http_client: a Client needs an httpx.Client, not {type(http_client).__name__}")
        super().__init__(config, http_client, on_settlement)
        if http_client is None and self._authority is not None:
            http_client = self._authority.http_client(timeout=self._timeout())
        if http_client is not None:
            self.api.set_httpx_client(http_client)
        parent = _sibling_of.get()
        shared = parent._heartbeats if isinstance(parent, Client) else None  # noqa: SLF001 - same class
        self._heartbeats: Final[ThreadHeartbeats] = shared or ThreadHeartbeats(blocks=http_client is not None)
        if parent is not None and not self._heartbeats.blocks:
            self.api.set_async_httpx_client(parent.api.get_async_httpx_client())
        if isinstance(parent, Client):
            self._world.lanes = parent._world.lanes  # noqa: SLF001 - same class
        else:
            self._open_lanes()
        if self._heartbeats.blocks:
            self._batch = 1  # while it is asked, no heartbeat can be sent
        self._begin_recovery()

    def _open_lanes(self) -> None:
        """Let no more threads send at a time than connections are kept alive.

        More would only wait for each other in turn, and for the interpreter's lock: 1,000 threads that reserved at once
        left the thread that renews their leases no time for it (benchmarks/open.py).
        """
        if self._is_pooled:
            self._world.lanes = threading.Semaphore(_MOST_IN_FLIGHT["httpx"])

    def _reconnect(self) -> None:
        super()._reconnect()
        self._open_lanes()  # those of the parent process may have been taken by its threads

    def _schedule(self, job: Job) -> None:
        self._heartbeats.keep(job, self._world)

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
        return self._reserve(estimate, options)

    def _reserve(self, estimate: Amount, options: ReserveOptions) -> Reservation:
        asking_for = flows.Asking()
        flow, raise_on_unsettled = self._beginning(estimate, options, asking_for)
        world = self._world.traced()
        try:
            section = blocking.run(flow, world)
        finally:
            self._cut_off(asking_for)
        self._keep(self._heartbeats, section, world)
        return Reservation(
            section,
            world,
            self.config.heartbeat,
            raise_on_unsettled=raise_on_unsettled,
            keeper=self,
        )

    def decide(self, estimate: Amount, **options: Unpack[DecideOptions]) -> Decision:
        """Ask whether *estimate* would be granted now; nothing is held, and a denial is a value (protocol.md §2).

        Args:
            estimate: The most that the work is expected to cost.
            **options: See `DecideOptions`; `action` is required.

        Raises:
            InvalidRequest: refused before sending; names the field.
            AuthorityError, AuthorityUnavailable: it could not be asked.
        """
        return blocking.run(arguments.deciding(self.config, estimate, options), self._world.traced())

    def record(self, actual: Amount, **options: Unpack[RecordOptions]) -> Settlement:
        """Charge *actual* for work that was done without a reservation, by an event (protocol.md §2).

        Sent again under one key until its answer is known or the retries are used up.

        Args:
            actual: What it really cost, 0 or more.
            **options: See `RecordOptions`; `action` is required.

        Returns:
            What was charged, which may be less than *actual* (protocol.md §7); its `via` is "event".

        Raises:
            InvalidRequest: refused before sending; names the field.
            Denied, AuthorityError: the authority refused; nothing was charged, unless it is InternalError or
                UnexpectedResponse.
            AuthorityUnavailable: no answer came. It may be charged: record it again under the same idempotency_key.
        """
        return blocking.run(arguments.recording(self.config, actual, options), self._world.traced())

    def balances(self, **filters: Unpack[BalanceFilters]) -> Iterator[Balance]:
        """Return an iterator over the budgets under a subject, on however many pages; by default the tenant's.

        Args:
            **filters: See `BalanceFilters`; at least one level, if no tenant is configured.

        Raises:
            InvalidRequest: refused before sending; names the field.
            AuthorityError, AuthorityUnavailable: raised while iterating; going on asks for that page again.
        """
        return Rows(arguments.balances(self.config, filters), self._world.traced(), self.config.retry)

    def reservations(self, **filters: Unpack[ReservationFilters]) -> Iterator[ReservationSummary]:
        """Return an iterator over the reservations that all filters admit, on however many pages; newest first.

        Args:
            **filters: See `ReservationFilters`; timedeltas count from this call.

        Raises:
            InvalidRequest: refused before sending; names the field.
            AuthorityError, AuthorityUnavailable: raised while iterating; going on asks for that page again.
        """
        return Rows(arguments.reservations(self.config, filters), self._world.traced(), self.config.retry)

    def reservation(self, reservation_id: str) -> ReservationDetail:
        """Return what the authority keeps about a reservation, committed and released ones included.

        Args:
            reservation_id: 1 to 128 characters.

        Raises:
            ReservationExpired: it has expired (410).
            NotFound, Forbidden: there is none, or it is another tenant's.
            AuthorityError, AuthorityUnavailable: it could not be asked.
        """
        return blocking.run(arguments.reading(self.config, reservation_id), self._world.traced())

    def with_options(self, **changes: Any) -> Self:
        """Return a client with other settings that sends through this one's connections.

        Args:
            **changes: Settings of `Config`, such as `tenant`, `api_key`, `read_timeout` or `retry_max_attempts`.

        Returns:
            A client that needs no closing; it works until this one is closed.

        Raises:
            ConfigError: a setting is unknown or wrong, or base_url would change from or to `local:`.
        """
        config, http_client = self._changed(changes), self.api.get_httpx_client()
        with _sibling(self):
            other = type(self)(config, http_client=http_client, on_settlement=self._on_settlement)
        return self._related(other)

    def drain(self, timeout: float | timedelta = 10.0) -> Drained:
        """Settle what the journal holds: this process's spend, and that of processes that died (protocol.md §9.6).

        Args:
            timeout: Seconds that it takes at most, 0 to 86400; what is left stays in the journal.

        Returns:
            How many records were settled and rejected, and how many are still pending.

        Raises:
            InvalidRequest: naming the field and what is allowed.
        """
        return blocking.run(self._draining(timeout), self._world)

    def close(self) -> None:
        """Stop the heartbeats, and close the connections unless they belong to an http_client that was given.

        What is not settled stays in the journal, for the next client, the program's exit or its next start.
        """
        self._is_closed = True
        if not self._is_sibling:
            self._heartbeats.close(self.api.__aexit__() if self._owned else None)
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


@contextmanager
def _world_at_exit(
    config: Config,
    http_client: weakref.ref[httpx.Client | httpx.AsyncClient] | None,
    journal: Journal,
    tell: Callable[[SettlementDetails], None] | None,
) -> Iterator[World | None]:
    """Open the world in which the program's exit settles what is left."""
    found = None if http_client is None else http_client()
    given = found if isinstance(found, httpx.Client) and not found.is_closed else None
    if given is None and http_client is not None and not config.is_local:
        yield None  # what was special about it, a proxy or a certificate, can't be had again
        return
    # A client without a journal begins no recovery of its own, which would need a thread.
    with Client(config.replace(journal_enabled=False, unavailable="deny"), http_client=given) as client:
        yield client.world(journal=journal, on_settlement=tell)


class AsyncClient(_Base):
    """A client of an authority, for asynchronous code (asyncio, or trio); safe to share between tasks.

    Args:
        config: Where and for whom; `Config.from_env()` when None.
        http_client: An httpx.AsyncClient to send through; see `Client`.
        on_settlement: Called with what became of each spend, in the loop; it must not block.

    Raises:
        ConfigError: when a setting is missing or wrong.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        http_client: httpx.AsyncClient | None = None,
        on_settlement: Callable[[SettlementDetails], None] | None = None,
    ) -> None:
        if http_client is not None and not isinstance(http_client, httpx.AsyncClient):
            raise ConfigError(
                f"http_client: an AsyncClient needs an httpx.AsyncClient, not {type(http_client).__name__}"
            )
        super().__init__(config, http_client, on_settlement)
        if http_client is None and self._authority is not None:
            http_client = self._authority.async_http_client(timeout=self._timeout())
        if http_client is not None:
            self.api.set_async_httpx_client(http_client)
        parent = _sibling_of.get()
        # A sibling renews and waits with those of its parent.
        shared = parent._heartbeats if isinstance(parent, AsyncClient) else None  # noqa: SLF001 - same class
        lane = parent._lane if isinstance(parent, AsyncClient) else None  # noqa: SLF001 - same class
        self._heartbeats: Final[LoopHeartbeats] = shared or LoopHeartbeats()
        self._lane: Final[_Lane] = lane or _Lane(_MOST_IN_FLIGHT[self.config.http_engine])
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_begun = False

    def _async_client_factory(self) -> Callable[..., httpx.AsyncClient]:
        if self.config.http_engine == "httpx" or not self._is_pooled:
            return AsyncDirectClient
        try:
            from cycles._drivers.aiohttp_engine import quick_client  # noqa: PLC0415 - needs the extra
        except ModuleNotFoundError as missing:
            raise ConfigError(
                f"http_engine='aiohttp' needs an extra ({missing.name} is not installed): "
                "pip install 'cycles-guard[fast]', or set it to httpx"
            ) from None
        return quick_client

    @property
    def _is_elsewhere(self) -> bool:
        """Whether its connections belong to an event loop that runs in another thread at this moment."""
        import asyncio  # noqa: PLC0415 - whoever calls this from a loop has loaded it

        if self._loop is None or not self._is_pooled or not self._loop.is_running():
            return False
        try:
            return asyncio.get_running_loop() is not self._loop
        except RuntimeError:
            return True

    def _reconnect(self) -> None:
        super()._reconnect()
        self._loop = None  # in a fork its copy would say for ever that it runs

    def _twin(self) -> AsyncClient:
        """Return another client of the same configuration, with connections of its own: for another event loop."""
        return AsyncClient(self.config, on_settlement=self._on_settlement)

    def _traced(self) -> World:
        """Return the world of one piece of work; connections of a loop that ended can't be used in the next one."""
        import asyncio  # noqa: PLC0415 - whoever calls this from a loop has loaded it

        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # trio, whose connections outlive a run; or no loop yet, for a list that is iterated later
            loop = None
            if not in_trio():
                return self._world.traced()
        if loop is not self._loop and loop is not None:
            if self._is_elsewhere:
                raise ConfigError(
                    "this AsyncClient is in use in the event loop of another thread, and its connections are that "
                    "loop's: make a client for each loop that runs at the same time"
                )
            if self._loop is not None and self in _forkable:
                self._reconnect()
            self._loop = loop
            self._has_begun = False
        if not self._has_begun:
            if self._is_pooled:
                self._world.gate = self._lane.gate(loop)
            self._has_begun, self._recoverer = True, None  # what was planned in a loop that ended has ended with it
            self._begin_recovery()
        return self._world.traced()

    def _plan(self, job: Job) -> None:
        """Have *job* done in the client's loop, from wherever this is: what is dropped is collected in any thread."""
        import asyncio  # noqa: PLC0415 - whoever calls this from a loop has loaded it

        try:
            running: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if self._loop is None or self._is_closed or self._loop.is_closed():
            return  # trio, or a loop that ended: the hold ends at its expiry
        if running is self._loop:
            self._schedule(job)
        else:
            self._loop.call_soon_threadsafe(self._schedule, job)

    def _schedule(self, job: Job) -> None:
        self._heartbeats.keep(job, self._world)

    def _on_lost(self) -> Callable[[], object] | None:
        import asyncio  # noqa: PLC0415 - whoever calls this from a loop has loaded it

        if self.config.heartbeat != "cancel":
            return None
        try:
            task = asyncio.current_task()
        except RuntimeError:  # trio has no way in from outside: the next call on the reservation says it
            return None
        return None if task is None else partial(task.cancel, "the lease of its cycles reservation is lost")

    async def reserve(self, estimate: Amount, **options: Unpack[ReserveOptions]) -> AsyncReservation:
        """Hold *estimate* and return the reservation; see `Client.reserve`."""
        asking_for = flows.Asking()
        flow, raise_on_unsettled = self._beginning(estimate, options, asking_for)
        world = self._traced()
        try:
            section = await aio.run(flow, world)
        finally:
            self._cut_off(asking_for)
        self._keep(self._heartbeats, section, world)
        return AsyncReservation(
            section,
            world,
            self.config.heartbeat,
            raise_on_unsettled=raise_on_unsettled,
            keeper=self,
        )

    async def decide(self, estimate: Amount, **options: Unpack[DecideOptions]) -> Decision:
        """Ask whether *estimate* would be granted now; see `Client.decide`."""
        return await aio.run(arguments.deciding(self.config, estimate, options), self._traced())

    async def record(self, actual: Amount, **options: Unpack[RecordOptions]) -> Settlement:
        """Charge *actual* for work that was done without a reservation; see `Client.record`."""
        return await aio.run(arguments.recording(self.config, actual, options), self._traced())

    def balances(self, **filters: Unpack[BalanceFilters]) -> AsyncIterator[Balance]:
        """Return an asynchronous iterator over the budgets under a subject; see `Client.balances`."""
        return AsyncRows(arguments.balances(self.config, filters), self._traced(), self.config.retry)

    def reservations(self, **filters: Unpack[ReservationFilters]) -> AsyncIterator[ReservationSummary]:
        """Return an asynchronous iterator over the reservations that all filters admit; see `Client.reservations`."""
        return AsyncRows(arguments.reservations(self.config, filters), self._traced(), self.config.retry)

    async def reservation(self, reservation_id: str) -> ReservationDetail:
        """Return what the authority keeps about a reservation; see `Client.reservation`."""
        return await aio.run(arguments.reading(self.config, reservation_id), self._traced())

    def with_options(self, **changes: Any) -> Self:
        """Return a client with other settings that sends through this one's connections; see `Client.with_options`."""
        config, http_client = self._changed(changes), self.api.get_async_httpx_client()
        with _sibling(self):
            other = type(self)(config, http_client=http_client, on_settlement=self._on_settlement)
        return self._related(other)

    async def drain(self, timeout: float | timedelta = 10.0) -> Drained:  # noqa: ASYNC109 - the twin of Client.drain
        """Settle what the journal holds; see `Client.drain`."""
        return await aio.run(self._draining(timeout), self._traced())

    async def close(self) -> None:
        """Stop the heartbeats, and close the connections unless they belong to an http_client that was given.

        What is not settled stays in the journal; see `Client.close`.
        """
        self._is_closed = True
        if not self._is_sibling:
            self._heartbeats.close()
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
