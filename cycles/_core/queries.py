"""What a client asks beside reservations: decide, record, one reservation, and lists of any length.

Nothing here holds anything; `record` charges. Each request is sent again under its key, or is a GET, until its answer
is known or the policy says stop; then what went wrong is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from cycles._core.effects import (
    DECIDE,
    GET_BALANCES,
    GET_RESERVATION,
    LIST_RESERVATIONS,
    NewKey,
    Notify,
)
from cycles._core.flows import until_known
from cycles._core.outcomes import Verdict, error_of, judge
from cycles._core.records import Pending
from cycles._core.requests import LEVELS, text
from cycles._core.response_info import ResponseInfo
from cycles._core.settlements import pending_error, settle
from cycles._core.windows import window
from cycles.errors import BudgetNotFound, Denied, InvalidRequest, UnexpectedResponse
from cycles_api import models
from cycles_api.types import UNSET, Unset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cycles._core.effects import Flow, Operation
    from cycles._core.outcomes import Answer
    from cycles._core.records import Settlement
    from cycles._core.requests import Terms
    from cycles._core.retry import RetryPolicy
    from cycles._core.windows import Window

R = TypeVar("R")

_MOST_EMPTY: Final = 1000
"""Pages without a row, one after the other, until a list is given up: an authority that has more must show it."""


# -- decide ------------------------------------------------------------------------------------------------------------
class Decision:
    """What the authority would say to a reservation; nothing is held. It is true when, and only when, it allows.

    Attributes:
        allowed: Whether the decision is ALLOW or ALLOW_WITH_CAPS; one of a newer authority is not (protocol.md §3).
        decision: ALLOW, ALLOW_WITH_CAPS, DENY, or what a newer authority says.
        reason_code: Why not, such as "BUDGET_EXCEEDED", or None; reasons unknown to this client are kept.
        caps: What a grant would be limited to, or None (protocol.md §6).
        retry_after: Seconds after which asking again may help, or None.
        affected_scopes: The scope paths of the subject, widest first.
        info: What the headers of the answer said.
    """

    __slots__ = ("affected_scopes", "allowed", "caps", "decision", "info", "reason_code", "retry_after")

    def __init__(
        self,
        decision: models.DecisionEnum,
        info: ResponseInfo,
        *,
        reason_code: str | None = None,
        caps: models.Caps | None = None,
        retry_after: float | None = None,
        affected_scopes: tuple[str, ...] = (),
    ) -> None:
        self.allowed: Final = decision in (models.DecisionEnum.ALLOW, models.DecisionEnum.ALLOW_WITH_CAPS)
        self.decision: Final = decision
        self.reason_code: Final = reason_code
        self.caps: Final = caps
        self.retry_after: Final = retry_after
        self.affected_scopes: Final = affected_scopes
        self.info: Final = info

    def __bool__(self) -> bool:
        return self.allowed

    def __repr__(self) -> str:
        reason = f" {self.reason_code}" if self.reason_code is not None else ""
        return f"<Decision {self.decision}{reason}>"


def decide(terms: Terms, policy: RetryPolicy, *, key: str | None = None) -> Flow[Decision]:
    """Ask whether *terms* would be granted; a denial is a decision, not an exception.

    Raises:
        AuthorityError, AuthorityUnavailable: when it can't be asked.
    """
    body = models.DecisionRequest(
        idempotency_key=key if key is not None else (yield from NewKey()),
        subject=terms.subject,
        action=terms.action,
        estimate=terms.estimate,
        metadata=UNSET if terms.metadata is None else terms.metadata,
    )
    answer, _ = yield from until_known(DECIDE, {"body": body}, policy)
    decision = _decision(terms, answer)
    yield from Notify("decided", decision=str(decision.decision), reason=decision.reason_code)
    return decision


def _decision(terms: Terms, answer: Answer[models.DecisionResponse]) -> Decision:
    info, response = ResponseInfo(answer.headers), answer.parsed
    if response is not None:
        after = _known(response.retry_after_ms)
        return Decision(
            response.decision,
            info,
            reason_code=_known(response.reason_code),
            caps=_known(response.caps),
            retry_after=None if after is None else after / 1000,
            affected_scopes=tuple(_known(response.affected_scopes) or ()),
        )
    error = error_of(DECIDE, answer, unit=terms.estimate.unit)
    if not isinstance(error, Denied):
        raise error
    # An authority that denies by an error (404: no budget) has denied all the same.
    reason = "BUDGET_NOT_FOUND" if isinstance(error, BudgetNotFound) else error.code
    return Decision(models.DecisionEnum.DENY, info, reason_code=reason, retry_after=error.retry_after)


def _known(value: R | Unset) -> R | None:
    return None if isinstance(value, Unset) else value


# -- record ------------------------------------------------------------------------------------------------------------
def record(
    terms: Terms, metrics: models.StandardMetrics | None, policy: RetryPolicy, *, key: str | None = None
) -> Flow[Settlement]:
    """Charge what *terms* hold without a reservation (protocol.md §2, createEvent).

    Raises:
        SettlementPending: when it is not known to be charged; the journal holds it.
        Denied, AuthorityError: when the authority refuses, or, without a journal, still fails at the last attempt.
        AuthorityUnavailable: when no answer came, and no journal holds it; the charge may have been made.
    """
    pending = Pending(
        reservation_id=None,
        terms=terms,
        actual=terms.estimate,
        key=key if key is not None else (yield from NewKey()),
        metrics=metrics,
        metadata=terms.metadata,
        by_event=True,
    )
    settlement = yield from settle(pending, policy)
    error = settlement.error
    if error is not None:
        if settlement.is_kept:
            raise pending_error(settlement) from error
        if error.status is None or not 400 <= error.status < 500:
            # A new key would be a new charge; programs that must know pass a key of their own.
            error.add_note(f"it may be charged already: record it again with idempotency_key={pending.key!r}")
        raise error
    taken = settlement.charged
    yield from Notify(
        "recorded",
        charged=None if taken is None else taken.amount,
        unit=str(terms.estimate.unit),
        attempts=settlement.attempts,
    )
    return settlement


# -- one reservation ---------------------------------------------------------------------------------------------------
def reservation(reservation_id: str, policy: RetryPolicy) -> Flow[models.ReservationDetail]:
    """Return what the authority keeps about a reservation.

    Raises:
        ReservationExpired: when it has expired (410).
        NotFound: when there is none (404).
        AuthorityError, AuthorityUnavailable: when it can't be asked.
    """
    answer, _ = yield from until_known(GET_RESERVATION, {"reservation_id": reservation_id}, policy)
    if answer.parsed is None:
        raise error_of(GET_RESERVATION, answer)
    return answer.parsed


# -- lists -------------------------------------------------------------------------------------------------------------
class Listing(Generic[R]):
    """One list, asked for page by page, and where it stands.

    A page that fails can be asked for again. It ends for certain: an authority that says there is more, but not where
    or where we have been, is an UnexpectedResponse.

    Attributes:
        ended: Whether there are no more pages.
    """

    def __init__(self, operation: Operation[Any], rows: str, filters: Mapping[str, Any]) -> None:
        self._operation: Final = operation
        self._rows: Final = rows
        self._filters: Final = filters
        self._cursor: str | None = None
        self._seen: Final[set[str]] = set()
        self._empty = 0
        self._fault: str | None = None
        self.ended = False

    def page(self, policy: RetryPolicy) -> Flow[list[R]]:
        """Return the rows of the next page, which may be none.

        Raises:
            AuthorityError, AuthorityUnavailable: when it can't be had; asking again asks for the same page.
        """
        if self._fault is not None:
            raise UnexpectedResponse(f"{self._operation.name}: {self._fault}; the list is cut off here")
        arguments = dict(self._filters) if self._cursor is None else {**self._filters, "cursor": self._cursor}
        answer, _ = yield from until_known(self._operation, arguments, policy)
        if judge(self._operation, answer) is not Verdict.DONE or answer.parsed is None:
            raise error_of(self._operation, answer)
        rows: list[R] = getattr(answer.parsed, self._rows)
        self._empty = 0 if rows else self._empty + 1
        self._move(answer.parsed)
        return rows

    def _move(self, page: models.BalanceResponse | models.ReservationListResponse) -> None:
        following = _known(page.next_cursor) or None
        if not (following is not None if isinstance(page.has_more, Unset) else page.has_more):
            self.ended = True
            return
        # The rows of this page are good; only going on is not.
        if following is None:
            self._fault = "the authority says that there is more, but gives no next_cursor"
        elif following in self._seen:
            self._fault = "the authority gave the same next_cursor twice, which would never end"
        elif self._empty >= _MOST_EMPTY:
            self._fault = f"{_MOST_EMPTY} pages in a row were empty"
        else:
            self._seen.add(following)
            self._cursor = following


def balances(
    levels: Mapping[str, str | None], *, include_children: bool | None = None, page_size: int | None = None
) -> Listing[models.Balance]:
    """Return the list of the budgets under a subject.

    Raises:
        InvalidRequest: naming the field, the value and the remedy.
    """
    filters = _levels(levels)
    if not filters:
        raise InvalidRequest(f"balances: give one of {', '.join(LEVELS)}, or set CYCLES_TENANT")
    if include_children is not None:
        if not isinstance(include_children, bool):
            raise InvalidRequest(f"include_children={include_children!r}: give True or False")
        filters["include_children"] = include_children
    return Listing(GET_BALANCES, "balances", filters | _sized(page_size))


def reservations(
    levels: Mapping[str, str | None],
    now: datetime,
    *,
    status: models.ReservationStatus | str | None = None,
    idempotency_key: str | None = None,
    created: Window | None = None,
    expires: Window | None = None,
    finalized: Window | None = None,
    sort_by: models.ReservationSortField | str | None = None,
    sort_dir: models.SortDirection | str | None = None,
    include: Sequence[str] | None = None,
    page_size: int | None = None,
) -> Listing[models.ReservationSummary]:
    """Return the list of the reservations that all filters admit; timedeltas count from *now*, once for all pages.

    Raises:
        InvalidRequest: naming the field, the value and the remedy.
    """
    filters = _levels(levels)
    if status is not None:
        filters["status"] = _chosen("status", status, models.ReservationStatus)
    if idempotency_key is not None:
        filters["idempotency_key"] = text("idempotency_key", idempotency_key, most=256)
    windows = (
        ("", window("created", created, now)),
        ("expires_", window("expires", expires, now, ahead=True)),
        ("finalized_", window("finalized", finalized, now)),
    )
    for prefix, (low, high) in windows:
        # The generated functions can't call a parameter `from`.
        ends = {f"{prefix}from" if prefix else "from_": low, f"{prefix}to": high}
        filters |= {name: moment for name, moment in ends.items() if moment is not None}
    if sort_by is not None:
        filters["sort_by"] = _chosen("sort_by", sort_by, models.ReservationSortField)
    if sort_dir is not None:
        filters["sort_dir"] = _chosen("sort_dir", sort_dir, models.SortDirection)
    if include is not None:
        filters["include"] = _parts(include)
    return Listing(LIST_RESERVATIONS, "reservations", filters | _sized(page_size))


def _levels(levels: Mapping[str, str | None]) -> dict[str, Any]:
    return {level: text(level, value, most=128) for level, value in levels.items() if value is not None}


def _chosen(field: str, value: str, known: Any) -> str:
    if value not in list(known):
        raise InvalidRequest(f"{field}={value!r}: choose one of {', '.join(known)}")
    return str(known(value))


def _parts(include: Sequence[str]) -> list[str]:
    if not isinstance(include, list | tuple | set | frozenset) or not all(
        isinstance(part, str) and part and "," not in part for part in include
    ):
        raise InvalidRequest(f'include={include!r}: give a list, such as ["metadata", "committed_metadata"]')
    return list(include)


def _sized(page_size: int | None) -> dict[str, int]:
    if page_size is None:
        return {}
    if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= 200:
        raise InvalidRequest(f"page_size={page_size!r}: give a whole number from 1 to 200")
    return {"limit": page_size}
