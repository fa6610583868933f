"""What a flow may ask of the outside, and the type of each answer.

A flow is a generator of effects. `answer = yield from Call(COMMIT_RESERVATION, body=body)` is fully typed,
because iterating an effect yields the effect itself and returns what the driver sent back.

Rules, held by tests/core/test_rules.py over the syntax tree: always `yield from`, never a bare `yield`; no yield in
`finally`; only a driver calls next() or send(); after a BaseException that is no Exception only local effects.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar

from cycles._core.agreement import agreed
from cycles._core.outcomes import Answer

if TYPE_CHECKING:
    from cycles._core.operations import Operation
    from cycles._core.records import Claim, Pending
    from cycles._core.results import SettlementDetails

T = TypeVar("T")
S = TypeVar("S")


class Effect(Generic[T]):
    """Something that a flow asks for; *T* is the type of the answer."""

    __slots__ = ()

    def __iter__(self) -> Generator[Effect[Any], Any, T]:
        answer: T = yield self
        return answer


Flow: TypeAlias = Generator[Effect[Any], Any, T]
"""A choreography that ends in a *T*."""


class Call(Effect[Answer[S]]):
    """Send one request and return its answer; transport trouble is an answer too, never an exception.

    An answer that contradicts the request is trouble, too. *within* bounds all of it in seconds, waiting for a
    connection included (blocking code: that wait, and each phase). *lease_ends_ms* is the end, by the authority's
    clock, of the lease that a settlement should not come after. An argument `client` sends the request elsewhere than
    to the authority.
    """

    __slots__ = ("arguments", "lease_ends_ms", "operation", "within")

    def __init__(
        self,
        operation: Operation[S],
        *,
        within: float | None = None,
        lease_ends_ms: int | None = None,
        **arguments: Any,
    ) -> None:
        self.operation: Final = operation
        self.within: Final = within
        self.lease_ends_ms: Final = lease_ends_ms
        self.arguments: Final[Mapping[str, Any]] = arguments

    def __iter__(self) -> Generator[Effect[Any], Any, Answer[S]]:
        answer: Answer[S] = yield self
        return agreed(self.operation, self.arguments, answer)

    def __repr__(self) -> str:
        return f"Call({self.operation.name})"


class Sleep(Effect[None]):
    """Wait for *seconds*."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds: Final = seconds


class Now(Effect[float]):
    """Return a monotonic time in seconds."""

    __slots__ = ()


class Jitter(Effect[float]):
    """Return a random number in [0, 1)."""

    __slots__ = ()


class NewKey(Effect[str]):
    """Return a fresh idempotency key."""

    __slots__ = ()


class Clock(Effect[int]):
    """Return the time of day in milliseconds since the epoch; records that outlive the process count from it."""

    __slots__ = ()


class Record(Effect[bool]):
    """Keep *pending* durably, before the first request that settles it leaves; return whether that worked.

    While its *claim* is active, nothing else in this process settles it.
    """

    __slots__ = ("claim", "pending")

    def __init__(self, pending: Pending, claim: Claim | None = None) -> None:
        self.pending: Final = pending
        self.claim: Final = claim


class Ready(Effect[bool]):
    """Return whether a record could be kept now; what would be lost otherwise must not begin."""

    __slots__ = ()


class Forget(Effect[None]):
    """Drop the record of *pending*: it is settled, or given up. Keep it aside with the *refusal*, if there is one.

    A refusal is what the authority said: status, code and message.
    """

    __slots__ = ("pending", "refusal")

    def __init__(self, pending: Pending, refusal: Mapping[str, Any] | None = None) -> None:
        self.pending: Final = pending
        self.refusal: Final = refusal


class Queue(Protocol):
    """Records that wait to be settled."""

    def take(self) -> tuple[Pending, Claim] | None:
        """Return the next record, claimed; None when there is none."""
        ...


class Take(Effect["tuple[Pending, Claim] | None"]):
    """Return the next record of *queue*, claimed; None when there is none."""

    __slots__ = ("queue",)

    def __init__(self, queue: Queue) -> None:
        self.queue: Final = queue


class Tell(Effect[None]):
    """Tell the program (`on_settlement`) what became of a spend."""

    __slots__ = ("details",)

    def __init__(self, details: SettlementDetails) -> None:
        self.details: Final = details


class Notify(Effect[None]):
    """Report to the log and to telemetry that *event* happened, with these *facts* (never a secret)."""

    __slots__ = ("event", "facts")

    def __init__(self, event: str, facts: Mapping[str, Any]) -> None:
        self.event: Final = event
        self.facts: Final = facts
