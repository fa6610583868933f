"""The ways in which a request can go wrong, and what each makes of its answer."""

from __future__ import annotations

import json
import uuid
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from cycles.local.wire.messages import Response, encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from cycles.local.wire.messages import Request


class FaultKind(StrEnum):
    """The ways in which a request can go wrong."""

    CONNECT_REFUSED = "connect refused"
    LOST_REQUEST = "lost request"
    LOST_RESPONSE = "lost response"
    ERROR_BEFORE = "5xx before effect"
    ERROR_AFTER = "5xx after effect"
    THROTTLED = "429 with Retry-After"
    THROTTLED_SILENT = "429 without Retry-After"
    MALFORMED = "malformed 2xx"
    DELAYED = "delay"


_REACHES: Final = frozenset({FaultKind.LOST_RESPONSE, FaultKind.ERROR_AFTER, FaultKind.MALFORMED, FaultKind.DELAYED})
_SILENT: Final = frozenset({FaultKind.CONNECT_REFUSED, FaultKind.LOST_REQUEST, FaultKind.LOST_RESPONSE})


class Spoilt(NamedTuple):
    """The outcome of a request with a fault.

    Attributes:
        response: The answer; None when there is none.
        arrives: Whether the answer reaches the client.
    """

    response: Response | None
    arrives: bool


def spoilt(kind: FaultKind, answer: Response | None, handle: Callable[[Request], Response], request: Request) -> Spoilt:
    """Let a fault of this *kind* happen to *request*.

    Args:
        kind: How it goes wrong.
        answer: What it is answered in place of what *handle* returns, if that is not None.
        handle: What would answer it; asked if the request gets there.
        request: The request.
    """
    response = handle(request) if kind in _REACHES else None
    if answer is not None:
        response = _addressed(answer)
    elif kind is FaultKind.MALFORMED and response is not None and response.status < 300:
        response = response._replace(body=response.body[: len(response.body) // 2])
    return Spoilt(response, arrives=kind not in _SILENT)


def failure(status: int, code: str, kind: FaultKind) -> Response:
    """Return the error that a fault of this *kind* answers with."""
    body = {"error": code, "message": f"an injected fault: {kind}"}
    return Response(status, [("content-type", "application/json")], encoded(body))


def _addressed(answer: Response) -> Response:
    """Return *answer* with a request id of its own, as every answer has one."""
    request_id = str(uuid.uuid4())
    body = {**json.loads(answer.body), "request_id": request_id}
    return Response(answer.status, [*answer.headers, ("x-request-id", request_id)], encoded(body))
