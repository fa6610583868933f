"""Rates of a model, and what a usage costs at them: whole numbers throughout, rounded up once.

A count is priced in the narrowest kind that has a rate: cached audio as such, else as cached input, else as input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import Factory, define, field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

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

    @property
    def exponent(self) -> int:
        """How many decimals it has at most."""
        return max(-int(price.as_tuple().exponent) for price in (self.base, *(price for _, price in self.above)))


def _scaled(price: Decimal, decimals: int) -> int:
    """Return *price* as a whole number of its last decimal; Decimal's own operators would round to the context."""
    sign, digits, exponent = price.as_tuple()
    assert isinstance(exponent, int) and not sign  # noqa: S101, PT018 - checked where it was given
    power: int = 10 ** (exponent + decimals)
    return int("".join(map(str, digits))) * power


def _most_decimals(rates: Rates) -> int:
    return max((0, *(price.exponent for price in rates.prices.values())))


@define(frozen=True)
class Rates:
    """What a model charges, by the names in `KINDS`.

    Attributes:
        surcharge: What the tokens cost in all, in tenths: 11 is ten per cent more.
    """

    prices: Mapping[str, Price]
    surcharge: int = 10
    _decimals: int = field(init=False, default=Factory(_most_decimals, takes_self=True))
    _by_length: dict[tuple[int, ...], dict[str, int]] = field(init=False, factory=dict)

    @property
    def bills_input(self) -> bool:
        """Whether there is a price for input."""
        return "input" in self.prices

    @property
    def bills_output(self) -> bool:
        """Whether there is a price for output."""
        return "output" in self.prices

    def microcents(self, usage: Usage) -> int:
        """Return what *usage* costs, rounded up to a whole microcent."""
        rates = self._at(usage.input_tokens)
        tokens = sum(count * rates[kind] for kind, count in _split(usage, rates) if count)
        pieces = {"web_search": usage.web_searches, "file_search": usage.storage_searches, "request": 1}
        others = sum(count * rates.get(kind, 0) for kind, count in pieces.items())
        scaled = tokens * _MICROCENTS_A_TOKEN * self.surcharge + others * _MICROCENTS_A_PIECE * 10
        one: int = 10 ** (self._decimals + 1)
        return -(-scaled // one)

    def _at(self, input_tokens: int) -> dict[str, int]:
        tier = tuple(sum(input_tokens > start for start, _ in price.above) for price in self.prices.values())
        found = self._by_length.get(tier)
        if found is None:
            found = {name: _scaled(price.at(input_tokens), self._decimals) for name, price in self.prices.items()}
            self._by_length[tier] = found
        return found


def _split(usage: Usage, rates: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Return how much of a usage is priced as what: each token once, and no part below zero."""

    def counted(kind: str, count: int) -> int:
        return max(count, 0) if kind in rates else 0

    audio_read = counted("cached_audio", usage.cache_audio_read_tokens)
    image_read = counted("cached_image", usage.cache_image_read_tokens)
    video_read = counted("cached_video", usage.cache_video_read_tokens)
    read = counted("cached_input", usage.cache_read_tokens - audio_read - image_read - video_read)
    hour = counted("cache_write_1h", usage.cache_write_1h_tokens)
    written = counted("cache_write", usage.cache_write_tokens - hour)
    audio = counted("input_audio", usage.input_audio_tokens - audio_read)
    image = counted("input_image", usage.input_image_tokens - image_read)
    video = counted("input_video", usage.input_video_tokens - video_read)
    narrow = audio_read + image_read + video_read + read + hour + written + audio + image + video
    reasoning = counted("output_reasoning", usage.output_reasoning_tokens)
    said = counted("output_audio", usage.output_audio_tokens)
    drawn = counted("output_image", usage.output_image_tokens)
    filmed = counted("output_video", usage.output_video_tokens)
    cited = counted("output_citation", usage.output_citation_tokens)
    return (
        ("input", counted("input", usage.input_tokens - narrow)),
        ("cached_input", read),
        ("cache_write", written),
        ("cache_write_1h", hour),
        ("input_audio", audio),
        ("cached_audio", audio_read),
        ("input_image", image),
        ("cached_image", image_read),
        ("input_video", video),
        ("cached_video", video_read),
        ("output", counted("output", usage.output_tokens - reasoning - said - drawn - filmed - cited)),
        ("output_reasoning", reasoning),
        ("output_audio", said),
        ("output_image", drawn),
        ("output_video", filmed),
        ("output_citation", cited),
    )
