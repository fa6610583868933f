"""What a model's tokens cost, exact to the microcent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from cycles_api.models.amount import Amount

__all__ = ["Prices"]


class Prices:
    """A table of prices: your own, over the one of genai-prices (extra `prices`).

    Args:
        models: Prices of your own by model, in dollars per million tokens.
    """

    def __init__(self, models: Mapping[str, Mapping[str, str | int | Decimal]] | None = None) -> None:
        raise NotImplementedError

    def cost(self, provider: str, model: str, usage: Any) -> Amount:
        """Return what *usage* of a model costs, rounded up to a microcent."""
        raise NotImplementedError

    def cost_of(self, response: Any) -> Amount:
        """Return what a provider's answer has cost."""
        raise NotImplementedError

    def knows(self, provider: str, model: str) -> bool:
        """Return whether there is a price for a model."""
        raise NotImplementedError

    def context_window(self, provider: str, model: str) -> int | None:
        """Return how many tokens a model reads at most; None when it is not known."""
        raise NotImplementedError
