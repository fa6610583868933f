"""The wire of the authority: `App.handle` turns a request into a response, without sockets (authority.md §4).

Checks come in the order of §1.12: key, route, body, path, subject, header, tenant, and then the ledger.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from cycles.local.admin.http import Admin, is_administration
from cycles.local.ledger import reservations as ledger
from cycles.local.ledger.bodies import hold_body
from cycles.local.ledger.events import Origin
from cycles.local.ledger.values import Refusal
from cycles.local.store import lists
from cycles.local.store.rows import key_hash
from cycles.local.wire import auth, overview, validation
from cycles.local.wire.denials import Denials
from cycles.local.wire.faults import Faults
from cycles.local.wire.messages import Response, encoded, new_id, new_row_id, trace_id_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local.admin.http import Asking
    from cycles.local.store.rows import SqliteBooks
    from cycles.local.store.sqlite import Store
    from cycles.local.wire.faults import Fault, Spoilt
    from cycles.local.wire.history import History
    from cycles.local.wire.messages import Request

Body = dict[str, Any]
T = TypeVar("T")

_log: Final = logging.getLogger("cycles.local")
PURGE_EVERY: Final = 256
"""Mutations between two purges, each of which deletes at most as many rows as were written meanwhile, or nearly."""

_EVIDENCE_ID: Final = re.compile(r"[0-9a-f]{64}")
_EVERYTHING: Final = frozenset({"metadata", "committed_metadata"})


class Asked(NamedTuple):
    """A request on its way through the checks; `tenant` is the key's, None the administrator's."""

    request: Request
    segments: list[str]
    tenant: str | None
    request_id: str
    trace_id: str


class Route(NamedTuple):
    """What a path and method lead to.

    Attributes:
        answer: Gives the status and the body.
        public: Whether no key is needed.
        admin: Whether the administrator's key is accepted.
    """

    answer: Callable[[App, Asked], tuple[int, Body]]
    public: bool = False
    admin: bool = False


class App:
    """The runtime plane of the protocol on a store, and its administration (admin.py).

    Args:
        store: The ledger's rows.
        clock: Gives milliseconds since the epoch; read once for each request.
        admin_key: What X-Admin-API-Key must be; None: there is no administrator over HTTP.
        history: What remembers requests; None: nothing does.
        faults: What a test has go wrong; nothing when None.
        lenient_permissions: Whether a tenant's key may do on the administration's paths whatever a key can be given.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], int],
        admin_key: str | None = None,
        history: History | None = None,
        faults: Faults | None = None,
        lenient_permissions: bool = False,
    ) -> None:
        self.store: Final = store
        self.clock: Final = clock
        self.denials: Final = Denials()
        self.faults: Final = Faults() if faults is None else faults
        self.session_keys: Final[dict[str, str]] = {}  # and whose they are; this process's alone, in no file
        self._history: Final = history
        self._admin_hash: Final = None if not admin_key else key_hash(admin_key)
        self._admin: Final = Admin(store, self._writing, clock, self._admin_hash, lenient=lenient_permissions)
        self._writes = 0

    @property
    def is_memory(self) -> bool:
        """Whether no answer waits for a disk."""
        return self.store.is_memory

    def handle(self, request: Request) -> Response:
        """Answer *request*; whatever goes wrong is an answer too."""
        response = self._handled(request)
        if self._history is not None:
            self._history.add(request, response, self.clock())
        return response

    def fault_of(self, request: Request) -> Fault | None:
        """Return the injected fault that *request* is to suffer, if any: whoever carries it does so."""
        return self.faults.next(operation_of(request)) if self.faults else None

    def handle_badly(self, request: Request, fault: Fault) -> Spoilt:
        """Answer *request*, or not, as *fault* has it."""
        spoilt = fault.spoil(self._handled, request)
        if self._history is not None:
            self._history.add(request, spoilt.response, self.clock(), fault.kind)
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
            status, body = refusal.status, _error_body(refusal, request_id, trace_id)
        except Exception as error:  # noqa: BLE001 - an answer too: transports need not know what can go wrong here
            _log.exception("request %s failed", request_id)
            status, body = 500, _error_body(_internal(error), request_id, trace_id)
        return Response(status, headers, encoded(body))

    def _answered(
        self, request: Request, headers: list[tuple[str, str]], request_id: str, trace_id: str
    ) -> tuple[int, Body]:
        segments = request.segments()
        if is_administration(request.path):
            return self._admin.answered(request, segments, headers, request_id, trace_id)
        routes = _routes_of(request, segments)
        route = None if routes is None else routes.get(request.method)
        tenant = None
        if route is None or not route.public:
            tenant = self._authenticated(request, route)
            if tenant is not None:
                headers.append(("x-cycles-tenant", tenant))
        if routes is None:
            raise Refusal(404, "NOT_FOUND", f"no such path: {request.path}")
        if route is None:
            headers.append(("allow", ", ".join(routes)))
            raise Refusal(405, "INVALID_REQUEST", f"{request.path} takes {' or '.join(routes)}, not {request.method}")
        return route.answer(self, Asked(request, segments, tenant, request_id, trace_id))

    # -- who is asking -------------------------------------------------------------------------------------------------
    def _authenticated(self, request: Request, route: Route | None) -> str | None:
        """Return the key's tenant; None is the administrator."""
        if route is not None and route.admin and auth.is_administrator(request, self._admin_hash):
            return None
        secret = auth.tenant_key(request)
        # Found by its hash, so a guess gains nothing from how long the search takes.
        with self.store.glancing() as books:
            tenant = self.session_keys.get(secret)
            found = books.credential(secret) if tenant is None else books.session(tenant)
        return auth.admitted(found, self.clock, 401).tenant

    # -- operations ----------------------------------------------------------------------------------------------------
    def _writing(self, asked: Asking, operation: Callable[[SqliteBooks, int], T]) -> T:
        """Run *operation* in one transaction, overdue holds expired before it."""
        with self.store.writing() as books:
            if books.notices is not None:
                actor = "admin" if asked.tenant is None else "api_key"
                books.origin = Origin(actor, asked.request_id, asked.trace_id)
            now_ms = self.clock()  # after the writer's lock, so that time never runs backwards between transactions
            ledger.sweep(books, now_ms)
            self._writes += 1
            if self._writes % PURGE_EVERY == 0:
                books.purge(now_ms)
            return operation(books, now_ms)

    def _decided(self, asked: Asked, name: str, body: Body, operation: Callable[[SqliteBooks, int], Body]) -> Body:
        """Run *operation* as `_writing` does, and remember a denial."""
        try:
            answer = self._writing(asked, operation)
        except Refusal as refusal:
            self.denials.refused(name, asked.tenant or "", body, refusal, self.clock())
            raise
        if answer.get("decision") == "DENY":
            self.denials.decided(name, asked.tenant or "", body, answer, self.clock())
        return answer

    def _fresh(self) -> None:
        """Expire what is overdue before a read; seldom writes."""
        with self.store.glancing() as books:
            overdue = books.overdue(self.clock(), 1)
        while overdue:
            with self.store.writing() as books:
                overdue = [] if ledger.sweep(books, self.clock()) < ledger.SWEPT_AT_ONCE else overdue

    def reserve(self, asked: Asked) -> tuple[int, Body]:
        tenant, body = _asked_body(asked, validation.reservation_request)
        return 200, self._decided(
            asked,
            "reserve",
            body,
            lambda books, now: ledger.reserve(books, tenant, body, now_ms=now, new_id=new_row_id(now)),
        )

    def decide(self, asked: Asked) -> tuple[int, Body]:
        tenant, body = _asked_body(asked, validation.decision_request)
        return 200, self._decided(
            asked, "decide", body, lambda books, now: ledger.decide(books, tenant, body, now_ms=now)
        )

    def event(self, asked: Asked) -> tuple[int, Body]:
        tenant, body = _asked_body(asked, validation.event_request)
        return 201, self._decided(
            asked,
            "event",
            body,
            lambda books, now: ledger.event(books, tenant, body, now_ms=now, new_id=new_row_id(now)),
        )

    def commit(self, asked: Asked) -> tuple[int, Body]:
        return self._settled(asked, validation.commit_request, ledger.commit)

    def release(self, asked: Asked) -> tuple[int, Body]:
        return self._settled(asked, validation.release_request, ledger.release)

    def extend(self, asked: Asked) -> tuple[int, Body]:
        return self._settled(asked, validation.extend_request, ledger.extend)

    def _settled(self, asked: Asked, check: validation.Check, operation: Callable[..., Body]) -> tuple[int, Body]:
        body = validation.checked_body(asked.request, check)
        reservation_id = _reservation_id(asked)
        validation.same_key(asked.request, body)
        return 200, self._writing(
            asked,
            lambda books, now: operation(books, ledger.find(books, asked.tenant, reservation_id), body, now_ms=now),
        )

    def reservation(self, asked: Asked) -> tuple[int, Body]:
        reservation_id = _reservation_id(asked)
        self._fresh()
        with self.store.reading() as books:
            hold = ledger.find(books, asked.tenant, reservation_id)
        if hold.status == "EXPIRED":
            raise ledger.expired(hold)
        return 200, hold_body(hold, include=_EVERYTHING)

    def reservations(self, asked: Asked) -> tuple[int, Body]:
        parameters = asked.request.parameters()
        tenant = asked.tenant or parameters.get("tenant", "")
        if not tenant:
            message = "tenant query parameter is required when using admin key authentication"
            raise Refusal(400, "INVALID_REQUEST", message)
        _own_tenant(asked.tenant, parameters.get("tenant"))
        self._fresh()
        with self.store.reading() as books:
            return 200, lists.reservations(books, tenant, parameters)

    def balances(self, asked: Asked) -> tuple[int, Body]:
        assert asked.tenant is not None  # noqa: S101 - types: no route of the administrator's
        parameters = asked.request.parameters()
        _own_tenant(asked.tenant, parameters.get("tenant"))
        self._fresh()
        with self.store.reading() as books:
            return 200, lists.balances(books, asked.tenant, parameters)

    def status(self, asked: Asked) -> tuple[int, Body]:
        self._fresh()
        with self.store.reading() as books:
            return 200, overview.snapshot(books, self.denials, asked.tenant, self.clock())

    def page(self, asked: Asked) -> tuple[int, Body]:  # noqa: ARG002 - a route
        raise Refusal(
            404, "NOT_FOUND", "the page is not here: `cycles serve` answers it, before the authority is asked"
        )

    # -- what needs no key ---------------------------------------------------------------------------------------------
    def evidence(self, asked: Asked) -> tuple[int, Body]:
        if not _EVIDENCE_ID.fullmatch(asked.segments[-1]):
            raise Refusal(400, "INVALID_REQUEST", "an evidence id is 64 lower-case hex digits")
        raise Refusal(404, "NOT_FOUND", "this authority signs no evidence")

    def jwks(self, asked: Asked) -> tuple[int, Body]:  # noqa: ARG002 - a route
        raise Refusal(404, "NOT_FOUND", "this authority signs no evidence")

    def health(self, asked: Asked) -> tuple[int, Body]:  # noqa: ARG002 - a route
        with self.store.glancing() as books:
            books.overdue(0, 1)
        return 200, {"status": "UP"}

    def __repr__(self) -> str:
        return f"<App on {self.store!r}>"


_FIXED: Final[dict[str, dict[str, Route]]] = {
    "/v1/reservations": {"GET": Route(App.reservations, admin=True), "POST": Route(App.reserve)},
    "/v1/decide": {"POST": Route(App.decide)},
    "/v1/events": {"POST": Route(App.event)},
    "/v1/balances": {"GET": Route(App.balances)},
    "/": {"GET": Route(App.page)},
    "/status.json": {"GET": Route(App.status, admin=True)},
    "/v1/.well-known/cycles-jwks.json": {"GET": Route(App.jwks, public=True)},
    **{
        f"/actuator/health{probe}": {"GET": Route(App.health, public=True)} for probe in ("", "/readiness", "/liveness")
    },
}
_RESERVATION: Final = {"GET": Route(App.reservation, admin=True)}
_EVIDENCE: Final = {"GET": Route(App.evidence, public=True)}
_STEPS: Final[dict[str, dict[str, Route]]] = {
    "commit": {"POST": Route(App.commit)},
    "release": {"POST": Route(App.release, admin=True)},
    "extend": {"POST": Route(App.extend)},
}


def _routes(segments: list[str]) -> dict[str, Route] | None:
    match segments:
        case ["v1", "reservations", reservation_id] if reservation_id:
            return _RESERVATION
        case ["v1", "reservations", reservation_id, step] if reservation_id:
            return _STEPS.get(step)
        case ["v1", "evidence", evidence_id] if evidence_id:
            return _EVIDENCE
        case _:
            return None


def _routes_of(request: Request, segments: list[str]) -> dict[str, Route] | None:
    return _FIXED.get(request.path) or _routes(segments)


def operation_of(request: Request) -> str | None:
    """Return the name of what *request* asks for: "reserve", "commit", …; None when no route takes it."""
    route = (_routes_of(request, request.segments()) or {}).get(request.method)
    return None if route is None else route.answer.__name__


def operations() -> set[str]:
    """Return the names of all that can be asked for."""
    tables = [*_FIXED.values(), *_STEPS.values(), _RESERVATION, _EVIDENCE]
    return {route.answer.__name__ for table in tables for route in table.values()}


# -- checks before the ledger ------------------------------------------------------------------------------------------
def _asked_body(asked: Asked, check: validation.Check) -> tuple[str, Body]:
    """Return the tenant and the checked body of a request with a subject."""
    assert asked.tenant is not None  # noqa: S101 - types: no route of the administrator's
    body = validation.checked_body(asked.request, check)
    validation.has_a_level(body["subject"])
    validation.same_key(asked.request, body)
    _own_tenant(asked.tenant, body["subject"].get("tenant"))
    return asked.tenant, body


def _reservation_id(asked: Asked) -> str:
    reservation_id = asked.segments[2]
    if len(reservation_id) > 128:
        raise validation.invalid("reservation_id", "must have 1 to 128 characters")
    return reservation_id


def _own_tenant(tenant: str | None, named: str | None) -> None:
    if tenant is not None and named and named != tenant:
        raise Refusal(403, "FORBIDDEN", f"the API key is of the tenant {tenant}, not of {named}")


def _internal(error: Exception) -> Refusal:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return Refusal(500, "INTERNAL_ERROR", "the ledger is busy: ask again with the same idempotency key")
    return Refusal(500, "INTERNAL_ERROR", f"the authority failed ({type(error).__name__}); its log says more")


def _error_body(refusal: Refusal, request_id: str, trace_id: str) -> Body:
    body: Body = {
        "error": refusal.code,
        "message": refusal.message,
        "request_id": request_id,
        "trace_id": trace_id,
    }
    if refusal.details is not None:
        body["details"] = refusal.details
    return body
