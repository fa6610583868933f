"""Lists of any length, asked for page by page, and the filters that they take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from cycles._core.agreement import is_cursor
from cycles._core.attempts import until_known
from cycles._core.operations import GET_BALANCES, LIST_RESERVATIONS
from cycles._core.outcomes import Verdict, error_of, judge
from cycles._core.requests import LEVELS, checked_level, switch, text
from cycles._core.windows import window
from cycles.errors import InvalidRequest, UnexpectedResponse
from cycles_api import models
from cycles_api.types import Unset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cycles._core.effects import Flow
    from cycles._core.operations import Operation
    from cycles._core.retry import RetryPolicy
    from cycles._core.windows import Window

R = TypeVar("R")

_MOST_EMPTY: Final = 1000
"""Pages without a row, one after the other, until a list is given up: an authority that has more must show it."""


class Listing(Generic[R]):
    """One list, asked for page by page, and how far it has come.

    A page that failed can be asked for again. The list ends for certain: when the authority says that there is more,
    but not where, or names a page that was read already, an UnexpectedResponse ends it.

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
            AuthorityError, AuthorityUnavailable: when there is no page to read; the next call asks for it again.
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
        following = None if isinstance(page.next_cursor, Unset) else page.next_cursor or None
        if not (following is not None if isinstance(page.has_more, Unset) else page.has_more):
            self.ended = True
            return
        # The rows of this page are good; only the next page can't be found.
        if following is None:
            self._fault = "the authority says that there is more, but gives no next_cursor"
        elif following in self._seen:
            self._fault = "the authority gave the same next_cursor twice, which would never end"
        elif not is_cursor(following):
            self._fault = "the authority gave a next_cursor that can't be sent back"
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
        filters["include_children"] = switch("include_children", include_children)
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
    return {level: checked_level(level, value) for level, value in levels.items() if value is not None}


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
