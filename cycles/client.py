"""`Client` and `AsyncClient`: one connection pool, one configuration, and the reservations made with them.

The two are twins of about six lines a method, held together by tests/client/test_parity.py. What each has is its
runtime (`_client.blocking_runtime`, `_client.async_runtime`); what they decide is in `_core`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Unpack

from cycles._client import arguments
from cycles._client.async_runtime import AsyncRuntime
from cycles._client.blocking_runtime import BlockingRuntime
from cycles._client.defaults import Defaults
from cycles._client.faces import Face, calm
from cycles._client.paging import AsyncRows, Rows
from cycles._client.raising import raised_here
from cycles._client.siblings import siblings_of
from cycles._drivers import aio, blocking
from cycles._drivers.libraries import is_asynchronous, is_blocking
from cycles.errors import ConfigError
from cycles.reservation import AsyncReservation, Reservation

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from types import TracebackType
    from typing import Self

    from cycles._client.evidence_desk import Asked
    from cycles._client.options import BalanceFilters, DecideOptions, RecordOptions, ReservationFilters, ReserveOptions
    from cycles._core.results import Decision, Settlement, SettlementDetails
    from cycles._journal.recovery import Drained
    from cycles.config import Config
    from cycles.evidence import Keys, Verification
    from cycles_api.http import AsyncHttpClient, HttpClient
    from cycles_api.models.amount import Amount
    from cycles_api.models.balance import Balance
    from cycles_api.models.reservation_detail import ReservationDetail
    from cycles_api.models.reservation_summary import ReservationSummary


class Client(Face[BlockingRuntime]):
    """A client of an authority, for blocking code; safe to share between threads.

    Args:
        config: The settings; `Config.from_env()` when None.
        http_client: An httpx.Client or httpx2.Client to send through (proxies, custom CAs, HTTP/2 are its options). It
            is not closed with this client, its own base URL is not used, and the key is sent only with requests made
            here. An answer has at most 4 MiB, decoded.
        on_settlement: Called with the outcome of each settlement, in whichever thread made it; it must not block.

    Raises:
        ConfigError: when a setting is missing or wrong.

    Example:
        ```python
        import cycles
        from cycles import usd

        with cycles.Client() as client:
            reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))
            reservation.commit(usd("0.02"))
        ```
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        http_client: HttpClient | None = None,
        on_settlement: Callable[[SettlementDetails], None] | None = None,
    ) -> None:
        if http_client is not None and not is_blocking(http_client):
            raise ConfigError(
                f"http_client: a Client needs a Client of httpx or httpx2, not {type(http_client).__name__}"
            )
        super().__init__(BlockingRuntime(config, http_client, on_settlement))

    def reserve(self, estimate: Amount, **options: Unpack[ReserveOptions]) -> Reservation:
        """Hold *estimate* and return the reservation; it is yours to commit or release.

        Args:
            estimate: The most that the work is expected to cost.

        Keyword Args:
            action: (kind, name), such as ("llm.completion", "gpt-4o"), or an `Action`. Required.
            tenant, workspace, app, workflow, agent, toolset: Who spends. A level that is not given comes from the
                innermost `cycles.subject`, else from the configuration; None leaves it out.
            dimensions: At most 16 further labels; they choose no budget.
            metadata: JSON values to keep with it.
            tags: At most 10 labels of the action.
            policy_keys: Where the action goes (`PolicyKeys`), for authorities whose policies look at that.
            idempotency_key: 1 to 256 characters; a fresh one when None.
            ttl: Seconds that the lease lasts, 1 to 86400 (default 60).
            grace_period: Seconds after its end in which a commit is still accepted, 0 to 60.
            overage_policy: What happens to a commit above the estimate (docs/protocol.md, Overage policies).
            dry_run: Only evaluate: nothing is held.
            observe: Only evaluate, and go on whatever the answer is.
            wait: Seconds to keep asking while denied or throttled; 0 (default) asks once.
            raise_on_unsettled: Whether the end raises when a charge could not be confirmed (default True).
            own: Whether to reserve at the authority even inside a `Limit` that covers it.

        Raises:
            InvalidRequest: refused before sending; names the field.
            Denied: the authority said no.
            AuthorityError, AuthorityUnavailable: it could not be asked.

        Example:
            ```python
            import cycles
            from cycles import usd

            with cycles.Client() as client:
                reservation = client.reserve(usd("0.05"), action=("tool.search", "web"), ttl=30)
                reservation.commit(usd("0.02"))
            ```
        """
        with raised_here:
            asked = arguments.checked(self._runtime.access, estimate, options)
            return self._runtime.reserve(asked, Reservation)[1]

    def decide(self, estimate: Amount, **options: Unpack[DecideOptions]) -> Decision:
        """Ask whether *estimate* would be granted now; nothing is held, and a denial is a value.

        Args:
            estimate: The most that the work is expected to cost.

        Keyword Args:
            action: (kind, name), such as ("llm.completion", "gpt-4o"), or an `Action`. Required.
            tenant, workspace, app, workflow, agent, toolset: Who spends. A level that is not given comes from the
                innermost `cycles.subject`, else from the configuration; None leaves it out.
            dimensions: At most 16 further labels; they choose no budget.
            metadata: JSON values to keep with it.
            tags: At most 10 labels of the action.
            policy_keys: Where the action goes (`PolicyKeys`), for authorities whose policies look at that.
            idempotency_key: 1 to 256 characters; a fresh one when None.

        Raises:
            InvalidRequest: refused before sending; names the field.
            AuthorityError, AuthorityUnavailable: it could not be asked.

        Example:
            ```python
            import cycles
            from cycles import usd

            with cycles.Client() as client:
                decision = client.decide(usd("0.05"), action=("tool.search", "web"))
                print(decision.allowed, decision.reason_code)
            ```
        """
        with raised_here:
            return blocking.run(arguments.deciding(self._runtime.access, estimate, options), self._runtime.traced())

    def record(self, actual: Amount, **options: Unpack[RecordOptions]) -> Settlement:
        """Charge *actual* for work that was done without a reservation, by an event.

        It is sent again, under the same key, until an answer comes or the retries are used up.

        Args:
            actual: What it really cost, 0 or more.

        Keyword Args:
            action: (kind, name), such as ("llm.completion", "gpt-4o"), or an `Action`. Required.
            tenant, workspace, app, workflow, agent, toolset: Who spends. A level that is not given comes from the
                innermost `cycles.subject`, else from the configuration; None leaves it out.
            dimensions: At most 16 further labels; they choose no budget.
            metadata: JSON values to keep with it.
            tags: At most 10 labels of the action.
            policy_keys: Where the action goes (`PolicyKeys`), for authorities whose policies look at that.
            idempotency_key: 1 to 256 characters; a fresh one when None.
            overage_policy: What happens when too little is left (docs/protocol.md, Overage policies).
            metrics: Usage figures to keep with it.

        Returns:
            What was charged, which may be less than *actual* (docs/protocol.md, Overage policies); its `via` is
                "event".

        Raises:
            InvalidRequest: refused before sending; names the field.
            Denied, AuthorityError: the authority refused; nothing was charged, unless it is InternalError or
                UnexpectedResponse.
            AuthorityUnavailable: no answer came. It may be charged: record it again under the same idempotency_key.

        Example:
            ```python
            import cycles
            from cycles import usd

            with cycles.Client() as client:
                settlement = client.record(usd("0.02"), action=("tool.search", "web"), idempotency_key="s-17")
                print(settlement.charged)
            ```
        """
        with raised_here:
            return blocking.run(arguments.recording(self._runtime.access, actual, options), self._runtime.traced())

    def balances(self, **filters: Unpack[BalanceFilters]) -> Rows[Balance]:
        """Return an iterator over the budgets under a subject, by default the tenant's; it fetches page after page.

        Keyword Args:
            tenant, workspace, app, workflow, agent, toolset: Whose budgets; at least one, if no tenant is configured.
            include_children: Also the budgets below the ones that match.
            page_size: Rows asked for at a time, 1 to 200.

        Raises:
            InvalidRequest: refused before sending; names the field.
            AuthorityError, AuthorityUnavailable: raised while iterating; iterating on asks for that page again.

        Example:
            ```python
            import cycles

            with cycles.Client() as client:
                for row in client.balances(include_children=True):
                    print(row.scope_path, row.remaining)
            ```
        """
        return Rows(arguments.balances(self.config, filters), self._runtime.traced(), self.config.retry)

    def reservations(self, **filters: Unpack[ReservationFilters]) -> Rows[ReservationSummary]:
        """Return an iterator over the reservations that match all filters, newest first; it fetches page after page.

        Keyword Args:
            tenant, workspace, app, workflow, agent, toolset: Whose reservations.
            status: ACTIVE, COMMITTED, RELEASED or EXPIRED.
            idempotency_key: Only the one that was made with this key.
            created, expires, finalized: (from, to), each a datetime, a timedelta, a text, or None for an open end.
            sort_by, sort_dir: A field, such as "reserved"; "asc" or "desc".
            include: Parts to add to each row: "metadata", "committed_metadata", "evidence".
            page_size: Rows asked for at a time, 1 to 200.

        Raises:
            InvalidRequest: refused before sending; names the field.
            AuthorityError, AuthorityUnavailable: raised while iterating; iterating on asks for that page again.

        Example:
            ```python
            import cycles

            with cycles.Client() as client:
                for row in client.reservations(status="ACTIVE", sort_by="reserved"):
                    print(row.reservation_id, row.reserved)
            ```
        """
        return Rows(arguments.reservations(self.config, filters), self._runtime.traced(), self.config.retry)

    def reservation(self, reservation_id: str) -> ReservationDetail:
        """Return what the authority keeps about a reservation, committed and released ones included.

        Args:
            reservation_id: 1 to 128 characters.

        Raises:
            ReservationExpired: it has expired (410).
            NotFound, Forbidden: there is none, or it is another tenant's.
            AuthorityError, AuthorityUnavailable: it could not be asked.

        Example:
            ```python
            import cycles
            from cycles import usd

            with cycles.Client() as client:
                held = client.reserve(usd("0.05"), action=("tool.search", "web"))
                detail = client.reservation(held.id or "")
                print(detail.status, detail.reserved)
                held.release()
            ```
        """
        return blocking.run(arguments.reading(self.config, reservation_id), self._runtime.traced())

    def evidence(self, of: Asked, keys: Keys | None = None, *, server_id: str | None = None) -> Verification:
        """Fetch the signed record of an answer and verify it (docs/evidence.md); it needs the extra `evidence`.

        Args:
            of: A reference, such as `reservation.evidence` or `error.evidence`; an id; or an envelope, decoded or as
                bytes, which is not fetched. One that is too fresh to be there yet is asked for again for a moment.
            keys: The server's keys: a `cycles.evidence.KeySet`, a pinned key, the path of a file, or the URL of a key
                set; None for the key set that the client's authority publishes. What is fetched is fetched once.
            server_id: The server that must have signed it; None: any whose keys these are.

        Returns:
            One of five outcomes, and why; true when it is authentic.

        Raises:
            NotFound: there is no such evidence.
            InvalidRequest, ConfigError: naming what is wrong with an argument, or the missing extra.
            AuthorityError, AuthorityUnavailable: the evidence could not be fetched.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority(signing_key=bytes(32)) as authority:
                authority.budget("tenant:acme", usd("1.00"))
                with authority.client(tenant="acme") as client:
                    reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))
                    assert reservation.evidence is not None
                    verification = client.evidence(reservation.evidence)
                    print(verification.outcome)
                    reservation.release()
            ```
        """
        flow = self._runtime.evidence.verifying(of, keys, server_id)
        return blocking.run(flow, self._runtime.traced())

    def with_options(self, **changes: Any) -> Self:
        """Return a client with other settings that sends through this one's connections.

        Args:
            **changes: Settings of `Config`, such as `tenant`, `api_key`, `read_timeout` or `retry_max_attempts`.

        Returns:
            A client that needs no closing; it works until this one is closed.

        Raises:
            ConfigError: a setting is unknown or wrong, or base_url would change from or to `local:`.

        Example:
            ```python
            import cycles

            with cycles.Client() as client:
                patient = client.with_options(read_timeout=30.0, retry_max_attempts=8)
                print(list(patient.balances()))
            ```
        """
        config, http_client = self._runtime.access.changed(changes), self.api.get_httpx_client()
        with siblings_of(self._runtime):
            return type(self)(config, http_client=http_client, on_settlement=self._runtime.on_settlement)

    def drain(self, timeout: float | timedelta = 10.0, *, now: bool = False) -> Drained:
        """Settle what the journal holds: the spend of this process, and of processes that died. And what memory holds.

        See docs/protocol.md, Settlement and recovery.

        Args:
            timeout: Seconds that it takes at most, 0 to 86400; what is left stays in the journal.
            now: Also try, once, what the authority asked to delay (by a Retry-After, which counts for an hour at most).

        Returns:
            How many charges were settled and rejected, and how many are still pending.

        Raises:
            InvalidRequest: naming the field and what is allowed.
            JournalError: the journal's directory belongs to, or may be written to by, somebody else.

        Example:
            ```python
            import cycles

            with cycles.Client() as client:
                drained = client.drain(timeout=5)
                print(drained.settled, drained.pending, drained.error)
            ```
        """
        flow = arguments.draining(self.config, self._runtime.upkeep, timeout, now=now)
        self._runtime.access.open()
        return blocking.run(flow, self._runtime.world)

    def close(self) -> None:
        """Stop the heartbeats, and close the connections unless they belong to an http_client that was given.

        Unsettled spend stays in the journal, for the next client, the program's exit or its next start.

        Example:
            ```python
            import cycles
            from cycles import usd

            client = cycles.Client()
            client.record(usd("0.02"), action=("tool.search", "web"))
            client.close()  # a with-block does it by itself
            ```
        """
        self._runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with calm(error):
            self.close()


class AsyncClient(Face[AsyncRuntime]):
    """A client of an authority, for asynchronous code (asyncio, or trio); safe to share between tasks.

    Args:
        config: The settings; `Config.from_env()` when None.
        http_client: An httpx.AsyncClient or httpx2.AsyncClient to send through; see `Client`.
        on_settlement: Called with the outcome of each settlement, in the event loop; it must not block.

    Raises:
        ConfigError: when a setting is missing or wrong.

    Example:
        ```python
        import asyncio

        import cycles
        from cycles import usd


        async def main() -> None:
            async with cycles.AsyncClient() as client:
                reservation = await client.reserve(usd("0.05"), action=("tool.search", "web"))
                await reservation.commit(usd("0.02"))


        asyncio.run(main())
        ```
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        http_client: AsyncHttpClient | None = None,
        on_settlement: Callable[[SettlementDetails], None] | None = None,
    ) -> None:
        if http_client is not None and not is_asynchronous(http_client):
            raise ConfigError(
                f"http_client: an AsyncClient needs an AsyncClient of httpx or httpx2, not {type(http_client).__name__}"
            )
        super().__init__(AsyncRuntime(config, http_client, on_settlement))

    async def reserve(self, estimate: Amount, **options: Unpack[ReserveOptions]) -> AsyncReservation:
        """Hold *estimate* and return the reservation; see `Client.reserve`.

        Example:
            ```python
            import asyncio

            import cycles
            from cycles import usd


            async def main() -> None:
                async with cycles.AsyncClient() as client:
                    reservation = await client.reserve(usd("0.05"), action=("tool.search", "web"), ttl=30)
                    await reservation.commit(usd("0.02"))


            asyncio.run(main())
            ```
        """
        with raised_here:
            asked = arguments.checked(self._runtime.access, estimate, options)
            return (await self._runtime.reserve(asked, AsyncReservation))[1]

    async def decide(self, estimate: Amount, **options: Unpack[DecideOptions]) -> Decision:
        """Ask whether *estimate* would be granted now; see `Client.decide`.

        Example:
            ```python
            import asyncio

            import cycles
            from cycles import usd


            async def main() -> None:
                async with cycles.AsyncClient() as client:
                    decision = await client.decide(usd("0.05"), action=("tool.search", "web"))
                    print(decision.allowed, decision.reason_code)


            asyncio.run(main())
            ```
        """
        with raised_here:
            return await aio.run(arguments.deciding(self._runtime.access, estimate, options), self._runtime.traced())

    async def record(self, actual: Amount, **options: Unpack[RecordOptions]) -> Settlement:
        """Charge *actual* for work that was done without a reservation; see `Client.record`.

        Example:
            ```python
            import asyncio

            import cycles
            from cycles import usd


            async def main() -> None:
                async with cycles.AsyncClient() as client:
                    settlement = await client.record(usd("0.02"), action=("tool.search", "web"), idempotency_key="s-17")
                    print(settlement.charged)


            asyncio.run(main())
            ```
        """
        with raised_here:
            return await aio.run(arguments.recording(self._runtime.access, actual, options), self._runtime.traced())

    def balances(self, **filters: Unpack[BalanceFilters]) -> AsyncRows[Balance]:
        """Return an asynchronous iterator over the budgets under a subject; see `Client.balances`.

        Example:
            ```python
            import asyncio

            import cycles


            async def main() -> None:
                async with cycles.AsyncClient() as client:
                    async for row in client.balances(include_children=True):
                        print(row.scope_path, row.remaining)


            asyncio.run(main())
            ```
        """
        return AsyncRows(arguments.balances(self.config, filters), self._runtime.traced(), self.config.retry)

    def reservations(self, **filters: Unpack[ReservationFilters]) -> AsyncRows[ReservationSummary]:
        """Return an asynchronous iterator over the reservations that all filters admit; see `Client.reservations`.

        Example:
            ```python
            import asyncio

            import cycles


            async def main() -> None:
                async with cycles.AsyncClient() as client:
                    async for row in client.reservations(status="ACTIVE", sort_by="reserved"):
                        print(row.reservation_id, row.reserved)


            asyncio.run(main())
            ```
        """
        return AsyncRows(arguments.reservations(self.config, filters), self._runtime.traced(), self.config.retry)

    async def reservation(self, reservation_id: str) -> ReservationDetail:
        """Return what the authority keeps about a reservation; see `Client.reservation`.

        Example:
            ```python
            import asyncio

            import cycles
            from cycles import usd


            async def main() -> None:
                async with cycles.AsyncClient() as client:
                    held = await client.reserve(usd("0.05"), action=("tool.search", "web"))
                    detail = await client.reservation(held.id or "")
                    print(detail.status, detail.reserved)
                    await held.release()


            asyncio.run(main())
            ```
        """
        return await aio.run(arguments.reading(self.config, reservation_id), self._runtime.traced())

    async def evidence(self, of: Asked, keys: Keys | None = None, *, server_id: str | None = None) -> Verification:
        """Fetch the signed record of an answer and verify it; see `Client.evidence`.

        Example:
            ```python
            import asyncio

            from cycles import usd
            from cycles.local import LocalAuthority


            async def main() -> None:
                with LocalAuthority(signing_key=bytes(32)) as authority:
                    authority.budget("tenant:acme", usd("1.00"))
                    async with authority.async_client(tenant="acme") as client:
                        reservation = await client.reserve(usd("0.05"), action=("tool.search", "web"))
                        assert reservation.evidence is not None
                        verification = await client.evidence(reservation.evidence)
                        print(verification.outcome)
                        await reservation.release()


            asyncio.run(main())
            ```
        """
        flow = self._runtime.evidence.verifying(of, keys, server_id)
        return await aio.run(flow, self._runtime.traced())

    def with_options(self, **changes: Any) -> Self:
        """Return a client with other settings that sends through this one's connections; see `Client.with_options`.

        Example:
            ```python
            import asyncio

            import cycles


            async def main() -> None:
                async with cycles.AsyncClient() as client:
                    patient = client.with_options(read_timeout=30.0, retry_max_attempts=8)
                    print(await patient.balances())


            asyncio.run(main())
            ```
        """
        config, http_client = self._runtime.access.changed(changes), self.api.get_async_httpx_client()
        with siblings_of(self._runtime):
            return type(self)(config, http_client=http_client, on_settlement=self._runtime.on_settlement)

    async def drain(  # the twin of Client.drain
        self,
        timeout: float | timedelta = 10.0,  # noqa: ASYNC109
        *,
        now: bool = False,
    ) -> Drained:
        """Settle what the journal holds; see `Client.drain`.

        Example:
            ```python
            import asyncio

            import cycles


            async def main() -> None:
                async with cycles.AsyncClient() as client:
                    drained = await client.drain(timeout=5)
                    print(drained.settled, drained.pending, drained.error)


            asyncio.run(main())
            ```
        """
        flow = arguments.draining(self.config, self._runtime.upkeep, timeout, now=now)
        return await aio.run(flow, self._runtime.traced())

    async def close(self) -> None:
        """Stop the heartbeats, and close the connections unless they belong to an http_client that was given.

        Unsettled spend stays in the journal; see `Client.close`.

        Example:
            ```python
            import asyncio

            import cycles
            from cycles import usd


            async def main() -> None:
                client = cycles.AsyncClient()
                await client.record(usd("0.02"), action=("tool.search", "web"))
                await client.close()  # an async with-block does this


            asyncio.run(main())
            ```
        """
        await self._runtime.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with calm(error):
            await self.close()


DEFAULTS: Final = Defaults(Client, AsyncClient)
"""The clients of guards that were given none: for this package's own use."""


def configure(source: Client | AsyncClient | Config | None) -> None:
    """Set the default that `Guard` uses.

    Args:
        source: A client (a guard of the other kind gets a twin with the same configuration), a configuration, or None
            for `Config.from_env()` when first needed, which is also the state at the start.

    Raises:
        ConfigError: when it is something else.

    Example:
        ```python
        import cycles

        cycles.configure(cycles.Config("local:?usd=1.00", tenant="default"))
        ```
    """
    DEFAULTS.configure(source)


def close() -> None:
    """Close the default clients of guards: stop their heartbeats, close their connections.

    Call it at the end of a program, a worker or a test; calling it again does no harm. The next guard makes new
    clients, with the same configuration. A client that you gave to `configure` stays open, and so does one that belongs
    to an event loop that is still open: `aclose` in that loop closes it.

    Example:
        ```python
        import cycles

        cycles.close()
        ```
    """
    DEFAULTS.close()


async def aclose() -> None:
    """Close the default clients of guards, those of the running event loop too; see `close`.

    Example:
        ```python
        import asyncio

        import cycles

        asyncio.run(cycles.aclose())
        ```
    """
    await DEFAULTS.aclose()
