"""The table of genai-prices: imported when it is first used, asked offline, and read for what requests bill."""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from cycles._outside.extras import install
from cycles._prices.rates import Price, Rates
from cycles.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Entry", "Table", "is_installed"]

_NAMES: Final = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "cache_audio_read_mtok": "cached_audio",
    "input_image_mtok": "input_image",
    "cache_image_read_mtok": "cached_image",
    "input_video_mtok": "input_video",
    "cache_video_read_mtok": "cached_video",
    "output_mtok": "output",
    "output_reasoning_mtok": "output_reasoning",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
    "output_video_mtok": "output_video",
    "output_citation_mtok": "output_citation",
    "web_searches_kcount": "web_search",
    "storage_searches_kcount": "file_search",
    "requests_kcount": "request",
}
"""The table's names for what we price; what else it has (hours, pages, letters) no metered request is billed by."""
_TIERS: Final = frozenset({"auto", "default", "standard", "scale", "flex"})
"""Tiers that a model without a price of their own serves as standard, or for less."""
_TIERS_OF_MISTRAL: Final = frozenset({"auto", "default", "standard", "standard_only"})
_NAMES_TIERS: Final = frozenset({"openai", "azure", "google", "mistral"})
"""Whose tiers are known: one that is not may be dearer."""
_DEARER: Final = frozenset({("service_tier", "priority"), ("service_tier", "fast"), ("speed", "fast")})
"""What is dearer at everybody: only a price of its own is one."""
_EVERYWHERE: Final = frozenset({"global", "not_available"})
"""What Anthropic says of an inference that no region was asked for."""
_HOUR_AT_ANTHROPIC: Final = 2
"""An hour in the cache costs twice the input, with each model of Anthropic's; not all entries say so."""
_REMEMBERED: Final = 1_000
_CHECKED: Final = re.compile(r"\b(?:verified|checked|observed)\b[^.;0-9]{0,60}(20\d\d-[01]\d-[0-3]\d)\b", re.IGNORECASE)
"""A check in the table's comments. Other dates in it are of prices to come."""


def is_installed() -> bool:
    """Return whether genai-prices is there."""
    return find_spec("genai_prices") is not None


@define(frozen=True)
class Entry:
    """A model in the table.

    Attributes:
        provider: Whose price it is.
        model: The table's name for it.
        rates: What it charges now.
        context_window: Tokens that it reads at most; None when the table does not say.
    """

    provider: str
    model: str
    rates: Rates
    context_window: int | None


@define
class Table:
    """The table, as genai-prices has it now: `UpdatePrices` of that package may renew it while a program runs."""

    _known: dict[tuple[str, str, tuple[tuple[str, str], ...]], Entry | None] = field(init=False, factory=dict)
    _of: Any = field(init=False, default=None)
    _current: Any = field(init=False, default=None)
    _minute: float = field(init=False, default=0.0)

    def load(self) -> None:
        """Import the table.

        Raises:
            ConfigError: genai-prices is not installed.
        """
        self._snapshot()

    def find(self, provider: str, model: str, terms: tuple[tuple[str, str], ...] = ()) -> Entry | None:
        """Return the entry of a model; None when there is none, or none for these *terms*.

        Raises:
            ConfigError: genai-prices is not installed.
        """
        snapshot, minute = self._snapshot(), time.time() // 60
        if self._minute != minute or len(self._known) > _REMEMBERED:
            self._minute = minute  # some prices change at an hour of the day, and some on a day
            self._known.clear()
        key = (provider, model, terms)
        try:
            return self._known[key]  # once: another thread may clear it meanwhile
        except KeyError:
            made = self._known[key] = self._found(snapshot, provider, model, dict(terms))
        return made

    @staticmethod
    def _found(snapshot: Any, provider: str, model: str, terms: Mapping[str, str]) -> Entry | None:
        try:
            found, entry = snapshot.find_provider_model(model, None, provider, None)
        except LookupError:
            return None
        return _entry(found, entry, terms, provider, datetime.now(tz=UTC))

    def provider_of(self, model: str) -> str | None:
        """Return whose model this is, as far as its name says."""
        try:
            return str(self._snapshot().find_provider(model.lower(), None, None).id)
        except LookupError:
            return None

    def entries(self, model: str) -> Iterator[Entry]:
        """Return the entries for a model's name, one for each provider that has it."""
        for provider in self._snapshot().providers:
            if (entry := provider.find_model(model)) is not None:
                yield _entry(provider, entry, {}, provider.id, datetime.now(tz=UTC))

    def names(self) -> Iterator[tuple[str, str]]:
        """Return the name of each model, with its provider's."""
        for provider in self._snapshot().providers:
            for entry in provider.models:
                yield provider.id, entry.id

    @property
    def version(self) -> str:
        """The installed version of genai-prices."""
        return version("genai-prices")

    @property
    def checked(self) -> date | None:
        """When somebody has checked a price of the table last, as far as it says: it is no older than that."""
        return max(self._dates(), default=None)

    def _dates(self) -> Iterator[date]:
        for provider in self._snapshot().providers:
            for comment in (provider.price_comments, *(entry.price_comments for entry in provider.models)):
                for found in _CHECKED.findall(comment or ""):
                    try:
                        yield date.fromisoformat(found)
                    except ValueError:
                        continue

    def _snapshot(self) -> Any:
        if self._current is None:
            self._current = self._imported()
        snapshot = self._current()
        if snapshot is not self._of:
            self._of = snapshot
            self._known.clear()
        return snapshot

    @staticmethod
    def _imported() -> Any:
        """Return what gives the table of genai-prices as it is now."""
        try:
            return import_module("genai_prices.data_snapshot").get_snapshot
        except ModuleNotFoundError as missing:
            if missing.name != "genai_prices":
                raise
            raise ConfigError(
                f"prices of models come with an extra: {install('prices')}; or give your own: "
                'cycles.Prices({"my-model": {"input": "0.50", "output": "1.50"}}), in dollars per million tokens'
            ) from None


def _entry(found: Any, entry: Any, terms: Mapping[str, str], provider: str, now: datetime) -> Entry:
    """Return an entry as it is *now* for *terms*."""
    # Anthropic's for inference in the US alone, and that of regional endpoints of others.
    surcharge = 10 if terms.get("inference_geo", "global") in _EVERYWHERE else 11
    context = {name: value for name, value in terms.items() if name != "inference_geo"}
    own = any(entry is model for model in found.models)
    applied = [one for one in entry.price_variants or () if own and _applies(one, context, now)]
    prices = _prices(entry.get_prices(now, context if own else None)) if _is_served(provider, context, applied) else {}
    if "cache_write" in prices and "input" in prices and "claude" in str(entry.id):
        prices.setdefault("cache_write_1h", prices["input"].times(_HOUR_AT_ANTHROPIC))
    return Entry(str(found.id), str(entry.id), Rates(prices, surcharge), entry.context_window)


def _applies(variant: Any, context: Mapping[str, str], now: datetime) -> bool:
    """Return whether prices of a variant hold *now*, for these terms."""
    is_active = variant.constraint is None or variant.constraint.active(now)
    return is_active and all(context.get(name) == value for name, value in variant.when.items())


def _is_served(provider: str, context: Mapping[str, str], applied: list[Any]) -> bool:
    """Return whether the price is known for these terms: one that nobody has heard of may be dearer."""
    has_price = {name for variant in applied for name in variant.when}
    if any(name not in has_price for name, value in context.items() if (name, value) in _DEARER):
        return False
    usual = _TIERS_OF_MISTRAL if provider == "mistral" else _TIERS
    tier = context.get("service_tier")
    return tier is None or provider not in _NAMES_TIERS or tier in usual or "service_tier" in has_price


def _prices(prices: Any) -> dict[str, Price]:
    made: dict[str, Price] = {}
    for name, ours in _NAMES.items():
        price = getattr(prices, name, None)
        if price is not None:
            above = tuple((tier.start, tier.price) for tier in getattr(price, "tiers", ()))
            made[ours] = Price(getattr(price, "base", price), above)
    return made
