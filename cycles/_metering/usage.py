"""How many tokens a request has used, in one convention for all providers."""

from __future__ import annotations

from decimal import Decimal  # noqa: TC003 - attrs' fields name it

from attrs import define, fields

__all__ = ["Usage"]


@define(repr=False, unsafe_hash=True)
class Usage:
    """What one request has used, or may use at most. A value: what differs is another (`evolve`).

    It is not frozen, for attrs makes frozen ones in five times the time, and each request makes several.

    The counts nest: `input_tokens` is all input, so that cached reads and writes, audio, images and video are parts of
    it; `output_tokens` is all output, reasoning included. Providers differ in this (docs/prices.md). Nothing is None.

    Attributes:
        cache_write_tokens: Written to a cache, however long it lives; `cache_write_1h_tokens` is the part for an hour.
        input_tool_tokens: What tools of the provider's own put into the prompt.
        web_searches: Searches that the provider bills by number.
        storage_searches: Searches of files kept at the provider, which it bills by number.
        model: The version that answered, as the provider names it; None while unknown.
        terms: What the price depends on besides, sorted: (("service_tier", "priority"),).
        dollars: What the provider itself says that the request has cost; None where it does not.
    """

    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    input_video_tokens: int = 0
    input_tool_tokens: int = 0
    cache_audio_read_tokens: int = 0
    cache_image_read_tokens: int = 0
    cache_video_read_tokens: int = 0
    output_tokens: int = 0
    output_reasoning_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    output_video_tokens: int = 0
    output_citation_tokens: int = 0
    web_searches: int = 0
    storage_searches: int = 0
    model: str | None = None
    terms: tuple[tuple[str, str], ...] = ()
    dollars: Decimal | None = None

    def __repr__(self) -> str:
        said = ((one.name, getattr(self, one.name)) for one in fields(type(self)))
        return f"Usage({', '.join(f'{name}={value!r}' for name, value in said if value)})"

    @property
    def says_cost(self) -> bool:
        """Whether it counts any input, as each request has, or says the cost itself; else it was stripped."""
        return bool(self.input_tokens or self.dollars)

    @property
    def total_tokens(self) -> int:
        """All tokens, in and out: what a budget in TOKENS is charged."""
        return self.input_tokens + self.output_tokens
