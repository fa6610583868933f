"""A provider that bills, an authority that counts, and what must be true of the two after a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cycles
from tests.metering.bill import TARIFFS
from tests.support.authorities import SCOPE, UNIT
from tests.support.waiting import until

if TYPE_CHECKING:
    from cycles import Amount, Config
    from tests.metering.provider import Provider
    from tests.support.net import Server


def prices() -> cycles.Prices:
    """Return the endpoint's tariffs as a user types them."""
    return cycles.Prices(
        {
            model: {
                "input": tariff.input,
                "cached_input": tariff.read,
                "cache_write": tariff.written,
                "output": tariff.output,
            }
            for model, tariff in TARIFFS.items()
        }
    )


class World:
    """What an adapter's test needs.

    Attributes:
        provider: Bills model calls.
        server: The authority; `server.plan` spoils its answers.
        config: The settings of the default clients.
        prices: What the provider takes.
    """

    def __init__(self, provider: Provider, server: Server, config: Config) -> None:
        self.provider, self.server, self.config = provider, server, config
        self.prices = prices()

    @property
    def authority(self) -> Any:
        return self.server.authority

    def budget(self, amount: Amount, scope: str = SCOPE) -> None:
        """Set what *scope* may spend."""
        self.authority.budget(scope, amount)

    def freeze(self, scope: str = SCOPE) -> None:
        """Let nothing more be reserved."""
        self.authority.freeze(scope, UNIT)

    @property
    def ledger(self) -> int:
        """What was charged, in microcents."""
        return self.authority.balance(SCOPE, UNIT).spent

    def spent_at(self, scope: str) -> int:
        """Return what was charged below the tenant, at *scope* such as "agent:planner"."""
        return self.authority.balance(f"{SCOPE}/{scope}", UNIT).spent

    def holds(self, kind: str, status: str | None = None) -> list[Any]:
        """Return the reservations of one kind of action, such as "tool.call"."""
        every = [hold for hold in self.authority.reservations() if hold.action["kind"] == kind]
        return [hold for hold in every if status is None or hold.status == status]

    def settled(self) -> None:
        """Wait until the provider bills nothing more, and the authority holds nothing more."""
        self.provider.over()
        until(lambda: self.authority.balance(SCOPE, UNIT).reserved == 0)

    def exact(self, *tools: Amount) -> None:
        """The ledger is the bill to the microcent: the provider's, and what each of the *tools* has cost."""
        self.settled()
        assert self.ledger == self.provider.microcents + sum(tool.amount for tool in tools)
        charged = sorted(hold.charged for hold in self.authority.reservations() if hold.charged)
        bills = [bill.microcents for bill in self.provider.bills if bill.counts.input]
        assert charged == sorted([*bills, *(tool.amount for tool in tools if tool.amount)])

    def bounded(self, *tools: Amount) -> None:
        """A stream was left: at least what had been generated is charged, and what is not used is given back."""
        self.settled()
        assert self.provider.microcents + sum(tool.amount for tool in tools) <= self.ledger
