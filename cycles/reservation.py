"""Reservations as users hold them: thin runners of the flows in `_core.section_flows`.

`Reservation` and `AsyncReservation` differ only in who performs the effects; every decision is in the core, and what
they share with the `Guard` around them is a `RunningSection`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles._client.opened_section import innermost
from cycles._client.reservation_view import ReservationView
from cycles._core import flows, section_flows
from cycles._core.requests import text
from cycles._drivers import aio, blocking
from cycles.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from cycles._core.results import Settlement
    from cycles.errors import DenialDetail
    from cycles_api.models.amount import Amount
    from cycles_api.models.caps import Caps
    from cycles_api.models.decision_enum import DecisionEnum
    from cycles_api.models.standard_metrics import StandardMetrics


def current() -> Reservation | AsyncReservation | None:
    """Return the innermost reservation of this task or thread that is not settled yet, or None.

    Example:
        ```python
        import cycles
        from cycles import usd

        @cycles.Guard(usd("0.05"), action=("tool.search", "web"))
        def search(query: str) -> None:
            reservation = cycles.current()
            assert reservation is not None
            print(reservation.id)


        search("rivers")
        ```
    """
    opened = innermost()
    return None if opened is None else opened.reservation


def report(
    *,
    actual: Amount | None = None,
    metrics: StandardMetrics | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Set what the end of the current section will commit; see `Reservation.report`.

    Args:
        actual: What the work has really cost so far, in the estimate's unit; the last report wins.
        metrics: The last report wins.
        metadata: JSON values; reports are merged, a later value wins.

    Raises:
        InvalidRequest: when there is no open reservation here; or naming the field, the value and the remedy.
        LeaseLost: it is kept, but the lease is lost and the client's `heartbeat` is cancel.

    Example:
        ```python
        import cycles
        from cycles import usd

        @cycles.Guard(usd("0.05"), action=("tool.search", "web"))
        def search(query: str) -> None:
            cycles.report(actual=usd("0.02"))


        search("rivers")
        ```
    """
    reservation = current()
    if reservation is None:
        raise InvalidRequest(
            "report: there is no reservation that is open here; call it inside a Guard (a thread sees the Guard around "
            "it when contextvars.copy_context().run starts it), or call report() of the reservation itself"
        )
    reservation.report(actual=actual, metrics=metrics, metadata=metadata)


class Reservation(ReservationView):
    """A hold on a budget, for blocking code.

    Made by `Client.reserve` or by entering a `Guard`. It is not a payment: nothing is charged until it is committed.

    Example:
        ```python
        import cycles
        from cycles import usd

        with cycles.Client() as client:
            reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))
            settlement = reservation.commit(usd("0.02"))
        print(reservation.state, settlement.charged)
        ```
    """

    def commit(
        self,
        actual: Amount,
        *,
        metrics: StandardMetrics | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Settlement:
        """Charge *actual* and give the rest back (docs/protocol.md, Settlement and recovery).

        Args:
            actual: What it really cost, in the estimate's unit, 0 or more.
            metrics: Usage figures to keep with it; what no request can carry is left out, as in `report`.
            metadata: JSON values to keep with it; likewise.

        Returns:
            How it ended: `charged` may be less than *actual* (docs/protocol.md, Overage policies). Transport
                trouble is in `error`, and what was left out in `left_out`.

        Raises:
            AlreadySettled: when it was committed or released before; nothing is sent.
            InvalidRequest: when the amount can't be sent; it stays open.
            AuthorityError, Denied: when the authority understood and refused.

        Example:
            ```python
            import cycles
            from cycles import usd

            with cycles.Client() as client:
                reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))
                settlement = reservation.commit(usd("0.02"), metrics=cycles.Metrics(tokens_input=1200))
                print(settlement.charged)
            ```
        """
        self._running.must_be_here("commit")
        settlement = self._running.settle(section_flows.commit(self._section, actual, metrics, metadata))
        assert settlement is not None  # noqa: S101 - types: only what is hurried is given up
        return self._running.conclude(settlement, asked=True)

    def release(self, reason: str | None = None) -> Settlement:
        """Give the whole hold back if possible; otherwise it ends when it expires.

        Args:
            reason: Kept by the authority, at most 256 characters.

        Raises:
            AlreadySettled: when it was committed or released before; nothing is sent.

        Example:
            ```python
            import cycles
            from cycles import usd

            with cycles.Client() as client:
                reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))
                settlement = reservation.release("not needed")
                print(settlement.state)
            ```
        """
        self._running.must_be_here("release")
        settlement = self._running.settle(section_flows.release(self._section, _reason(reason)))
        assert settlement is not None  # noqa: S101 - types: only what is hurried is given up
        return settlement

    def extend(self, seconds: float | timedelta) -> None:
        """Prolong the lease by *seconds* (0.001 to 86400) from its current expiry.

        Raises:
            AlreadySettled: when it was committed or released before; nothing is sent.
            AuthorityError, AuthorityUnavailable: when the authority refuses or can't be reached.

        Example:
            ```python
            import cycles
            from cycles import usd

            with cycles.Client() as client:
                reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))
                reservation.extend(30)
                print(reservation.expires_at)
                reservation.release()
            ```
        """
        leased, held, extend_by_ms = self._running.extension(seconds)
        if held is not None:
            response = blocking.run(flows.extend(held, extend_by_ms, self._section.policy), self._running.world)
            leased.expires_at_ms = response.expires_at_ms


class AsyncReservation(ReservationView):
    """A hold on a budget, for asynchronous code; see `Reservation`.

    Example:
        ```python
        import asyncio

        import cycles
        from cycles import usd


        async def main() -> None:
            async with cycles.AsyncClient() as client:
                reservation = await client.reserve(usd("0.05"), action=("tool.search", "web"))
                await reservation.release("not needed")


        asyncio.run(main())
        ```
    """

    async def commit(
        self,
        actual: Amount,
        *,
        metrics: StandardMetrics | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Settlement:
        """Charge *actual* and give the rest back; see `Reservation.commit`.

        Example:
            ```python
            import asyncio

            import cycles
            from cycles import usd


            async def main() -> None:
                async with cycles.AsyncClient() as client:
                    reservation = await client.reserve(usd("0.05"), action=("tool.search", "web"))
                    settlement = await reservation.commit(usd("0.02"), metrics=cycles.Metrics(tokens_input=1200))
                    print(settlement.charged)


            asyncio.run(main())
            ```
        """
        self._running.must_be_here("commit")
        settlement = await self._running.settle_async(section_flows.commit(self._section, actual, metrics, metadata))
        assert settlement is not None  # noqa: S101 - types: only what is hurried is given up
        return self._running.conclude(settlement, asked=True)

    async def release(self, reason: str | None = None) -> Settlement:
        """Give the whole hold back if possible; see `Reservation.release`.

        Example:
            ```python
            import asyncio

            import cycles
            from cycles import usd


            async def main() -> None:
                async with cycles.AsyncClient() as client:
                    reservation = await client.reserve(usd("0.05"), action=("tool.search", "web"))
                    settlement = await reservation.release("not needed")
                    print(settlement.state)


            asyncio.run(main())
            ```
        """
        self._running.must_be_here("release")
        return await self._running.release_async(section_flows.release(self._section, _reason(reason)))

    async def extend(self, seconds: float | timedelta) -> None:
        """Prolong the lease; see `Reservation.extend`.

        Example:
            ```python
            import asyncio

            import cycles
            from cycles import usd


            async def main() -> None:
                async with cycles.AsyncClient() as client:
                    reservation = await client.reserve(usd("0.05"), action=("tool.search", "web"))
                    await reservation.extend(30)
                    print(reservation.expires_at)
                    await reservation.release()


            asyncio.run(main())
            ```
        """
        leased, held, extend_by_ms = self._running.extension(seconds)
        if held is not None:
            response = await aio.run(flows.extend(held, extend_by_ms, self._section.policy), self._running.world)
            leased.expires_at_ms = response.expires_at_ms


def _reason(reason: str | None) -> str | None:
    return None if reason is None else text("reason", reason, most=256)


class DryRun:
    """What a decorated function returns under `dry_run=True`: it was not called, and nothing is held.

    Attributes:
        decision: ALLOW, ALLOW_WITH_CAPS or DENY.
        reason_code: Why not, or None.
        caps: What a grant would be limited to, or None.
        affected_scopes: The scope paths of the subject, widest first.
        detail: What the authority says about a denial, or None.

    Example:
        ```python
        import cycles
        from cycles import usd

        @cycles.Guard(usd("0.05"), action=("tool.search", "web"), dry_run=True)
        def search(query: str) -> object:
            return query


        print(search("rivers"))  # a DryRun: the function was not called
        ```
    """

    __slots__ = ("affected_scopes", "caps", "decision", "detail", "reason_code")

    def __init__(self, reservation: Reservation | AsyncReservation) -> None:
        self.decision: Final[DecisionEnum] = reservation.decision
        self.reason_code: Final[str | None] = reservation.reason_code
        self.caps: Final[Caps | None] = reservation.caps
        self.affected_scopes: Final[tuple[str, ...]] = reservation.affected_scopes
        self.detail: Final[DenialDetail | None] = reservation.detail

    def __repr__(self) -> str:
        reason = f" {self.reason_code}" if self.reason_code is not None else ""
        return f"<DryRun {self.decision}{reason}>"
