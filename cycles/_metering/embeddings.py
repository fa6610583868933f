"""OpenAI's embeddings, and all that speak like them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define

from cycles._metering import conventions
from cycles._metering.billable import Billable, StreamReading
from cycles._metering.bodies import answered, width
from cycles._metering.media import REQUEST_OVERHEAD
from cycles._metering.streams import EventReading
from cycles._metering.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Unstreamed", "read"]


def read(provider: str, model: str, body: bytes, said: Mapping[str, Any]) -> Billable:
    """Return what a request of embeddings may bill: input only. A token's number is at least one byte, too."""
    inputs = width(body, said) + REQUEST_OVERHEAD
    return Billable(
        provider=provider,
        model=model,
        action=("llm.embedding", f"{provider}:{model}"),
        body=body,
        streamed=False,
        input_bound=inputs,
        output_bound=0,
        at_most=Usage(input_tokens=inputs),
        wire=Embeddings(),
        parsed=said,
    )


class Unstreamed:
    """What is the same for requests that ask for no output, no tools and no stream."""

    def limited(self, billable: Billable, _: int) -> Billable:
        """Return *billable* as it is: it asks for no output."""
        return billable

    def with_tools(self, billable: Billable, _: Callable[[str], bool]) -> Billable:
        """Return *billable* as it is: it has no tools."""
        return billable

    def stream(self, billable: Billable) -> StreamReading:
        """Return a reading that takes the whole answer for one."""
        return EventReading(Silent(), at_most=billable.at_most, answer=billable.answer)


@define(frozen=True)
class Embeddings(Unstreamed):
    """The wire of embeddings."""

    def answer(self, _: Billable, body: bytes) -> Usage | None:
        """Return what a whole answer says that it used."""
        answer = answered(body)
        return None if answer is None else conventions.embedding(answer)


class Silent:
    """What events say that are none."""

    marks = ()
    unseen = 0

    def __init__(self) -> None:
        self.usage: Usage | None = None

    def tell(self, event: Mapping[str, Any]) -> None:
        """Nothing is told."""

    def ended(self) -> None:
        """Nothing ends."""

    def closed(self) -> None:
        """Nothing: the events have said it, or not."""

    def told(self) -> Usage | None:
        """Return nothing."""
        return None

    def output(self, _: Mapping[str, Any]) -> int:
        """Return 0: there is no output."""
        return 0
