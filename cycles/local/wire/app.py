"""The runtime plane without sockets: `App.handle` turns a request into a response.

A request is checked in this order: key, route, body, path, subject, header, tenant, and then the ledger.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from cycles._outside.arrivals import arrived
from cycles.local.ledger import estimates, events, leases, reservations, settlements, touched
from cycles.local.ledger.bodies import hold_body
from cycles.local.ledger.remedies import with_detail
from cycles.local.ledger.values import Refusal
from cycles.local.wire import auth, lists, overview, validation
from cycles.local.wire.charges import Charges
from cycles.local.wire.denials import Denials
from cycles.local.wire.evidence import facts_of
from cycles.local.wire.links import Links
from cycles.local.wire.messages import Response, encoded, new_id, new_row_id, trace_id_of
from cycles.local.wire.routes import OPERATIONS, operation_of, routes_of
from cycles.local.wire.session_keys import SessionKeys
from cycles.local.wire.trust import Keys, Outdated

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local.ledger.touched import Touched
    from cycles.local.ledger.values import Hold
    from cycles.local.store.protocols import StoredBooks
    from cycles.local.wire.evidence import Evidence
    from cycles.local.wire.faults import Fault, Faults, Spoilt
    from cycles.local.wire.history import History
    from cycles.local.wire.messages import Request
    from cycles.local.wire.routes import Route
    from cycles.local.wire.transactions import Transactions
    from cycles.local.wire.trust import Trusted

Body = dict[str, Any]

_log: Final = logging.getLogger("cycles.local")
_EVIDENCE_ID: Final = re.compile(r"[0-9a-f]{64}")
_EVERYTHING: Final = frozenset({"metadata", "committed_metadata"})


class Asked(NamedTuple):
    """A request on its way through the checks; `tenant` is the key's, None the administrator's.

    What `trusted` says of the key is confirmed by the request's transaction; None: it was looked up.
    """

    request: Request
    segments: list[str]
    tenant: str | None
    request_id: str
    trace_id: str
    trusted: Trusted | None


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
        self.denials: Final = Denials()
        self.charges: Final = Charges()
        self.faults: Final = faults
        self.signing: Final = signing
        self.session_keys: Final = SessionKeys()
        self.links: Final = Links()
        self._store: Final = transactions.store
        self._keys: Final = Keys(transactions.store, self.session_keys)
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
        response = self._handled(request)
        if self._history is not None:
            self._history.add(request, response, self.transactions.clock())
        return response

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
            return _ANSWERS[route.operation](self, Asked(request, segments, tenant, request_id, trace_id, trusted))
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

    def _write(
        self, asked: Asked, operation: Callable[[StoredBooks, int], Body], touches: Callable[[], Touched]
    ) -> Body:
        """Run *operation* in one transaction, which first confirms what was said of the key."""
        trusted = asked.trusted
        if trusted is None:
            return self.transactions.write(asked, operation, touches)

        def confirmed(books: StoredBooks, now_ms: int) -> Body:
            trusted.confirm(self._keys, books)
            return operation(books, now_ms)

        return self.transactions.write(asked, confirmed, touches)

    def _internal(self, error: Exception) -> Refusal:
        if self._store.is_busy(error):
            return Refusal(500, "INTERNAL_ERROR", "the ledger is busy: ask again with the same idempotency key")
        return Refusal(500, "INTERNAL_ERROR", f"the authority failed ({type(error).__name__}); its log says more")

    # -- operations ----------------------------------------------------------------------------------------------------
    def _decided(
        self,
        asked: Asked,
        name: str,
        body: Body,
        operation: Callable[[StoredBooks, int], Body],
        touches: Callable[[], Touched],
        *,
        is_signed: bool = False,
    ) -> Body:
        """Run *operation* in one transaction, and remember a denial for the page."""
        if is_signed and self.signing is not None:
            source = f"{name}:{asked.tenant}:{body['idempotency_key']}"
            request = facts_of(body, tenant=asked.tenant)
            operation = self.signing.signing(name, asked, source, request, operation)
        try:
            answer = self._write(asked, operation, touches)
        except Refusal as refusal:
            self.denials.refused(name, asked.tenant or "", body, refusal, self.transactions.clock())
            raise
        if answer.get("decision") == "DENY":
            self.denials.decided(name, asked.tenant or "", body, answer, self.transactions.clock())
        return answer

    def reserve(self, asked: Asked) -> tuple[int, Body]:
        tenant, body = _asked_body(asked, validation.reservation_request)
        return 200, self._decided(
            asked,
            "reserve",
            body,
            lambda books, now: estimates.reserve(books, tenant, body, now_ms=now, new_id=new_row_id(now)),
            lambda: touched.by_reserve(tenant, body),
            is_signed=True,
        )

    def decide(self, asked: Asked) -> tuple[int, Body]:
        tenant, body = _asked_body(asked, validation.decision_request)
        return 200, self._decided(
            asked,
            "decide",
            body,
            lambda books, now: estimates.decide(books, tenant, body, now_ms=now),
            lambda: touched.by_decide(tenant, body),
            is_signed=True,
        )

    def event(self, asked: Asked) -> tuple[int, Body]:
        tenant, body = _asked_body(asked, validation.event_request)
        applied: list[tuple[int, str]] = []

        def apply(books: StoredBooks, now_ms: int) -> Body:
            applied.append((now_ms, new_row_id(now_ms)))
            return events.event(books, tenant, body, now_ms=now_ms, new_id=applied[-1][1])

        answer = self._decided(asked, "event", body, apply, lambda: touched.by_event(tenant, body))
        now_ms, event_id = applied[-1]
        if answer["event_id"] == event_id:  # else it was applied before
            self.charges.recorded(tenant, body, answer, now_ms)
        return 201, answer

    def commit(self, asked: Asked) -> tuple[int, Body]:
        live: list[tuple[Hold, int]] = []

        def commit(books: StoredBooks, hold: Hold, body: Body, *, now_ms: int) -> Body:
            if hold.status == "ACTIVE":  # else it was committed before, or is refused
                live.append((hold, now_ms))
            return settlements.commit(books, hold, body, now_ms=now_ms)

        status, answer = self._settled(asked, validation.commit_request, commit, "commit")
        for hold, now_ms in live[-1:]:
            self.charges.committed(hold, answer, now_ms)
        return status, answer

    def release(self, asked: Asked) -> tuple[int, Body]:
        return self._settled(asked, validation.release_request, settlements.release, "release")

    def extend(self, asked: Asked) -> tuple[int, Body]:
        return self._settled(asked, validation.extend_request, leases.extend)

    def _settled(
        self, asked: Asked, check: validation.Check, operation: Callable[..., Body], artifact: str | None = None
    ) -> tuple[int, Body]:
        body = validation.checked_body(asked.request, check)
        reservation_id = _reservation_id(asked)
        validation.same_key(asked.request, body)

        def settle(books: StoredBooks, now_ms: int) -> Body:
            return operation(books, reservations.find(books, asked.tenant, reservation_id), body, now_ms=now_ms)

        def touches() -> Touched:
            if operation is leases.extend:
                return touched.by_extend(asked.tenant, reservation_id, body)
            return touched.by_settlement(reservation_id)

        if self.signing is None or artifact is None:
            return 200, self._write(asked, settle, touches)
        request = facts_of(body, tenant=asked.tenant, reservation_id=reservation_id)
        source = f"{artifact}:{reservation_id}"
        signed = self.signing.signing(artifact, asked, source, request, settle)
        return 200, self._write(asked, signed, touches)

    def reservation(self, asked: Asked) -> tuple[int, Body]:
        reservation_id = _reservation_id(asked)
        with self.transactions.reading() as books:
            hold = reservations.find(books, asked.tenant, reservation_id)
            if hold.status == "EXPIRED":
                raise reservations.expired(hold)
            body = hold_body(hold, include=_EVERYTHING)
            if self.signing is not None:
                self.signing.add_references(books, asked.request, [body])
        return 200, body

    def reservations(self, asked: Asked) -> tuple[int, Body]:
        parameters = asked.request.parameters()
        tenant = parameters.get("tenant", "") if asked.tenant is None else asked.tenant
        if not tenant:
            message = "tenant query parameter is required when using admin key authentication"
            raise Refusal(400, "INVALID_REQUEST", message)
        _own_tenant(asked.tenant, parameters.get("tenant"))
        with self.transactions.reading() as books:
            # A filter that is there and empty takes nothing, the tenant's too.
            body = lists.reservations(books, parameters.get("tenant", tenant), parameters)
            if self.signing is not None and "evidence" in lists.included(parameters):
                self.signing.add_references(books, asked.request, body["reservations"])
        return 200, body

    def balances(self, asked: Asked) -> tuple[int, Body]:
        assert asked.tenant is not None  # noqa: S101 - types: the administrator has no such route
        parameters = asked.request.parameters()
        _own_tenant(asked.tenant, parameters.get("tenant"))
        with self.transactions.reading() as books:
            return 200, lists.balances(books, asked.tenant, parameters, self.transactions.clock())

    def status(self, asked: Asked) -> tuple[int, Body]:
        with self.transactions.reading() as books:
            now_ms = self.transactions.clock()
            return 200, overview.snapshot(books, self.denials, self.charges, asked.tenant, now_ms)

    def page(self, asked: Asked) -> tuple[int, Body]:  # noqa: ARG002 - a route
        raise Refusal(
            404, "NOT_FOUND", "the page is not here: `cycles serve` answers it, before the authority is asked"
        )

    # -- what needs no key ---------------------------------------------------------------------------------------------
    def page_key(self, asked: Asked) -> tuple[int, Body]:
        """Exchange a link's token for a key of this process, which is in no file and ends with it."""
        tenant = self.links.opened(asked.request.headers.get("x-cycles-link", ""), self.clock())
        if tenant is None:
            message = "this link was opened before, or is older than 10 minutes: give the page an API key"
            raise Refusal(401, "UNAUTHORIZED", message)
        return 200, {"api_key": self.session_keys.key(tenant)}

    def evidence(self, asked: Asked) -> tuple[int, Body]:
        if not _EVIDENCE_ID.fullmatch(asked.segments[-1]):
            raise Refusal(400, "INVALID_REQUEST", "an evidence id is 64 lower-case hex digits")
        self._must_sign()
        with self._store.glancing() as books:
            envelope = books.evidence(asked.segments[-1])
        if envelope is None:
            raise Refusal(404, "NOT_FOUND", "there is no evidence with this id")
        return 200, envelope

    def jwks(self, asked: Asked) -> tuple[int, Body]:  # noqa: ARG002 - a route
        return 200, self._must_sign().keys.public()

    def _must_sign(self) -> Evidence:
        if self.signing is None:
            raise Refusal(404, "NOT_FOUND", "this authority signs no evidence")
        return self.signing

    def health(self, asked: Asked) -> tuple[int, Body]:  # noqa: ARG002 - a route
        with self._store.glancing() as books:
            books.overdue(0, 1)
        return 200, {"status": "UP"}

    def __repr__(self) -> str:
        return f"<App on {self._store!r}>"


_ANSWERS: Final[dict[str, Callable[[App, Asked], tuple[int, Body]]]] = {name: getattr(App, name) for name in OPERATIONS}
"""The method of `App` that answers each operation."""


# -- checks before the ledger ------------------------------------------------------------------------------------------
def _asked_body(asked: Asked, check: validation.Check) -> tuple[str, Body]:
    """Return the tenant and the checked body of a request with a subject."""
    assert asked.tenant is not None  # noqa: S101 - types: the administrator has no such route
    body = validation.checked_body(asked.request, check)
    validation.has_a_level(body["subject"])
    validation.same_key(asked.request, body)
    _own_tenant(asked.tenant, body["subject"].get("tenant"))
    auth.must_own_budgets(asked.tenant)
    return asked.tenant, body


def _reservation_id(asked: Asked) -> str:
    reservation_id = asked.segments[2]
    if len(reservation_id) > 128:
        raise validation.invalid("reservation_id", "must have 1 to 128 characters")
    return reservation_id


def _own_tenant(tenant: str | None, named: str | None) -> None:
    if tenant is not None and named and named != tenant:
        raise Refusal(403, "FORBIDDEN", f"the API key is of the tenant {tenant}, not of {named}")


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
