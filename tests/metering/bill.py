"""What the endpoint bills: tokens by kind, and their price by arithmetic of the tests' own.

Nothing of the package under test is used here: an error in its prices must show, not cancel out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

MICROCENTS_A_DOLLAR: Final = 100_000_000


@dataclass(frozen=True)
class Tariff:
    """Dollars for a million tokens, as a provider's page has them."""

    input: str
    read: str  # input that was found in the cache
    written: str  # input that was put into the cache, for five minutes
    output: str


# Odd digits on purpose: a price that is rounded too early, or down, is off by a microcent.
TARIFFS: Final = {
    "gpt-metered": Tariff("2.537", "0.2537", "2.537", "10.0719"),
    "claude-metered": Tariff("3.0011", "0.30011", "3.751375", "15.0007"),
    "gemini-metered": Tariff("0.31713", "0.031713", "0.31713", "2.50931"),
    "mistral-metered": Tariff("0.41273", "0.041273", "0.41273", "2.00939"),
    # What examples/ call: genai-prices has these prices, and nobody tells it here.
    "gpt-4o-mini": Tariff("0.15", "0.075", "0.15", "0.60"),
    "claude-haiku-4-5": Tariff("1", "0.1", "1.25", "5"),
    "embed-metered": Tariff("0.02139", "0.02139", "0.02139", "0"),
}


@dataclass
class Counts:
    """Tokens of one request. The three kinds of input are apart: none includes another."""

    fresh: int = 0
    read: int = 0
    written: int = 0
    output: int = 0  # all candidates, tool calls and reasoning included

    @property
    def input(self) -> int:
        return self.fresh + self.read + self.written


def microcents(model: str, counts: Counts) -> int:
    """Return the price of one request, rounded up once."""
    tariff = TARIFFS[model]
    dollars = (
        counts.fresh * Fraction(tariff.input)
        + counts.read * Fraction(tariff.read)
        + counts.written * Fraction(tariff.written)
        + counts.output * Fraction(tariff.output)
    ) / 1_000_000
    return math.ceil(dollars * MICROCENTS_A_DOLLAR)


@dataclass
class Billed:
    """One request that reached the provider's model, and what it has been billed so far.

    Attributes:
        status: What the provider answered; None while it has not, or when the connection ended first.
        told: Whether the whole usage was sent to the client.
        over: Whether nothing will be added any more.
    """

    wire: str
    model: str
    asked_output: int | None
    streamed: bool
    counts: Counts = field(default_factory=Counts)
    status: int | None = None
    told: bool = False
    over: bool = False

    @property
    def microcents(self) -> int:
        return microcents(self.model, self.counts)
