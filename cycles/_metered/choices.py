"""What `cycles.wrap` was told: how requests are bounded, priced and settled. Checked once, when a client is wrapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from attrs import define, field

from cycles._client.options import Levels
from cycles.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import timedelta

    from cycles.client import AsyncClient, Client
    from cycles_api.models.amount import Amount
    from cycles_api.models.commit_overage_policy import CommitOveragePolicy

    Estimate: TypeAlias = "Literal['tiktoken'] | Callable[[Mapping[str, Any]], int | Amount] | None"

Unknown: TypeAlias = Literal["deny", "pass"]
Lost: TypeAlias = Literal["estimate", "release"]
Partial: TypeAlias = Literal["received", "estimate", "drain"]

MAX_OUTPUT: Final = 4096
"""Output tokens to ask for where a request names no bound: no chat model of the last years refuses so many."""

MIN_OUTPUT: Final = 256


class WrapOptions(Levels, total=False):
    """The fields of a `Guard` that `cycles.wrap` takes: they apply to each request."""

    dimensions: Mapping[str, str] | None
    """At most 16 further labels; they choose no budget."""
    ttl: float | timedelta | None
    """Seconds that a lease lasts, 1 to 86400 (default 60); it is renewed as long as the answer takes."""
    grace_period: float | timedelta | None
    """Seconds after the lease in which a commit is still accepted, 0 to 60; None for the authority's default."""
    overage_policy: CommitOveragePolicy | str | None
    """What happens to a charge above the estimate (docs/protocol.md, Overage policies); None: as the authority says."""
    metadata: Mapping[str, Any] | None
    """JSON values to keep with each reservation."""
    tags: Sequence[str] | None
    """At most 10 labels of the action, of at most 64 characters."""
    wait: float | timedelta
    """Seconds to keep asking while denied or throttled; 0 (default) asks once."""
    raise_on_unsettled: bool
    """Whether a call raises when its charge could not be confirmed (default: False)."""
    own: bool
    """Whether to reserve at the authority even inside a `Limit` (default: False)."""
    client: Client | AsyncClient | None
    """The client of the authority; the default one when None (see `configure`)."""


def _upper(unit: object) -> str:
    return str(unit).upper()


@define(frozen=True, kw_only=True)
class Choices:
    """The keyword arguments of `cycles.wrap`; it says what each means."""

    provider: str | None = None
    unit: str = field(default="USD_MICROCENTS", converter=_upper)
    max_output: int = MAX_OUTPUT
    estimate: Estimate = None
    fit: bool = False
    min_output: int = MIN_OUTPUT
    unknown: Unknown = "deny"
    lost: Lost = "estimate"
    on_5xx: Lost = "release"
    partial: Partial = "received"

    def __attrs_post_init__(self) -> None:
        _one_of("unit", self.unit, "USD_MICROCENTS", "TOKENS")
        _one_of("unknown", self.unknown, "deny", "pass")
        _one_of("lost", self.lost, "estimate", "release")
        _one_of("on_5xx", self.on_5xx, "release", "estimate")
        _one_of("partial", self.partial, "received", "estimate", "drain")
        for name in ("max_output", "min_output"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InvalidRequest(f"{name}={value!r}: give a number of tokens, 1 or more")
        if self.estimate not in (None, "tiktoken") and not callable(self.estimate):
            raise InvalidRequest(
                f'estimate={self.estimate!r}: give "tiktoken", or a callable that takes the request\'s JSON and gives '
                "its input tokens, or an amount"
            )
        if self.provider is not None and (not isinstance(self.provider, str) or not self.provider):
            raise InvalidRequest(f'provider={self.provider!r}: give a name such as "openai", or leave it out')


def _one_of(name: str, value: object, *allowed: str) -> None:
    if value not in allowed:
        raise InvalidRequest(f"{name}={value!r}: choose {' or '.join(map(repr, allowed))}")


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of *options*, which are all among those of `WrapOptions`."""
    unknown = sorted(options.keys() - {**Levels.__annotations__, **WrapOptions.__annotations__}.keys())
    if unknown:
        raise TypeError(f"wrap() got an unexpected keyword argument {unknown[0]!r}")
    return dict(options)
