"""What an answer means.

An `Answer` is what one request brought back, transport trouble included. `judge` turns it into one of the few
verdicts that flows act on, and `error_of` into the exception that a person sees. Both are total: every status, every
code and every kind of trouble has a place (docs/protocol.md, Errors).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from cycles._core.denials import deny_detail_in, detail_of, printable
from cycles.amounts import spelled
from cycles.errors import (
    DENIALS,
    ERRORS,
    STATUSES,
    AuthorityError,
    AuthorityUnavailable,
    BudgetNotFound,
    CyclesError,
    Denied,
    InternalError,
    UnexpectedResponse,
)
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cycles._core.operations import Operation
    from cycles_api.models.amount import Amount
    from cycles_api.models.error_response import ErrorResponse

S = TypeVar("S")


class Trouble(Enum):
    """Why a request has no usable answer."""

    NOT_SENT = "not sent"  # refused, unresolved, no connection in time: the authority can't have seen it
    LOST = "lost"  # it may have been seen; its answer never came
    UNREADABLE = "unreadable"  # a 2xx came that does not fit the schema, or is too large
    CONTRADICTORY = "contradictory"  # a 2xx came that does not fit the request (`agreement`)


class Answer(Generic[S]):
    """What one request brought back.

    Attributes:
        status: HTTP status, or None when no answer came.
        parsed: The success model, only with the operation's own success status and a body that fits.
        error: The error body, when there is one that fits.
        headers: Response headers, by lower-case name.
        trouble: None when a complete answer came.
        reason: The trouble in words, without secrets.
        sent_at, received_at: Monotonic seconds around this attempt.
        content: The body as it came, of an operation that keeps it; else None.
    """

    __slots__ = (
        "content",
        "error",
        "headers",
        "parsed",
        "reason",
        "received_at",
        "sent_at",
        "status",
        "trouble",
    )

    def __init__(
        self,
        *,
        status: int | None = None,
        parsed: S | None = None,
        error: ErrorResponse | None = None,
        headers: Mapping[str, str] | None = None,
        trouble: Trouble | None = None,
        reason: str = "",
        sent_at: float = 0.0,
        received_at: float = 0.0,
        content: bytes | None = None,
    ) -> None:
        self.status: Final = status
        self.parsed: Final = parsed
        self.error: Final = error
        self.headers: Final[Mapping[str, str]] = {} if headers is None else headers
        self.trouble: Final = trouble
        self.reason: Final = reason
        self.sent_at: Final = sent_at
        self.received_at: Final = received_at
        self.content: Final = content

    def __repr__(self) -> str:
        code = f" {self.error.error}" if self.error is not None else ""
        trouble = f" {self.trouble.value}: {self.reason}" if self.trouble is not None else ""
        return f"<Answer {self.status}{code}{trouble}>"

    @property
    def code(self) -> str | None:
        """The error code, unknown ones included, or None."""
        return None if self.error is None else str(self.error.error)

    @property
    def retry_after(self) -> float | None:
        """Retry-After in seconds; only whole seconds count, never a date."""
        text = self.headers.get("retry-after", "").strip()
        if not (text.isascii() and text.isdigit()):
            return None
        # The length bound keeps a hostile header from becoming a huge integer.
        return float(text.lstrip("0")[:_MOST_DIGITS] or 0)

    @property
    def is_outage(self) -> bool:
        """Whether this is an outage in spite of its status; see the function of this name."""
        return is_outage(self.status, self.error)


_MOST_DIGITS: Final = 9
"""Digits of a Retry-After that are read: nobody waits for longer."""


def is_outage(status: int | None, error: ErrorResponse | None) -> bool:
    """Return whether this is a 401 that says nothing about the key: a server's answer while its database is away."""
    return (
        status == 401 and error is not None and (str(error.error), error.message) == ("UNAUTHORIZED", "INTERNAL_ERROR")
    )


class Verdict(Enum):
    """What an answer means for the next step of a flow (docs/protocol.md, Settlement and recovery)."""

    DONE = "done"
    AMBIGUOUS = "ambiguous"  # may or may not have happened: same key again
    THROTTLED = "throttled"  # did not happen: same key, later
    EXPIRED = "expired"  # the hold is gone
    REJECTED = "rejected"  # understood and refused: terminal
    UNAUTHORIZED = "unauthorized"  # refused for now: stop in this run
    UNINTELLIGIBLE = "unintelligible"  # nobody has refused anything: report it; spend is sent again, as after a 5xx


CODES: Final[dict[str, int]] = {
    "INVALID_REQUEST": 400,
    "UNIT_MISMATCH": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "BUDGET_EXCEEDED": 409,
    "BUDGET_FROZEN": 409,
    "BUDGET_CLOSED": 409,
    "OVERDRAFT_LIMIT_EXCEEDED": 409,
    "DEBT_OUTSTANDING": 409,
    "TENANT_CLOSED": 409,
    "RESERVATION_FINALIZED": 409,
    "IDEMPOTENCY_MISMATCH": 409,
    "MAX_EXTENSIONS_EXCEEDED": 409,
    "ACTION_QUOTA_EXCEEDED": 409,
    "ACTION_KIND_NOT_ALLOWED": 409,
    "ACTION_KIND_DENIED": 409,
    "RESERVATION_EXPIRED": 410,
    "LIMIT_EXCEEDED": 429,
    "INTERNAL_ERROR": 500,
}
"""The protocol's error codes, and the one status that each comes with (docs/protocol.md, Errors)."""


def judge(operation: Operation[Any], answer: Answer[Any]) -> Verdict:
    """Return what *answer* means for a request of *operation*.

    First match wins:

        no answer, or one that can't be read            AMBIGUOUS
        the operation's success, with its state         DONE
        any other 2xx, any 5xx                          AMBIGUOUS
        401 UNAUTHORIZED with message INTERNAL_ERROR    AMBIGUOUS (the authority's database is away)
        429                                             THROTTLED
        401, 403, unless a known code contradicts it    UNAUTHORIZED
        410 with its code                               EXPIRED
        any other code with its own status              REJECTED
        any other 4xx, and 1xx and 3xx                  UNINTELLIGIBLE
    """
    status, code = answer.status, answer.code
    if status is None or answer.trouble is not None:
        return Verdict.AMBIGUOUS
    if status == operation.success and answer.parsed is not None:
        # The enum is open: a status of a newer authority decodes, but proves nothing.
        said = getattr(answer.parsed, "status", None)
        return Verdict.DONE if operation.state in (None, said) else Verdict.AMBIGUOUS
    if 200 <= status < 300 or status >= 500 or answer.is_outage:
        return Verdict.AMBIGUOUS
    if status == 429:
        return Verdict.THROTTLED
    own = None if code is None else CODES.get(code)
    if status in (401, 403) and own in (None, status):
        return Verdict.UNAUTHORIZED
    if own != status:
        return Verdict.UNINTELLIGIBLE
    return Verdict.EXPIRED if status == 410 else Verdict.REJECTED


def error_of(operation: Operation[Any], answer: Answer[Any], *, asked: Amount | None = None) -> CyclesError:
    """Return the exception that tells a person about an *answer* that is not a success.

    Args:
        operation: What was asked.
        answer: What the request brought back.
        asked: The amount that was sent; a denial's message names it when the authority does not.
    """
    if answer.status is None:
        return AuthorityUnavailable(f"no answer from the authority to {operation.name}: {answer.reason}")
    said = _said(answer)
    if answer.is_outage:
        return AuthorityUnavailable(
            f"{operation.name}: the authority can't reach its own database: a 401 whose message is INTERNAL_ERROR says "
            "nothing about the key; ask its operator, or try again later",
            **said,
        )
    kind = _kind(operation, answer)
    message = _message(operation, answer, kind)
    if issubclass(kind, BudgetNotFound) and asked is not None:
        message += f"; the unit sent was {asked.unit}"
    elif issubclass(kind, Denied) and asked is not None and "requested" not in said["details"]:
        message = f"asked for {spelled(asked.unit, asked.amount)}: {message}"
    if issubclass(kind, Denied):
        scope = said["details"].get("scope")
        detail = detail_of(deny_detail_in(said["details"]))
        return kind(message, scope=scope if isinstance(scope, str) else None, detail=detail, **said)
    return kind(message, **said)


def _kind(operation: Operation[Any], answer: Answer[Any]) -> type[AuthorityError | Denied]:
    status, code = answer.status, answer.code
    assert status is not None  # noqa: S101 - error_of has dealt with it; tells the type checker
    if answer.trouble is not None or answer.error is None or status < 400:
        if status >= 500:
            return InternalError
        return STATUSES.get(status, UnexpectedResponse) if answer.trouble is None else UnexpectedResponse
    if code in DENIALS:
        return DENIALS[code]
    if code == "NOT_FOUND" and operation.name in _ASKS_FOR_BUDGET:
        return BudgetNotFound
    if code in ERRORS:
        return ERRORS[code]
    if status == 409 and operation.name in _ASKS_FOR_BUDGET:
        return Denied  # a reason this client does not know yet is still a denial
    return STATUSES.get(status, InternalError if status >= 500 else AuthorityError)


_ASKS_FOR_BUDGET: Final = frozenset({"create_reservation", "decide", "create_event"})


def _message(operation: Operation[Any], answer: Answer[Any], kind: type[CyclesError]) -> str:
    if answer.trouble is Trouble.CONTRADICTORY:
        return f"the answer to {operation.name} contradicts the request: {answer.reason}"
    if answer.trouble is not None:
        return f"the answer to {operation.name} can't be read: {answer.reason}"
    if answer.error is not None:
        return printable(str(answer.error.message))
    told = f"the answer to {operation.name} is not of the protocol"
    return told if kind is UnexpectedResponse else f"{told}: `cycles doctor` says what answers there"


def _said(answer: Answer[Any]) -> dict[str, Any]:
    error, headers = answer.error, answer.headers
    said: dict[str, Any] = {
        "status": answer.status,
        "code": answer.code,
        "request_id": headers.get("x-request-id"),
        "trace_id": headers.get("x-cycles-trace-id"),
        "details": {},
        "retry_after": answer.retry_after,
        "evidence": None,
    }
    if error is not None:
        said["request_id"] = error.request_id
        if not isinstance(error.trace_id, Unset):
            said["trace_id"] = error.trace_id
        if not isinstance(error.details, Unset):
            said["details"] = dict(error.to_dict()["details"])
        if not isinstance(error.cycles_evidence, Unset):
            said["evidence"] = error.cycles_evidence.to_dict()
    return said
