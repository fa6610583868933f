"""One tool call of an agent: reserved before it runs, settled after it, and run once however often it is replayed.

Frameworks replay tool calls: a run goes on from a checkpoint, a node is retried, a task is delivered twice. A call's
idempotency key follows from its run and its id, so each replay asks under the same key. But the authority answers the
same request with the same grant, and a guard would run its section again. So each attempt puts a mark of its own into
the request: that makes it another request under the same key, which the authority refuses, however many ask at once.

    first attempt     reserve key K, mark a  ->  granted, runs, charged
    replay            reserve key K, mark b  ->  409 IDEMPOTENCY_MISMATCH: K's reservation tells what became of it

An attempt that raised has released its reservation, and was not charged. To try again is what its framework wants
then: the next attempt takes the next key of the call, which follows from the first.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from cycles._client.defaults import Defaults
from cycles._client.opened_section import surrounding
from cycles._client.options import Levels
from cycles._client.running_limit import OpenedLimit, RunningLimit
from cycles._core.lifecycle import State
from cycles.client import DEFAULTS, AsyncClient, Client
from cycles.errors import CyclesError, Denied, IdempotencyMismatch, InvalidRequest
from cycles.guard import Guard
from cycles_api.models.reservation_status import ReservationStatus
from cycles_api.types import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from datetime import timedelta
    from decimal import Decimal
    from typing import Unpack

    from cycles._core.section_flows import OnError
    from cycles.reservation import AsyncReservation, Reservation
    from cycles_api.models.amount import Amount
    from cycles_api.models.commit_overage_policy import CommitOveragePolicy
    from cycles_api.models.reservation_summary import ReservationSummary

_MOST_ATTEMPTS: Final = 100
"""Attempts of one call that may have failed; then something is wrong with the tool, and the call is refused."""


class ToolCallReplayed(CyclesError):
    """A tool call has begun before, and was not run again: its side effect may have happened.

    Attributes:
        tool: The tool's name.
        state: What became of the first: COMMITTED (it ended well), ACTIVE (it is still running, or its process died a
            short while ago), EXPIRED (its process died), or None when it is not known.
        reservation_id: The first one's reservation, or None.
    """

    remedy = "look up what it did, and give the run its result; a new tool call runs as always"

    def __init__(self, message: str, *, tool: str, state: str | None, reservation_id: str | None, **said: Any) -> None:
        super().__init__(message, code="TOOL_CALL_REPLAYED", **said)
        self.tool = tool
        self.state = state
        self.reservation_id = reservation_id


class ToolOptions(Levels, total=False):
    """The fields of a `Guard` that a tool's calls may have of their own."""

    action: tuple[str, str]
    """(kind, name); ("tool.call", the tool's name) when left out."""
    actual: Amount | Decimal | Callable[[Any], Amount | Decimal | None] | None
    """What a call that ended well has cost; the estimate when left out. A report of the tool goes before a constant."""
    dimensions: Mapping[str, str] | None
    """At most 16 further labels; they choose no budget."""
    ttl: float | timedelta | None
    """Seconds that the lease lasts, 1 to 86400 (default 60); it is kept while the tool runs."""
    grace_period: float | timedelta | None
    """Seconds after the lease in which a commit is still accepted, 0 to 60; None for the authority's default."""
    overage_policy: CommitOveragePolicy | str | None
    """What a charge above the estimate does (docs/protocol.md, Overage policies); None for the authority's default."""
    metadata: Mapping[str, Any] | None
    """JSON values to keep with each reservation."""
    tags: Sequence[str] | None
    """At most 10 labels of the action, of at most 64 characters."""
    wait: float | timedelta
    """Seconds to keep asking while denied or throttled; 0 (default) asks once."""
    on_error: OnError | Callable[[BaseException], Amount | Decimal | None]
    """What a call that raised has cost: nothing ("release", the default: a replay runs it again), or see `Guard`."""
    raise_on_unsettled: bool
    """Whether a call raises when its charge could not be confirmed (default: False)."""
    own: bool
    """Whether calls are reserved at the authority even inside a `Limit` (default: False)."""


def tool_call_key(run_id: str, call_id: str, attempt: int = 0) -> str:
    """Return the idempotency key of a tool call: the same in each process, and of 1 to 256 characters for any ids.

    Args:
        run_id: What names the run when it is replayed, too: a thread, a conversation, a job.
        call_id: What names the call within it.
        attempt: How many attempts have failed before.
    """
    named = json.dumps([run_id, call_id])
    return f"tool-call-{hashlib.sha256(named.encode()).hexdigest()}{f'.{attempt}' if attempt else ''}"


def authority_of(client: Client | AsyncClient | None) -> Defaults[Client, AsyncClient]:
    """Return the clients of the authority that *client* stands for: it and its twin; the default ones for None.

    Raises:
        InvalidRequest: it is no client.
    """
    if client is None:
        return DEFAULTS
    if not isinstance(client, Client | AsyncClient):
        raise InvalidRequest(f"client={client!r}: give a cycles.Client or AsyncClient")
    authority = Defaults(Client, AsyncClient)
    authority.configure(client)
    return authority


class ToolCall:
    """One call of a tool, as a section: `with call.running() as reservation:`, or `async with call.arunning()`.

    Args:
        tool: The tool's name. Where the granted caps don't allow it, the call is `Denied` (TOOL_DENIED).
        estimate: The most that the call costs.
        run_id, call_id: What names it when it is replayed, too; see `tool_call_key`.
        authority: From `authority_of`.
        **options: Fields of a `Guard`; see `ToolOptions`.
    """

    def __init__(
        self,
        tool: str,
        estimate: Amount,
        *,
        run_id: str,
        call_id: str,
        authority: Defaults[Client, AsyncClient] = DEFAULTS,
        **options: Unpack[ToolOptions],
    ) -> None:
        self._tool: Final = tool
        self._estimate: Final = estimate
        self._run_id: Final = run_id
        self._call_id: Final = call_id
        self._authority: Final = authority
        fields: dict[str, Any] = {"action": ("tool.call", tool[:256] or "unnamed"), "actual": estimate, **options}
        named = {"run_id": _printable(run_id), "call_id": _printable(call_id), "attempt": uuid.uuid4().hex}
        fields["metadata"] = {**(fields.get("metadata") or {}), "tool_call": named}
        self._fields: Final = fields

    # -- running -------------------------------------------------------------------------------------------------------
    @contextmanager
    def running(self) -> Iterator[Reservation]:
        """Reserve, and settle at the end of the with-block.

        Raises:
            Denied: the authority, or a limit, said no.
            ToolCallReplayed: the call has begun before.
        """
        client = self._authority.client()
        with ExitStack() as stack:
            begun = stack.enter_context(self._first_in_limit())
            for attempt in range(_MOST_ATTEMPTS):
                key = tool_call_key(self._run_id, self._call_id, attempt)
                try:
                    reservation = stack.enter_context(self._guard(key, client))
                except IdempotencyMismatch as mismatch:
                    rows = client.reservations(idempotency_key=key, page_size=1, **self._tenant())
                    self._must_have_failed(key, next(iter(rows), None), mismatch)
                    continue
                begun.reservation = reservation
                self._must_be_allowed(reservation)
                yield reservation
                return
            raise self._replayed(None)

    @asynccontextmanager
    async def arunning(self) -> AsyncIterator[AsyncReservation]:
        """The same for asynchronous code; see `running`."""
        client = self._authority.async_client()
        async with AsyncExitStack() as stack:
            begun = stack.enter_context(self._first_in_limit())
            for attempt in range(_MOST_ATTEMPTS):
                key = tool_call_key(self._run_id, self._call_id, attempt)
                try:
                    reservation = await stack.enter_async_context(self._guard(key, client))
                except IdempotencyMismatch as mismatch:
                    rows = client.reservations(idempotency_key=key, page_size=1, **self._tenant())
                    self._must_have_failed(key, await anext(aiter(rows), None), mismatch)
                    continue
                begun.reservation = reservation
                self._must_be_allowed(reservation)
                yield reservation
                return
            raise self._replayed(None)

    def _guard(self, key: str, client: Client | AsyncClient) -> Guard:
        return Guard(self._estimate, idempotency_key=key, client=client, **self._fields)

    def _tenant(self) -> dict[str, Any]:
        tenant = self._fields.get("tenant", UNSET)
        return {} if isinstance(tenant, Unset) or tenant is None else {"tenant": tenant}

    def _must_have_failed(self, key: str, row: ReservationSummary | None, mismatch: IdempotencyMismatch) -> None:
        """Return if the attempt under *key* is known to have run nothing that counts: it was denied, or it raised."""
        if row is None:
            return
        is_its = row.idempotency_key == key
        if is_its and row.status == ReservationStatus.RELEASED:
            return
        raise self._replayed(row if is_its else None) from mismatch

    def _replayed(self, row: ReservationSummary | None) -> ToolCallReplayed:
        state = None if row is None else str(row.status)
        told = "" if state is None else f" (its reservation is {state})"
        return ToolCallReplayed(
            f"tool call {_printable(self._call_id)!r} of {self._tool!r} has begun before{told}, and is not run again",
            tool=self._tool,
            state=state,
            reservation_id=None if row is None else row.reservation_id,
        )

    def _must_be_allowed(self, reservation: Reservation | AsyncReservation) -> None:
        """Refuse a tool that the granted caps don't allow; the reservation is released by the exception."""
        if not reservation.allows_tool(self._tool):
            raise Denied(
                f"the caps at {reservation.scope_path} don't allow the tool {self._tool!r}", code="TOOL_DENIED"
            )

    # -- inside a limit, where no authority is asked -------------------------------------------------------------------
    @contextmanager
    def _first_in_limit(self) -> Iterator[_Begun]:
        """Let the call begin once in the run of the limit around it, if there is one."""
        limit, begun = _outermost_limit(), _Begun()
        calls = {} if limit is None else _begun_in.setdefault(limit, {})
        key = tool_call_key(self._run_id, self._call_id)
        if calls.setdefault(key, begun) is not begun:
            raise self._replayed(None)
        try:
            yield begun
        except BaseException:
            if not begun.is_charged:
                calls.pop(key, None)
            raise


class _Begun:
    """A call that began."""

    def __init__(self) -> None:
        self.reservation: Reservation | AsyncReservation | None = None

    @property
    def is_charged(self) -> bool:
        return self.reservation is not None and self.reservation.state is not State.RELEASED


_begun_in: Final[WeakKeyDictionary[RunningLimit, dict[str, _Begun]]] = WeakKeyDictionary()
"""The calls that have begun in each limit that runs in this process."""


def _outermost_limit() -> RunningLimit | None:
    found, limit = surrounding(), None
    while found is not None:
        if isinstance(found, OpenedLimit):
            limit = found.limit
        found = found.outer
    return limit


def _printable(text: str) -> str:
    """Return *text* as metadata and messages take it."""
    return text[:128].encode(errors="replace").decode()
