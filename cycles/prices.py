"""What a model's tokens cost, exact to the microcent: your own prices, over the table of genai-prices.

    prices = cycles.Prices({"my-model": {"input": "0.50", "cached_input": "0.05", "output": "1.50"}})

    @cycles.Guard(estimate=usd("0.05"), action=("llm.completion", "gpt-4o"), actual=prices.cost_of)
    def ask(prompt): ...

The table comes with the extra `prices`, works offline, and is as old as the installed genai-prices
(`cycles prices` says how old).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from cycles._prices import shapes
from cycles._prices.rates import KINDS, Price, Rates
from cycles._prices.table import Entry, Table, is_installed
from cycles.amounts import usd, usd_microcents
from cycles.errors import ConfigError, UnknownPrice

if TYPE_CHECKING:
    from cycles._metering.usage import Usage
    from cycles_api.models.amount import Amount

__all__ = ["Prices"]

_EXAMPLE: Final = '{"input": "0.50", "output": "1.50"}'


class Prices:
    """Prices of models: your own first, then those of genai-prices.

    Args:
        models: Prices of your own, by the model's name, or by "provider:model" for one provider alone. Each is a
            mapping of `input`, `output`, `cached_input`, `cache_write`, `cache_write_1h`, `input_audio`,
            `cached_audio`, `input_image`, `cached_image`, `input_video`, `cached_video`, `output_reasoning`,
            `output_audio`, `output_image`, `output_video`, `output_citation` in dollars per million tokens, and of
            `web_search`, `file_search`, `request` in dollars per thousand. A kind that is left out costs what the wider
            kind costs: cached input costs what `input` does. Give a str, int or Decimal; floats are refused.

    Raises:
        ConfigError: A price is not valid, or there are none at all: genai-prices is not installed, and you gave none.

    Example:
        ```python
        import cycles

        prices = cycles.Prices({"my-model": {"input": "0.50", "output": "1.50"}})  # dollars per million tokens
        ```
    """

    def __init__(self, models: Mapping[str, Mapping[str, str | int | Decimal]] | None = None) -> None:
        self._own = {name: _own_rates(name, prices) for name, prices in (models or {}).items()}
        self._table = Table()
        if not self._own and not is_installed():
            self._table.load()  # says what to install

    def __repr__(self) -> str:
        own = ", ".join(map(repr, sorted(self._own)))
        return f"Prices({own})"

    def cost(self, provider: str, model: str, usage: Any) -> Amount:
        """Return what a usage of a model costs, exactly, rounded up to a microcent.

        A price of your own comes first; then the cost that the provider itself states (OpenRouter, Perplexity); then
        the table's price for the version that answered, if the usage names one, else for *model*.

        Args:
            provider: "openai", "anthropic", "google", …, as `cycles prices` shows them.
            model: The model, as the request names it.
            usage: A `Usage`, a provider's usage object, or a mapping with the provider's names or those of `Usage`,
                where `input_tokens` is all input.

        Raises:
            UnknownPrice: No price is known; the message shows how to give it.
            InvalidRequest: *usage* is not a usage.

        Example:
            ```python
            import cycles

            prices = cycles.Prices({"my-model": {"input": "0.50", "output": "1.50"}})
            print(prices.cost("openai", "my-model", {"input_tokens": 1200, "output_tokens": 80}))
            ```
        """
        used = shapes.usage_of(provider, usage)
        rates = self._own_for(provider, model, used.model)
        if rates is None and used.dollars is not None:
            return usd(used.dollars, round="up")
        if rates is None:
            rates = self._entry_for(provider, model, used).rates
        if (used.input_tokens and not rates.bills_input) or (used.output_tokens and not rates.bills_output):
            raise _unknown(provider, model, used)
        if missing := rates.unpriced(used):
            raise UnknownPrice(
                f"no price of a {missing} is known for {model!r} of {provider}: give it in dollars per thousand, 0 "
                f'where it is free, as cycles.Prices({{{model!r}: {{"input": "0.50", …, {missing!r}: "10"}}}})'
            )
        return usd_microcents(rates.microcents(used))

    def cost_of(self, response: Any, *, provider: str | None = None) -> Amount:
        """Return what a provider's answer cost; a Guard takes it as `actual=prices.cost_of`.

        Args:
            response: What an SDK returned, or its JSON as a dictionary; not a stream.
            provider: Whose answer it is, if neither its class nor its model's name tells.

        Raises:
            UnknownPrice: No price is known for its model.
            InvalidRequest: It reports no usage, or names no model.

        Example:
            ```python
            import cycles

            prices = cycles.Prices({"my-model": {"input": "0.50", "output": "1.50"}})
            answer = {"model": "my-model", "usage": {"prompt_tokens": 1200, "completion_tokens": 80}}
            print(prices.cost_of(answer, provider="openai"))
            ```
        """
        answer = shapes.answer_of(response)
        model = shapes.model_in(answer)
        whose = provider or self._provider_for(shapes.provider_of(response), model, answer)
        return self.cost(whose, model, shapes.usage_in(answer, whose))

    def load(self) -> None:
        """Import the table now: that takes about a second, which otherwise the first price takes.

        Example:
            ```python
            import cycles

            prices = cycles.Prices()
            prices.load()  # where a program starts, so that no request waits for it
            ```
        """
        if is_installed():
            self._table.load()

    def knows(self, provider: str, model: str) -> bool:
        """Return whether there is a price for a model.

        Example:
            ```python
            import cycles

            prices = cycles.Prices({"my-model": {"input": "0.50", "output": "1.50"}})
            print(prices.knows("openai", "my-model"), prices.knows("openai", "gpt-of-tomorrow"))
            ```
        """
        if self._own_for(provider, model, None) is not None:
            return True
        entry = self._table.find(provider, model) if is_installed() else None
        return entry is not None and entry.rates.bills_input

    def context_window(self, provider: str, model: str) -> int | None:
        """Return how many tokens a model reads at most; None when it is not known.

        Example:
            ```python
            import cycles

            print(cycles.Prices().context_window("openai", "gpt-4o"))
            ```
        """
        entry = self._table.find(provider, model) if is_installed() else None
        return None if entry is None else entry.context_window

    def _own_for(self, provider: str, model: str, version: str | None) -> Rates | None:
        if not self._own:
            return None
        own = self._own
        found = own.get(f"{provider}:{model}") or own.get(model)
        if found is None and version:
            found = own.get(f"{provider}:{version}") or own.get(version)
        return found

    def _entry_for(self, provider: str, model: str, usage: Usage) -> Entry:
        for name in (usage.model, model):
            if name and (entry := self._table.find(provider, name, usage.terms)) and entry.rates.prices:
                return entry
        raise _unknown(provider, model, usage)

    def _provider_for(self, sdk: str | None, model: str, answer: Mapping[str, Any]) -> str:
        """Return whose answer it is: many are read with OpenAI's SDK that are of other providers."""
        if self._own_for(sdk or "", model, None) is not None:
            return sdk or ""
        if sdk and (sdk != "openai" or self.knows(sdk, model)):
            return sdk
        if "usageMetadata" in answer:
            return "google"
        return self._table.provider_of(model) or sdk or "openai"


def _own_rates(name: str, prices: Mapping[str, str | int | Decimal]) -> Rates:
    if not isinstance(prices, Mapping) or not prices:
        raise ConfigError(f"Prices: {name!r} is {prices!r}; give its prices in dollars per million tokens: {_EXAMPLE}")
    if unknown := [kind for kind in prices if kind not in KINDS]:
        raise ConfigError(f"Prices: {name!r} has {unknown[0]!r}; what can have a price: {', '.join(KINDS)}")
    if "input" not in prices:
        raise ConfigError(f"Prices: {name!r} has no 'input': give it, in dollars per million tokens, as in {_EXAMPLE}")
    return Rates({kind: Price(_own_price(name, kind, price)) for kind, price in prices.items()})


def _own_price(name: str, kind: str, price: object) -> Decimal:
    shown = f"Prices: {name!r}, {kind}={price!r}"
    if isinstance(price, bool) or not isinstance(price, str | int | Decimal):
        raise ConfigError(f'{shown}: give a str, int or Decimal, not {type(price).__name__}; "{price}" is exactly that')
    try:
        exact = Decimal(price)
    except InvalidOperation:
        raise ConfigError(f'{shown} is no decimal number; write it like "0.50"') from None
    if not exact.is_finite() or exact.is_signed() or exact.adjusted() > 9 or int(exact.as_tuple().exponent) < -20:
        raise ConfigError(
            f"{shown}: a price is 0 or more dollars, below ten thousand million, with 20 decimals at most"
        )
    return exact


def _unknown(provider: str, model: str, usage: Usage) -> UnknownPrice:
    terms = "".join(f", {name} {value}" for name, value in usage.terms)
    return UnknownPrice(
        f"no price is known for {model!r} of {provider}{terms}: give it in dollars per million tokens, "
        f"as cycles.Prices({{{model!r}: {_EXAMPLE}}}); `cycles prices {model}` shows what is known"
    )
