"""A request that bills, read from its bytes: what it may use at most, and the body that makes the bound real."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, evolve, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cycles._metering.usage import Usage

__all__ = ["Billable", "StreamReading", "Wire", "completion"]


class StreamReading(Protocol):
    """Reads a streamed answer as it comes, at any cut of its bytes."""

    def feed(self, data: bytes) -> bytes:
        """Read *data* (decoded: no content-encoding); return what the caller gets to read of it."""
        ...

    def close(self) -> bytes:
        """Return what is still held back. Nothing is read after it."""
        ...

    @property
    def usage(self) -> Usage | None:
        """The provider's own figure; None until it has been told whole."""
        ...

    @property
    def received(self) -> Usage:
        """The input, as told or its bound, with an upper bound of the output that has come so far."""
        ...


class Wire(Protocol):
    """What one provider's wire says, for `Billable`, which is the same for all."""

    def limited(self, billable: Billable, output: int, /) -> Billable:
        """Return *billable* asking for at most *output* tokens."""
        ...

    def with_tools(self, billable: Billable, allowed: Callable[[str], bool], /) -> Billable:
        """Return *billable* without the tools that are not allowed."""
        ...

    def answer(self, billable: Billable, body: bytes, /) -> Usage | None:
        """Return what a whole answer says that it used."""
        ...

    def stream(self, billable: Billable, /) -> StreamReading:
        """Return a reading of the streamed answer."""
        ...


class ModelWire(Wire, Protocol):
    """The wire of one request to a model."""

    @property
    def provider(self) -> str:
        """Where the price is looked up."""
        ...

    @property
    def model(self) -> str:
        """As the request names it."""
        ...


@define(unsafe_hash=True)
class Billable:
    """One request that bills; a value, and not frozen for the reason that `Usage` has.

    Attributes:
        provider: "openai", "anthropic", "google", …: where the price is looked up.
        model: As the request names it.
        action: Kind and name for the ledger: ("llm.completion", "openai:gpt-4o").
        body: The bytes to send: the output is bounded in them, and a stream is asked for its usage.
        streamed: Whether the answer is asked for as a stream.
        input_bound: Tokens of the input at most, as far as the request shows them.
        output_bound: Tokens of the output at most, over all candidates.
        unbounded: What adds input that the request does not show ("previous_response_id", "web_search", a PDF): the
            model's context window is a bound then (`bounded`), or the user's own estimate.
        window: The context window that it was bounded by, or None.
        terms: What its price depends on beside what the usage says: the region of its host.
    """

    provider: str
    model: str
    action: tuple[str, str]
    body: bytes = field(repr=False)
    streamed: bool
    input_bound: int
    output_bound: int
    unbounded: tuple[str, ...] = ()
    window: int | None = None
    terms: tuple[tuple[str, str], ...] = ()
    at_most: Usage = field(repr=False, kw_only=True)
    wire: Wire = field(repr=False, kw_only=True)
    parsed: Mapping[str, Any] = field(repr=False, kw_only=True, eq=False)

    def bound(self) -> Usage:
        """Return what it may use at most, in the dearest kinds that it allows (cache writes, audio)."""
        return self.at_most

    def limited(self, output: int) -> Billable:
        """Return it asking for at most *output* tokens over all candidates; never for more than before."""
        if output >= self.output_bound:
            return self
        return self._kept(self.wire.limited(self, output))

    def bounded(self, window: int | None) -> Billable:
        """Return it with an input as long as the model's context *window*, if the request does not show all of it."""
        if window is None or not self.unbounded or window <= self.input_bound:
            return self
        most, more = self.at_most, window - self.input_bound
        written = most.cache_write_tokens + more if most.cache_write_tokens else 0
        hour = most.cache_write_1h_tokens + more if most.cache_write_1h_tokens else 0
        most = evolve(most, input_tokens=window, cache_write_tokens=written, cache_write_1h_tokens=hour)
        return evolve(self, input_bound=window, window=window, at_most=most)

    def with_tools(self, allowed: Callable[[str], bool]) -> Billable:
        """Return it without the tools whose name *allowed* does not allow."""
        return self._kept(self.wire.with_tools(self, allowed))

    def _kept(self, changed: Billable) -> Billable:
        """Return what was read anew of a *changed* body, with what is not in the body."""
        bounded = changed.bounded(self.window)
        return evolve(bounded, terms=self.terms) if self.terms else bounded

    def answer(self, body: bytes) -> Usage | None:
        """Return what a whole answer says that it used (with the version of the model); None when it says nothing."""
        return self.wire.answer(self, body)

    def stream(self) -> StreamReading:
        """Return a reading of the streamed answer."""
        return self.wire.stream(self)


def completion(
    wire: ModelWire,
    body: bytes,
    said: Mapping[str, Any],
    most: Usage,
    *,
    unbounded: tuple[str, ...],
    streamed: bool,
) -> Billable:
    """Return the request of a completion, whose *body* says *said* and may use *most*."""
    return Billable(
        provider=wire.provider,
        model=wire.model,
        action=("llm.completion", f"{wire.provider}:{wire.model}"),
        body=body,
        streamed=streamed,
        input_bound=most.input_tokens,
        output_bound=most.output_tokens,
        unbounded=unbounded,
        at_most=most,
        wire=wire,
        parsed=said,
    )
