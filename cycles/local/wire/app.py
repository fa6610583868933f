"""The runtime plane without sockets: `App.handle` turns a request into a response.

A request is checked in this order: key, route, body, path, subject, header, tenant, and then the ledger. The first two
are here; the rest is each operation's: `operations`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from cycles._outside.arrivals import arrived
from cycles.local.ledger.remedies import with_detail
from cycles.local.ledger.values import Refusal
from cycles.local.store.hurry import HURRY, at_once, patiently
from cycles.local.wire import auth
from cycles.local.wire.links import Links
from cycles.local.wire.messages import Response, encoded, new_id, trace_id_of
from cycles.local.wire.operations import Asked, Operations
from cycles.local.wire.routes import OPERATIONS, operation_of, routes_of
from cycles.local.wire.session_keys import SessionKeys
from cycles.local.wire.trust import Keys, Outdated

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local.wire.evidence import Evidence
    from cycles.local.wire.fault_kinds import Spoilt
    from cycles.local.wire.faults import Fault, Faults
    from cycles.local.wire.history import History
    from cycles.local.wire.messages import Request
    from cycles.local.wire.routes import Route
    from cycles.local.wire.transactions import Transactions
    from cycles.local.wire.trust import Trusted

Body = dict[str, Any]

SHORT: Final = 16 * 1024
"""Bytes of a body that is read and kept in no time."""

_log: Final = logging.getLogger("cycles.local")

_ANSWERS: Final[dict[str, Callable[[Operations, Asked], tuple[int, Body]]]] = {
    name: getattr(Operations, name) for name in OPERATIONS
}
"""The method that answers each operation."""


class Administration(Protocol):
    """The administration's paths, which have routes and checks of their own."""

    def takes(self, path: str) -> bool:
        """Whether *path* is one of the administration's, whether it leads anywhere or not."""
        ...

    def answered(
        self, request: Request, segments: list[str], headers: list[tuple[str, str]], request_id: str, trace_id: str
    ) -> tuple[int, Body]:
        """Answer *request*, or refuse it; headers of the answer are added to *headers*."""
        ...


class App:
    """The runtime plane of the protocol on a store, and the way to its administration.

    Args:
        transactions: The transactions of requests on the ledger's rows.
        administration: Answers the administration's paths.
        admin_hash: The hash of the administrator's key; None: there is no administrator over HTTP.
        history: Remembers requests; None: nothing does.
        faults: The faults that a test has declared.
        signing: Signs answers; None: nothing does.

    Attributes:
        session_keys: Keys that are good in this process only; no file has them.
        links: Links to the page that were not opened yet.
        operations: What a known route with a good key leads to.
    """

    def __init__(
        self,
        transactions: Transactions,
        administration: Administration,
        *,
        admin_hash: str | None,
        history: History | None,
        faults: Faults,
        signing: Evidence | None = None,
    ) -> None:
        self.transactions: Final = transactions
        self.faults: Final = faults
        self.signing: Final = signing
        self.session_keys: Final = SessionKeys()
        self.links: Final = Links()
        self._store: Final = transactions.store
        self._keys: Final = Keys(transactions.store, self.session_keys)
        self.operations: Final = Operations(transactions, self._keys, self.session_keys, self.links, signing)
        self._administration: Final = administration
        self._admin_hash: Final = admin_hash
        self._history: Final = history

    @property
    def is_memory(self) -> bool:
        """Whether no answer waits for a disk."""
        return self._store.is_memory

    @property
    def clock(self) -> Callable[[], int]:
        """The clock, which gives milliseconds since the epoch."""
        return self.transactions.clock

    def handle(self, request: Request) -> Response:
        """Answer *request*; whatever goes wrong is an answer too."""
        return patiently(lambda: self._kept(request)) if HURRY.is_on else self._kept(request)

    def _kept(self, request: Request) -> Response:
        """Answer *request*, and remember it."""
        response = self._handled(request)
        if self._history is not None:
            self._history.add(request, response, self.transactions.clock())
        return response

    def handle_at_once(self, request: Request) -> Response | None:
        """Answer *request* where that takes no longer than in memory, as an event loop needs it; None: use a thread.

        Lists may be long, and so may what an operator changes; a database is at the other end of a network.
        """
        if self._store.is_memory:
            return self.handle(request)
        is_short = request.method == "POST" and len(request.body) <= SHORT
        if self._store.path is None or not is_short or self._administration.takes(request.path):
            return None
        return at_once(lambda: self._kept(request))

    def fault_of(self, request: Request) -> Fault | None:
        """Return the injected fault of *request*, if any; the caller then uses `handle_badly`."""
        return self.faults.next(operation_of(request)) if self.faults else None

    def handle_badly(self, request: Request, fault: Fault) -> Spoilt:
        """Answer *request*, or not, as *fault* says."""
        spoilt = fault.spoil(self._handled, request)
        if self._history is not None:
            self._history.add(request, spoilt.response, self.transactions.clock(), fault.kind)
        return spoilt

    def _handled(self, request: Request) -> Response:
        request_id, trace_id = new_id(), trace_id_of(request.headers)
        headers = [
            ("content-type", "application/json"),
            ("x-request-id", request_id),
            ("x-cycles-trace-id", trace_id),
        ]
        if request.path.startswith("/v1/"):
            headers += [("x-ratelimit-remaining", "-1"), ("x-ratelimit-reset", "0")]
        try:
            status, body = self._answered(request, headers, request_id, trace_id)
        except Refusal as refusal:
            runtime = not self._administration.takes(request.path)
            status, body = refusal.status, _error_body(refusal, request_id, trace_id, runtime=runtime)
            after_ms = (refusal.details or {}).get("retry_after_ms")
            if after_ms is not None:
                headers.append(("retry-after", str(-(-after_ms // 1000))))
            if runtime and self.signing is not None:
                tenant = dict(headers).get("x-cycles-tenant")
                body = self.signing.with_error(self.transactions, request, tenant, status, body)
        except Exception as error:  # an answer too: transports need not know what can go wrong here
            if arrived(error) is not None:
                raise  # the caller's own, in whose thread this runs; the transaction is undone
            _log.exception("request %s failed", request_id)
            status, body = 500, _error_body(self._internal(error), request_id, trace_id)
        return Response(status, headers, encoded(body))

    def _answered(
        self, request: Request, headers: list[tuple[str, str]], request_id: str, trace_id: str
    ) -> tuple[int, Body]:
        segments = request.segments()
        if self._administration.takes(request.path):
            return self._administration.answered(request, segments, headers, request_id, trace_id)
        routes = routes_of(request.path, segments)
        route = None if routes is None else routes.get(request.method)
        tenant, trusted, first = None, None, len(headers)
        if route is None or not route.public:
            tenant, trusted = self._authenticated(request, route)
            if tenant is not None:
                headers.append(("x-cycles-tenant", tenant))
        if routes is None:
            raise Refusal(404, "NOT_FOUND", f"no such path: {request.path}")
        if route is None:
            headers.append(("allow", ", ".join(routes)))
            raise Refusal(405, "INVALID_REQUEST", f"{request.path} takes {' or '.join(routes)}, not {request.method}")
        try:
            return _ANSWERS[route.operation](
                self.operations, Asked(request, segments, tenant, request_id, trace_id, trusted)
            )
        except Outdated:
            pass
        except Refusal:
            if trusted is None or trusted.is_confirmed or self._keys.are_still(trusted):
                raise
        del headers[first:]
        return self._answered(request, headers, request_id, trace_id)

    def _authenticated(self, request: Request, route: Route | None) -> tuple[str | None, Trusted | None]:
        """Return the key's tenant, None for the administrator, and what of it is still to be confirmed."""
        if route is not None and route.admin and auth.is_administrator(request, self._admin_hash):
            return None, None
        secret, clock = auth.tenant_key(request), self.transactions.clock
        trusted = self._keys.trusted(secret) if route is not None and route.writes else None
        if trusted is not None and auth.trouble_with(trusted.credential, clock) is None:
            return trusted.credential.tenant, trusted
        found = auth.admitted(self._keys.looked_up(secret), clock, 401)
        self._keys.trust(secret, found)
        return found.tenant, None

    def _internal(self, error: Exception) -> Refusal:
        if self._store.is_busy(error):
            return Refusal(500, "INTERNAL_ERROR", "the ledger is busy: ask again with the same idempotency key")
        trouble = self._store.trouble(error)
        if trouble is not None:
            return Refusal(500, "INTERNAL_ERROR", f"the ledger can't be used: {trouble}")
        return Refusal(500, "INTERNAL_ERROR", f"the authority failed ({type(error).__name__}); its log says more")

    def __repr__(self) -> str:
        return f"<App on {self._store!r}>"


def _error_body(refusal: Refusal, request_id: str, trace_id: str, *, runtime: bool = True) -> Body:
    body: Body = {
        "error": refusal.code,
        "message": refusal.message,
        "request_id": request_id,
        "trace_id": trace_id,
    }
    details = with_detail(refusal) if runtime else refusal.details
    if details is not None:
        body["details"] = details
    return body
