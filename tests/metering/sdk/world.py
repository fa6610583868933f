"""One cell of the table: an SDK's client, metered, between an embedded authority and the endpoint that bills."""

from __future__ import annotations

import asyncio
import gc
import inspect
from typing import TYPE_CHECKING, Any

import cycles
from tests.metering.bill import TARIFFS
from tests.metering.sdk.apis import OLD, closed, half
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cycles.testing.plugin import AuthorityOfTest
    from tests.metering.provider import Provider
    from tests.metering.sdk.apis import Api


def prices() -> cycles.Prices:
    """Return the endpoint's tariffs as a user types them."""
    table = {}
    for model, tariff in TARIFFS.items():
        table[model] = {
            "input": tariff.input,
            "cached_input": tariff.read,
            "cache_write": tariff.written,
            "output": tariff.output,
        }
    return cycles.Prices(table)


class World:
    """What a cell needs. `exact` and `bounded` are what it must hold.

    Attributes:
        shown: What the table says about the cell: the ledger's microcents, and whether they are a bound.
    """

    def __init__(self, api: Api, provider: Provider, authority: AuthorityOfTest) -> None:
        self.api, self.provider, self.authority = api, provider, authority
        self.shown = ""
        self._made: list[Any] = []

    # -- asking --------------------------------------------------------------------------------------------------------
    def client(self, *, asynchronous: bool = False, retries: int = 0, timeout: float = 60.0, **options: Any) -> Any:
        """Return a metered client of this API; of google-genai the half that is asked for."""
        bare = self.api.client(self.provider.url, asynchronous=asynchronous, retries=retries, timeout=timeout)
        wrapped = cycles.wrap(bare, **{"prices": prices(), **options})
        assert type(wrapped) is type(bare)
        self._made += [bare, wrapped]
        return half(wrapped, asynchronous=asynchronous)

    def bare(self, wrapped: Any) -> Any:
        """Return the client that this one was made of."""
        return self._made[self._made.index(wrapped) - 1]

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Run asynchronous work, and close the clients that it made in its loop."""

        async def whole() -> Any:
            try:
                return await work()
            finally:
                await self._closed_here()

        return asyncio.run(whole())

    async def _closed_here(self) -> None:
        while self._made:
            client = self._made.pop()
            ended = closed(half(client, asynchronous=True))
            if ended is not None:
                await ended

    def close(self) -> None:
        while self._made:
            ended = closed(self._made.pop())
            if inspect.isawaitable(ended):
                asyncio.run(_awaited(ended))

    def leave(self, stream: Any, deltas: Any) -> None:
        """Leave a blocking stream."""
        deltas.close()
        self.api.close(stream)
        if self.api.forgets:
            gc.collect()
            self.close()

    # -- looking -------------------------------------------------------------------------------------------------------
    def settled(self) -> None:
        """Wait until the provider bills nothing more and the authority holds nothing more."""
        if OLD:
            gc.collect()
        self.provider.over()
        until(lambda: self.authority.reserved().amount == 0)

    @property
    def ledger(self) -> int:
        return self.authority.spent().amount

    def charged(self) -> list[int]:
        """Return what each reservation was charged, if anything."""
        return sorted(hold.charged for hold in self.authority.reservations() if hold.charged)

    def requests(self, operation: str) -> list[Any]:
        return [seen for seen in self.authority.requests if seen.operation == operation]

    def estimate(self) -> int:
        """Return what all reserves that were granted have asked for."""
        return sum(seen.body["estimate"]["amount"] for seen in self.requests("reserve") if seen.status < 300)

    def sources(self) -> set[str | None]:
        """Return how the commits are marked."""
        return {(seen.body.get("metadata") or {}).get("actual_source") for seen in self.requests("commit")}

    def exact(self) -> None:
        """The ledger is the bill: request by request, to the microcent, and nothing is marked as a guess."""
        self.settled()
        bills = sorted(bill.microcents for bill in self.provider.bills if bill.counts.input)
        assert bills
        assert self.charged() == bills
        assert self.ledger == self.provider.microcents
        assert not self.sources() & {"estimate", "partial"}
        assert self.ledger <= self.estimate()
        self.shown = f"= {self.ledger:,}"

    def bounded(self, *marks: str) -> None:
        """Nobody told the usage: at least what had been generated, at most the estimate, and marked."""
        self.settled()
        bill, estimate = self.provider.microcents, self.estimate()
        assert bill <= self.ledger <= estimate
        assert self.ledger > 0
        assert self.sources() <= set(marks)
        assert self.sources()
        self.shown = f"{bill:,} <= {self.ledger:,} <= {estimate:,}"


async def _awaited(work: Awaitable[Any]) -> None:
    await work
