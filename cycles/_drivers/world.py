"""The outside as flows see it: local effects, and responses and exceptions as answers; for both drivers."""

from __future__ import annotations

import importlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from cycles._core.effects import Clock, Effect, Forget, Jitter, NewKey, Notify, Now, Ready, Record, Take, Tell
from cycles._core.operations import EXTEND_RESERVATION
from cycles._core.outcomes import Answer, Trouble
from cycles._drivers.libraries import trouble_of
from cycles._drivers.phases import Phases, PoolTimeout
from cycles._outside.arrivals import arrived
from cycles._telemetry import metrics
from cycles._telemetry.trace import Trace
from cycles.errors import ConfigError, JournalError
from cycles_api import models
from cycles_api.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from types import ModuleType

    from cycles._core.effects import Call
    from cycles._core.records import Claim, Pending
    from cycles._core.results import SettlementDetails
    from cycles._drivers.lanes import Lanes
    from cycles._drivers.threads import Permits
    from cycles_api.client import AuthenticatedClient
    from cycles_api.http import HttpHeaders
    from cycles_api.types import Response

T = TypeVar("T")

_FAILURES: Final = (PoolTimeout, DecodeError, OSError, RuntimeError, ValueError, ImportError)
"""What transports raise besides their library's own: the system's, a client that is closed, no thread to look a name
up, a host that can't be encoded, a module that can't be loaded any more."""

_TRANSPORTS: Final = frozenset(
    (
        "httpx",
        "httpx2",
        "httpcore",
        "httpcore2",
        "h11",
        "h2",
        "hpack",
        "anyio",
        "aiohttp",
        "httpx_aiohttp",
        "socksio",
        "truststore",
    )
)
"""Packages whose exceptions a transport may let through."""

LONGEST_ATTEMPT: Final = 30.0
"""Seconds that one attempt takes at most once it has a connection, however slowly an answer comes in."""

_WORTH_KEEPING: Final = frozenset(
    (
        b"x-request-id",
        b"x-cycles-trace-id",
        b"x-cycles-tenant",
        b"x-ratelimit-remaining",
        b"x-ratelimit-reset",
        b"retry-after",
    )
)
"""Headers that mean something here: a reservation keeps those of its grant."""

_TIMEOUT: Final = Phases(connect=2.0, read=5.0, write=5.0, pool=None)

_modules: Final[dict[str, ModuleType]] = {}


def endpoint(name: str) -> ModuleType:
    """Return the generated endpoint module, imported when first used: its models cost import time."""
    module = _modules.get(name)
    if module is None:
        module = _modules[name] = importlib.import_module(name)
    return module


def _noted(headers: HttpHeaders) -> dict[str, str]:
    """Return what is worth keeping of an answer's headers, by names in lower case."""
    return {
        known.decode("ascii"): value.decode("latin-1")
        for name, value in headers.raw
        if (known := name.lower()) in _WORTH_KEEPING
    }


class Keeper(Protocol):
    """A place that keeps pending settlements: `cycles._journal.journal.Journal`."""

    @property
    def fsync(self) -> bool:
        """Whether each write waits for the disk."""
        ...

    def write(self, pending: Pending, claim: Claim | None = None) -> None:
        """Keep *pending*."""
        ...

    def write_soon(self, pending: Pending, claim: Claim | None) -> Future[None]:
        """Keep *pending*, on another thread."""
        ...

    def report(self, pending: Pending) -> None:
        """Keep what a running section reports."""
        ...

    def forget(self, pending: Pending, refusal: Mapping[str, Any] | None = None) -> None:
        """Drop the record of *pending*; keep it aside with its *refusal*, if there is one."""
        ...

    def check(self) -> None:
        """Raise JournalError when nothing can be kept now."""
        ...

    def failed(self, error: Exception) -> None:
        """Log that something can't be kept."""
        ...


class World:
    """The outside as flows of one client see it.

    Args:
        api: The generated client that requests go through.
        notify: Takes the events that flows report (`_telemetry.log.notify`).
        trace: The trace of its requests; each request has its own when None.
        journal: Keeps pending settlements; they live as long as their section when None.
        tell: Takes the outcome of each spend.
        seen: Takes the headers of each answer that mean something here, by names in lower case.
        timeout: Seconds of each phase of an ordinary request.
        gate: The requests that an event loop has in flight; as many as there are when None.
        lanes: The same for threads.
    """

    __slots__ = ("_notify", "_seen", "api", "gate", "journal", "lanes", "tell", "timeout", "trace")

    def __init__(
        self,
        api: AuthenticatedClient,
        notify: Callable[[str, Mapping[str, Any]], None],
        trace: Trace | None = None,
        *,
        journal: Keeper | None = None,
        tell: Callable[[SettlementDetails], None] | None = None,
        seen: Callable[[Mapping[str, str]], None] | None = None,
        gate: Lanes | None = None,
        lanes: Permits | None = None,
        timeout: Phases = _TIMEOUT,
    ) -> None:
        self.api: Final = api
        self.trace: Final = trace
        self.journal: Final = journal
        self.gate: Lanes | None = gate
        self.lanes = lanes
        self.timeout: Final = timeout
        self._notify: Final = notify
        self.tell: Final = tell
        self._seen: Final = seen

    def traced(self) -> World:
        """Return the same world for one piece of work, whose requests share a trace."""
        return World(
            self.api,
            self._notify,
            Trace(),
            journal=self.journal,
            tell=self.tell,
            seen=self._seen,
            gate=self.gate,
            lanes=self.lanes,
            timeout=self.timeout,
        )

    def headers(self) -> Mapping[str, str]:
        """Return what the next request carries beside the client's own headers."""
        return (self.trace or Trace()).headers()

    def perform(self, effect: Effect[Any]) -> Any:
        """Perform an effect that needs no waiting."""
        if type(effect) is Notify:  # the most of them
            self._notify(effect.event, effect.facts)
            if metrics.API in sys.modules:
                metrics.event(effect.event, effect.facts)
            return None
        perform = _LOCAL.get(type(effect))
        if perform is None:
            raise TypeError(f"not an effect that can be performed here: {effect!r}")
        return perform(self, effect)

    def answered(self, call: Call[Any], response: Response[Any], sent_at: float) -> Answer[Any]:
        """Return the answer to *call* in a complete response."""
        headers = _noted(response.headers)
        if self._seen is not None:
            self._seen(headers)
        failed = isinstance(response.parsed, models.ErrorResponse)
        return _measured(
            call,
            status=response.status_code,
            parsed=None if failed else response.parsed,
            error=response.parsed if failed else None,
            headers=headers,
            sent_at=sent_at,
            content=response.content if call.operation.keeps_body else None,
        )

    def failed(self, call: Call[Any], error: Exception, sent_at: float, *, thrown: bool = True) -> Answer[Any]:
        """Return the answer to *call* that an exception of the transport or the decoder amounts to.

        What a transport raises becomes an answer: an exception here would hide the section's own result. The exception
        itself is dropped, for those of httpx carry the request with its key. All else is the program's, and comes out.

        Args:
            call: What was asked.
            error: What was caught.
            sent_at: Monotonic seconds at which the attempt began.
            thrown: Whether another thread may have thrown it.
        """
        outside = arrived(error, causes=True, thrown=thrown)
        if outside is not None:
            raise outside
        if not isinstance(error, _FAILURES) and type(error).__module__.partition(".")[0] not in _TRANSPORTS:
            raise error
        if isinstance(error, RecursionError) and not (call.operation.settles or call.operation is EXTEND_RESERVATION):
            raise error  # the caller's own stack is too deep, and nothing is running that it could hide
        status, content = None, None
        if isinstance(error, DecodeError):
            trouble, status = Trouble.UNREADABLE, error.status_code
            content = error.content if call.operation.keeps_body else None
        elif isinstance(error, PoolTimeout | ConfigError):
            # The second: connections of another loop or process, which its environment does not let come about.
            trouble = Trouble.NOT_SENT
        else:
            trouble = trouble_of(error) or Trouble.LOST
        text = str(error).replace(self.api.token, "***") if self.api.token else str(error)
        return _measured(
            call,
            status=status,
            trouble=trouble,
            reason=f"{type(error).__name__}: {text}" if text else type(error).__name__,
            sent_at=sent_at,
            content=content,
        )


# -- effects that need no waiting --------------------------------------------------------------------------------------
def _is_ready(world: World, _ready: Ready) -> bool:
    if world.journal is None:
        return False
    try:
        world.journal.check()
    except JournalError as error:
        world.journal.failed(error)
        return False
    return True


def _recorded(world: World, record: Record) -> bool:
    if world.journal is None:
        return False
    try:
        if record.pending.provisional:
            world.journal.report(record.pending)
        else:
            world.journal.write(record.pending, record.claim)
    except (OSError, ValueError, JournalError) as error:  # settlement goes on: the work was done
        if arrived(error) is not None:
            raise
        world.journal.failed(error)
        return False
    return True


def _forgotten(world: World, forget: Forget) -> None:
    if world.journal is not None:
        try:
            world.journal.forget(forget.pending, forget.refusal)
        except (OSError, JournalError) as error:
            if arrived(error) is not None:
                raise
            world.journal.failed(error)


def _told(world: World, tell: Tell) -> None:
    if metrics.API in sys.modules:
        metrics.settled(tell.details)
    if world.tell is not None:
        world.tell(tell.details)


_LOCAL: Final[dict[type[Effect[Any]], Callable[[World, Any], Any]]] = {
    Now: lambda _world, _effect: time.monotonic(),
    NewKey: lambda _world, _effect: os.urandom(16).hex(),
    Jitter: lambda _world, _effect: int.from_bytes(os.urandom(7)) / 2**56,
    Clock: lambda _world, _effect: time.time_ns() // 1_000_000,
    Record: _recorded,
    Ready: _is_ready,
    Forget: _forgotten,
    Take: lambda _world, take: take.queue.take(),
    Tell: _told,
}
"""How each of them is performed, beside `Notify`."""


def _measured(call: Call[Any], *, sent_at: float, **facts: Any) -> Answer[Any]:
    """Return the answer that has just come."""
    answer: Answer[Any] = Answer(sent_at=sent_at, received_at=time.monotonic(), **facts)
    metrics.request(call.operation.name, answer)
    return answer
