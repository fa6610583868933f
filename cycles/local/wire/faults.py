"""Faults that a test declares for its authority, in the simulator's words; requests use them up one by one.

    authority.faults.lose_response(operation="commit")          # the next commit is done, and its answer lost
    authority.faults.fail(503, nth=2, times=3)                  # requests 2, 3 and 4 from now are answered 503
    with authority.faults.refuse_connection(times=None):        # an outage, as long as the block

Each request goes through the faults in the order in which they were declared. A fault that is not due yet counts the
request; the first fault that is due hits it, and later faults do not see it. So two faults of one operation follow each
other, and a run of the same requests has the same faults.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from cycles._outside.forks import renewed_in_forks
from cycles.errors import InvalidRequest
from cycles.local.wire.clock import span_ms
from cycles.local.wire.fault_kinds import FaultKind, failure, spoilt
from cycles.local.wire.routes import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from types import TracebackType
    from typing import Self

    from cycles.local.wire.fault_kinds import Spoilt
    from cycles.local.wire.messages import Request, Response


class Fault:
    """One declared fault; as a with-block it lasts no longer than the block.

    Attributes:
        kind: How it makes a request go wrong.
        operation: The operation whose requests it hits; None: any.
        happened: How many requests it has hit.
        seconds: How long a delay lasts.

    Example:
        ```python
        from cycles import usd
        from cycles.local import LocalAuthority

        authority = LocalAuthority()
        authority.budget("tenant:acme", usd("1.00"))
        with authority.faults.lose_response(operation="commit") as lost, authority.client(tenant="acme") as client:
            client.reserve(usd("0.05"), action=("tool.search", "web")).commit(usd("0.02"))
        assert lost.happened == 1
        ```
    """

    def __init__(
        self,
        owner: Faults,
        kind: FaultKind,
        *,
        operation: str | None,
        nth: int,
        times: int | None,
        answer: Response | None,
        seconds: float,
    ) -> None:
        self.kind: Final = kind
        self.operation: Final = operation
        self.happened = 0
        self.seconds: Final = seconds
        self._owner: Final = owner
        self._ahead = nth - 1
        self._left = times
        self._answer: Final = answer

    @property
    def left(self) -> int | None:
        """How many more requests it will hit; None: no end."""
        return self._left

    def cancel(self) -> None:
        """End this fault: it hits no more requests.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                outage = authority.faults.fail(503, times=None)
                outage.cancel()
                assert not authority.faults.pending
            ```
        """
        self._owner.remove(self)

    def meets(self, operation: str | None) -> bool:
        """Whether it hits this request; otherwise it counts the request. Called under its owner's lock."""
        if self.operation is not None and self.operation != operation:
            return False
        if self._ahead > 0:
            self._ahead -= 1
            return False
        self.happened += 1
        if self._left is not None:
            self._left -= 1
        return True

    def spoil(self, handle: Callable[[Request], Response], request: Request) -> Spoilt:
        """Answer *request*, or not, as this fault says."""
        return spoilt(self.kind, self._answer, handle, request)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def __repr__(self) -> str:
        left = "for ever" if self._left is None else f"{self._left} left"
        after = f" after {self._ahead} more" if self._ahead else ""
        return (
            f"<Fault {str(self.kind)!r} of {self.operation or 'any request'}{after}, {left}, {self.happened} happened>"
        )


class Faults:
    """The faults of one authority; safe between threads.

    Each method for a kind of fault declares one and returns it. These methods share three arguments: `operation`, whose
    requests the fault hits ("reserve", "commit", "release", "extend", "decide", "event", "reservation", "reservations",
    "balances"; None: any); `nth`, the first of them that it hits (1: the next); and `times`, how many it hits from
    there on (None: all).

    Example:
        ```python
        from cycles import usd
        from cycles.local import LocalAuthority

        authority = LocalAuthority()
        authority.budget("tenant:acme", usd("1.00"))
        authority.faults.lose_response(operation="commit")
        with authority.client(tenant="acme") as client:
            client.reserve(usd("0.05"), action=("tool.search", "web")).commit(usd("0.02"))  # sent twice, charged once
        assert not authority.faults.pending
        ```
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._declared: list[Fault] = []
        renewed_in_forks(self)

    def forked(self) -> None:
        """Begin with a lock of its own in a forked child."""
        self._lock = threading.Lock()

    # -- the vocabulary ------------------------------------------------------------------------------------------------
    def refuse_connection(self, *, operation: str | None = None, nth: int = 1, times: int | None = 1) -> Fault:
        """Refuse the connection: `httpx.ConnectError`; over HTTP cut it instead.

        Example:
            ```python
            import cycles
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                with authority.client(tenant="acme") as client, authority.faults.refuse_connection(times=None):
                    try:
                        client.reserve(usd("0.05"), action=("tool.search", "web"))
                    except cycles.AuthorityUnavailable:
                        print("nobody is there")
            ```
        """
        return self._declare(FaultKind.CONNECT_REFUSED, operation=operation, nth=nth, times=times)

    def lose_request(self, *, operation: str | None = None, nth: int = 1, times: int | None = 1) -> Fault:
        """Lose the request: `httpx.ReadTimeout`, and nothing is done.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                authority.faults.lose_request(operation="reserve")
                with authority.client(tenant="acme") as client:
                    reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))  # sent twice
                    reservation.release()
            ```
        """
        return self._declare(FaultKind.LOST_REQUEST, operation=operation, nth=nth, times=times)

    def lose_response(self, *, operation: str | None = None, nth: int = 1, times: int | None = 1) -> Fault:
        """Do what the request asks, and lose the answer: `httpx.ReadTimeout`.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                authority.faults.lose_response(operation="reserve")
                with authority.client(tenant="acme") as client:
                    reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))  # sent twice, held once
                    reservation.release()
            ```
        """
        return self._declare(FaultKind.LOST_RESPONSE, operation=operation, nth=nth, times=times)

    def fail(
        self,
        status: int = 503,
        *,
        after_effect: bool = False,
        operation: str | None = None,
        nth: int = 1,
        times: int | None = 1,
    ) -> Fault:
        """Answer with a 5xx.

        Args:
            status: 500 to 599.
            after_effect: Whether the request is carried out all the same.
            operation, nth, times: See `Faults`.

        Raises:
            InvalidRequest: naming the argument.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                authority.faults.fail(503, operation="reserve", after_effect=True)
                with authority.client(tenant="acme") as client:
                    reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))  # sent twice, held once
                    reservation.release()
            ```
        """
        if type(status) is not int or not 500 <= status <= 599:
            raise InvalidRequest(f"status={status!r}: give 500 to 599; throttle() answers 429")
        kind = FaultKind.ERROR_AFTER if after_effect else FaultKind.ERROR_BEFORE
        return self._declare(
            kind, operation=operation, nth=nth, times=times, answer=failure(status, "INTERNAL_ERROR", kind)
        )

    def throttle(
        self,
        *,
        retry_after: int | None = 1,
        operation: str | None = None,
        nth: int = 1,
        times: int | None = 1,
    ) -> Fault:
        """Answer 429; nothing is done.

        Args:
            retry_after: Whole seconds in the Retry-After header, 0 or more; None: no such header.
            operation, nth, times: See `Faults`.

        Raises:
            InvalidRequest: naming the argument.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                authority.faults.throttle(retry_after=0, operation="commit")
                with authority.client(tenant="acme") as client:
                    reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))
                    reservation.commit(usd("0.02"))  # sent again at once
            ```
        """
        if retry_after is not None and (type(retry_after) is not int or retry_after < 0):
            raise InvalidRequest(f"retry_after={retry_after!r}: give whole seconds from 0 on, or None")
        kind = FaultKind.THROTTLED_SILENT if retry_after is None else FaultKind.THROTTLED
        answer = failure(429, "LIMIT_EXCEEDED", kind)
        if retry_after is not None:
            answer.headers.append(("retry-after", str(retry_after)))
        return self._declare(kind, operation=operation, nth=nth, times=times, answer=answer)

    def malform(self, *, operation: str | None = None, nth: int = 1, times: int | None = 1) -> Fault:
        """Do what the request asks, and cut the body of a success in half; a refusal stays as it is.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.budget("tenant:acme", usd("1.00"))
                authority.faults.malform(operation="reserve")
                with authority.client(tenant="acme") as client:
                    reservation = client.reserve(usd("0.05"), action=("tool.search", "web"))  # sent twice, held once
                    reservation.release()
            ```
        """
        return self._declare(FaultKind.MALFORMED, operation=operation, nth=nth, times=times)

    def delay(
        self, by: float | timedelta, *, operation: str | None = None, nth: int = 1, times: int | None = 1
    ) -> Fault:
        """Delay the request, and then do what it asks.

        A `ManualClock` is advanced without waiting; with the machine's clock the caller waits. In process, a client
        with a shorter read timeout gets an `httpx.ReadTimeout`.

        Args:
            by: Seconds, or a timedelta.
            operation, nth, times: See `Faults`.

        Raises:
            InvalidRequest: naming the argument.

        Example:
            ```python
            from cycles import usd
            from cycles.local import LocalAuthority, ManualClock

            with LocalAuthority(clock=ManualClock()) as authority:
                authority.budget("tenant:acme", usd("1.00"))
                authority.faults.delay(30, operation="reserve")
                with authority.client(tenant="acme") as client:
                    client.reserve(usd("0.05"), action=("tool.search", "web")).release()  # asked again
            ```
        """
        seconds = span_ms("by", by) / 1000
        return self._declare(FaultKind.DELAYED, operation=operation, nth=nth, times=times, seconds=seconds)

    # -- keeping them --------------------------------------------------------------------------------------------------
    @property
    def pending(self) -> list[Fault]:
        """Faults that will still hit a request, in order; empty when all have happened."""
        with self._lock:
            return list(self._declared)

    def clear(self) -> None:
        """End all faults.

        Example:
            ```python
            from cycles.local import LocalAuthority

            with LocalAuthority() as authority:
                authority.faults.fail(503, times=None)
                authority.faults.clear()
                assert not authority.faults.pending
            ```
        """
        with self._lock:
            self._declared = []

    def remove(self, fault: Fault) -> None:
        """End *fault*: it hits no more requests."""
        with self._lock:
            self._declared = [declared for declared in self._declared if declared is not fault]

    def __len__(self) -> int:
        return len(self._declared)

    def next(self, operation: str | None) -> Fault | None:
        """Return the fault that hits this request, and use it up; None mostly."""
        with self._lock:
            for fault in self._declared:
                if fault.meets(operation):
                    if fault.left == 0:
                        self._declared.remove(fault)
                    return fault
        return None

    def _declare(
        self,
        kind: FaultKind,
        *,
        operation: str | None,
        nth: int,
        times: int | None,
        answer: Response | None = None,
        seconds: float = 0.0,
    ) -> Fault:
        if operation is not None and operation not in OPERATIONS:
            raise InvalidRequest(f"operation={operation!r}: choose one of {', '.join(sorted(OPERATIONS))}, or None")
        if type(nth) is not int or nth < 1:
            raise InvalidRequest(f"nth={nth!r}: give a whole number from 1 on: 1 is the next request")
        if times is not None and (type(times) is not int or times < 1):
            raise InvalidRequest(f"times={times!r}: give a whole number from 1 on, or None for all that follow")
        fault = Fault(self, kind, operation=operation, nth=nth, times=times, answer=answer, seconds=seconds)
        with self._lock:
            self._declared.append(fault)
        return fault

    def __repr__(self) -> str:
        return f"<Faults {self.pending}>"
