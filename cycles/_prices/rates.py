"""Rates of a model, and what a usage costs at them: whole numbers throughout, rounded up once.

A count is priced in the narrowest kind that has a rate: cached audio as such, else as cached input, else as input.
"""

from __future__ import annotations

from bisect import bisect_left
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from attrs import Factory, define, field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles._metering.usage import Usage

__all__ = ["KINDS", "PER_THOUSAND", "PER_TOKEN", "Price", "Rates"]

PER_TOKEN: Final = (
    "input",
    "cached_input",
    "cache_write",
    "cache_write_1h",
    "input_audio",
    "cached_audio",
    "input_image",
    "cached_image",
    "input_video",
    "cached_video",
    "output",
    "output_reasoning",
    "output_audio",
    "output_image",
    "output_video",
    "output_citation",
)
"""What has a price in dollars per million tokens."""
PER_THOUSAND: Final = ("web_search", "file_search", "request")
"""What has a price in dollars per thousand."""
KINDS: Final = (*PER_TOKEN, *PER_THOUSAND)

_EXACTLY: Final = Context(prec=100)
"""A price has less than half as many digits."""
_MICROCENTS_A_TOKEN: Final = 100
"""A dollar per million tokens, in microcents per token."""
_MICROCENTS_A_PIECE: Final = 100_000
"""A dollar per thousand, in microcents for each."""


@define(frozen=True)
class Price:
    """A price, and those that hold for the whole request when its input is longer than so many tokens."""

    base: Decimal
    above: tuple[tuple[int, Decimal], ...] = ()

    def at(self, input_tokens: int) -> Decimal:
        """Return the price for a request with an input of this length."""
        return next((price for start, price in reversed(self.above) if input_tokens > start), self.base)

    def times(self, factor: int) -> Price:
        """Return *factor* times the price."""
        return Price(_times(self.base, factor), tuple((start, _times(price, factor)) for start, price in self.above))

    @property
    def exponent(self) -> int:
        """How many decimals it has at most."""
        return max(-int(price.as_tuple().exponent) for price in (self.base, *(price for _, price in self.above)))


def _times(price: Decimal, factor: int) -> Decimal:
    return _EXACTLY.multiply(price, Decimal(factor))


def _scaled(price: Decimal, decimals: int) -> int:
    """Return *price* as a whole number of its last decimal; Decimal's own operators would round to the context."""
    sign, digits, exponent = price.as_tuple()
    assert isinstance(exponent, int) and not sign  # noqa: S101, PT018 - checked where it was given
    power: int = 10 ** (exponent + decimals)
    return int("".join(map(str, digits))) * power


def _most_decimals(rates: Rates) -> int:
    return max((0, *(price.exponent for price in rates.prices.values())))


def _steps(rates: Rates) -> list[int]:
    """Return the lengths of the input after which a price is another."""
    return sorted({start for price in rates.prices.values() for start, _ in price.above})


class _Part(NamedTuple):
    """The tokens that one kind of price is for.

    Attributes:
        kind: The price.
        counted: What counts them, and those of the narrower kinds, in a `Usage`.
        narrower: The kinds that are taken out of that, if they have a price of their own.
    """

    kind: str
    counted: str
    narrower: tuple[str, ...] = ()


_READ: Final = ("cached_audio", "cached_image", "cached_video")
_INPUT: Final = ("cached_input", "cache_write", "cache_write_1h", "input_audio", "input_image", "input_video")
_OUTPUT: Final = ("output_reasoning", "output_audio", "output_image", "output_video", "output_citation")
_PARTS: Final = (
    _Part("cached_audio", "cache_audio_read_tokens"),
    _Part("cached_image", "cache_image_read_tokens"),
    _Part("cached_video", "cache_video_read_tokens"),
    _Part("cached_input", "cache_read_tokens", _READ),
    _Part("cache_write_1h", "cache_write_1h_tokens"),
    _Part("cache_write", "cache_write_tokens", ("cache_write_1h",)),
    _Part("input_audio", "input_audio_tokens", ("cached_audio",)),
    _Part("input_image", "input_image_tokens", ("cached_image",)),
    _Part("input_video", "input_video_tokens", ("cached_video",)),
    _Part("input", "input_tokens", (*_READ, *_INPUT)),
    _Part("output_reasoning", "output_reasoning_tokens"),
    _Part("output_audio", "output_audio_tokens"),
    _Part("output_image", "output_image_tokens"),
    _Part("output_video", "output_video_tokens"),
    _Part("output_citation", "output_citation_tokens"),
    _Part("output", "output_tokens", _OUTPUT),
)
"""All tokens, the narrower kinds first."""


def _priced(rates: Rates) -> tuple[_Part, ...]:
    """Return the parts that have a price, each without narrower kinds that have none."""
    return tuple(
        _Part(kind, counted, tuple(one for one in narrower if one in rates.prices))
        for kind, counted, narrower in _PARTS
        if kind in rates.prices
    )


@define(frozen=True)
class Rates:
    """What a model charges, by the names in `KINDS`.

    Attributes:
        surcharge: What the tokens cost in all, in tenths: 11 is ten per cent more.
    """

    prices: Mapping[str, Price]
    surcharge: int = 10
    _decimals: int = field(init=False, default=Factory(_most_decimals, takes_self=True))
    _parts: tuple[_Part, ...] = field(init=False, default=Factory(_priced, takes_self=True))
    _lengths: list[int] = field(init=False, default=Factory(_steps, takes_self=True))
    _by_length: dict[int, dict[str, int]] = field(init=False, factory=dict)

    @property
    def bills_input(self) -> bool:
        """Whether there is a price for input."""
        return "input" in self.prices

    @property
    def bills_output(self) -> bool:
        """Whether there is a price for output."""
        return "output" in self.prices

    def unpriced(self, usage: Usage) -> str | None:
        """Return the kind of searches that *usage* counts without there being a price for it; None for none.

        Where each request has a price, that is the price of what it searches.
        """
        if usage.web_searches and not {"web_search", "request"} & self.prices.keys():
            return "web_search"
        return "file_search" if usage.storage_searches and "file_search" not in self.prices else None

    def microcents(self, usage: Usage) -> int:
        """Return what *usage* costs, rounded up to a whole microcent."""
        rates = self._at(usage.input_tokens)
        counts, tokens = dict.fromkeys(rates, 0), 0
        for kind, counted, narrower in self._parts:  # each token once, and no part below zero
            count = getattr(usage, counted)
            for one in narrower:
                count -= counts[one]
            if count > 0:
                counts[kind] = count
                tokens += count * rates[kind]
        pieces = rates.get("request", 0)
        if usage.web_searches or usage.storage_searches:
            pieces += usage.web_searches * rates.get("web_search", 0)
            pieces += usage.storage_searches * rates.get("file_search", 0)
        scaled = tokens * _MICROCENTS_A_TOKEN * self.surcharge + pieces * _MICROCENTS_A_PIECE * 10
        one_microcent: int = 10 ** (self._decimals + 1)
        return -(-scaled // one_microcent)

    def _at(self, input_tokens: int) -> dict[str, int]:
        """Return the prices for a request with an input of this length, as whole numbers of their last decimal."""
        tier = bisect_left(self._lengths, input_tokens)
        found = self._by_length.get(tier)
        if found is None:
            found = {name: _scaled(price.at(input_tokens), self._decimals) for name, price in self.prices.items()}
            self._by_length[tier] = found
        return found
