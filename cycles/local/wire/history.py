"""The last requests and runtime events of an authority, for tests to look at.

To remember one is an append; only reading takes it apart. API keys are not kept.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from attrs import frozen

from cycles._outside.forks import renewed_in_forks
from cycles.local.ledger.notices import RuntimeEvent
from cycles.local.wire.clock import moment
from cycles.local.wire.messages import Request, encoded
from cycles.local.wire.routes import operation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cycles.local.ledger.notices import Notice, Origin
    from cycles.local.wire.messages import Response

T = TypeVar("T")

_SECRETS: Final = frozenset({"key_secret", "api_key", "secret"})


@frozen
class RecordedRequest:
    """A request to an authority, and its answer.

    Attributes:
        operation: reserve, commit, release, extend, decide, event, reservation, reservations,
            balances, …; None for the administration, and for a path without a route.
        method, path: As they came.
        parameters: The parameters of the query.
        tenant: The tenant of the API key; None without a key, or with the administrator's.
        body: The JSON that was sent; None when there was none, or it could not be read.
        idempotency_key: The idempotency key in the body.
        status: HTTP status of the answer; None when an injected fault kept the request from the authority, and
            answered nothing itself.
        answer: The JSON that was answered; None when there was none.
        at_ms: Milliseconds since the epoch, by the authority's clock.
        fault: The injected fault that hit it ("lost response", …); None without one.

    Example:
        ```python
        from cycles import usd
        from cycles.local import LocalAuthority

        authority = LocalAuthority()
        authority.budget("tenant:acme", usd("1.00"))
        with authority.client(tenant="acme") as client:
            client.reserve(usd("0.05"), action=("tool.search", "web")).release()
        for request in authority.requests:
            print(request.operation, request.status)
        ```
    """

    operation: str | None
    method: str
    path: str
    parameters: dict[str, str]
    tenant: str | None
    body: Any
    idempotency_key: str | None
    status: int | None
    answer: Any
    at_ms: int
    fault: str | None = None


class Log(Sequence[T], Generic[T]):
    """The last items of one kind, oldest first; it grows up to its bound, and then drops the oldest.

    Args:
        bound: How many are kept.
        read: Makes of what was kept what is shown.
    """

    def __init__(self, bound: int, read: Callable[[Any], T]) -> None:
        self._lock = threading.Lock()
        self._kept: Final[deque[Any]] = deque(maxlen=bound)
        self._read: Final = read
        renewed_in_forks(self)

    def forked(self) -> None:
        """Begin with a lock of its own in a forked child."""
        self._lock = threading.Lock()

    def append(self, item: Any) -> None:
        with self._lock:
            self._kept.append(item)

    def clear(self) -> None:
        """Forget what is there, so that only what happens next is shown."""
        with self._lock:
            self._kept.clear()

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self._read(item) for item in self._snapshot()[index]]
        with self._lock:
            item = self._kept[index]
        return self._read(item)

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[T]:
        return map(self._read, self._snapshot())

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Log | list | tuple) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        shown = ", ".join(repr(item) for item in islice(self, 20))
        return f"[{shown}, … {len(self)} in all]" if len(self) > 20 else f"[{shown}]"

    def _snapshot(self) -> list[Any]:
        with self._lock:
            return list(self._kept)


class History:
    """The last requests and runtime events of one authority.

    Args:
        bound: How many of each are kept.
    """

    __slots__ = ("events", "requests")

    def __init__(self, bound: int) -> None:
        self.requests: Final[Log[RecordedRequest]] = Log(bound, _recorded)
        self.events: Final[Log[RuntimeEvent]] = Log(bound, _published)

    def add(self, request: Request, response: Response | None, at_ms: int, fault: str | None = None) -> None:
        """Remember *request* without its headers, which have the key, and *response* without a new key's secret."""
        if response is not None and b'"key_secret"' in response.body:
            response = response._replace(body=encoded(_json(response.body)))
        self.requests.append((request.method, request.path, request.query, request.body, response, at_ms, fault))

    def publish(self, notices: list[Notice], origin: Origin | None) -> None:
        """Remember what a transaction did, now that it has committed."""
        for notice in notices:
            self.events.append((f"evt_{secrets.token_hex(8)}", notice, origin))


def _recorded(kept: tuple[str, str, str, bytes, Response | None, int, str | None]) -> RecordedRequest:
    method, path, query, content, response, at_ms, fault = kept
    request = Request(method, path, query, {}, content)
    body = _json(content)
    key = body.get("idempotency_key") if isinstance(body, dict) else None
    return RecordedRequest(
        operation=operation_of(request),
        method=method,
        path=path,
        parameters=request.parameters(),
        tenant=None if response is None else dict(response.headers).get("x-cycles-tenant"),
        body=body,
        idempotency_key=key if isinstance(key, str) else None,
        status=None if response is None else response.status,
        answer=None if response is None else _json(response.body),
        at_ms=at_ms,
        fault=fault,
    )


def _published(kept: tuple[str, Notice, Origin | None]) -> RuntimeEvent:
    event_id, notice, origin = kept
    if notice.type == "reservation.expired":
        origin = None  # that of the request which happened to come next
    return RuntimeEvent(
        event_id=event_id,
        type=notice.type,
        category=notice.type.partition(".")[0],
        timestamp=moment(notice.at_ms),
        tenant_id=notice.tenant,
        scope=notice.scope,
        source="cycles.local",
        actor={"type": "system" if origin is None else origin.actor},
        data=notice.data,
        request_id=None if origin is None else origin.request_id,
        trace_id=None if origin is None else origin.trace_id,
    )


def _json(content: bytes) -> Any:
    try:
        return _without_secrets(json.loads(content))
    except (ValueError, RecursionError):
        return None


def _without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: "***" if name in _SECRETS else _without_secrets(inner) for name, inner in value.items()}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value
