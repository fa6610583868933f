"""The routes of the runtime plane: which operation a method and a path ask for, and who may ask.

The names of operations are those of `App`'s methods, of injected faults and of recorded requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from cycles.local.wire.messages import Request


class Route(NamedTuple):
    """Where a path and a method lead.

    Attributes:
        operation: "reserve", "commit", …
        public: Whether no key is needed.
        admin: Whether the administrator's key is accepted.
        writes: Whether it runs in one transaction that writes.
    """

    operation: str
    public: bool = False
    admin: bool = False
    writes: bool = False


_FIXED: Final[dict[str, dict[str, Route]]] = {
    "/v1/reservations": {"GET": Route("reservations", admin=True), "POST": Route("reserve", writes=True)},
    "/v1/decide": {"POST": Route("decide", writes=True)},
    "/v1/events": {"POST": Route("event", writes=True)},
    "/v1/balances": {"GET": Route("balances")},
    "/": {"GET": Route("page")},
    "/status.json": {"GET": Route("status", admin=True)},
    "/key.json": {"POST": Route("page_key", public=True)},
    "/v1/.well-known/cycles-jwks.json": {"GET": Route("jwks", public=True)},
    **{f"/actuator/health{probe}": {"GET": Route("health", public=True)} for probe in ("", "/readiness", "/liveness")},
}
_RESERVATION: Final = {"GET": Route("reservation", admin=True)}
_EVIDENCE: Final = {"GET": Route("evidence", public=True)}
_STEPS: Final[dict[str, dict[str, Route]]] = {
    "commit": {"POST": Route("commit", writes=True)},
    "release": {"POST": Route("release", admin=True, writes=True)},
    "extend": {"POST": Route("extend", writes=True)},
}

OPERATIONS: Final = frozenset(
    route.operation
    for routes in (*_FIXED.values(), *_STEPS.values(), _RESERVATION, _EVIDENCE)
    for route in routes.values()
)
"""All that can be asked for."""


def routes_of(path: str, segments: list[str]) -> dict[str, Route] | None:
    """Return the routes of *path*, whose decoded *segments* are given, by method; None: no such path."""
    return _FIXED.get(path) or _routes_with_id(segments)


def _routes_with_id(segments: list[str]) -> dict[str, Route] | None:
    match segments:
        case ["v1", "reservations", reservation_id] if reservation_id:
            return _RESERVATION
        case ["v1", "reservations", reservation_id, step] if reservation_id:
            return _STEPS.get(step)
        case ["v1", "evidence", evidence_id] if evidence_id:
            return _EVIDENCE
        case _:
            return None


def operation_of(request: Request) -> str | None:
    """Return the operation that *request* asks for; None when no route takes it."""
    route = (routes_of(request.path, request.segments()) or {}).get(request.method)
    return None if route is None else route.operation
