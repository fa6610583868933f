"""Budgets that begin anew: the row of the present period, and those of earlier ones in which something is still held.

Nothing happens at the boundary itself. The next reader sees the budget as of that moment. The next writer keeps the row
of the period that is over, because reservations made in it are settled there. A period that has begun does not begin a
second time, even when the clock is put back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cycles.local.ledger.periods import KINDS, Period, window
from cycles.local.ledger.values import Budget, Hold, Refusal, changed

if TYPE_CHECKING:
    from cycles.local.ledger.books import Books

NEVER: Final = "none"
"""The period of a budget that does not begin anew (any more)."""

PAST_KEPT_MS: Final = 86_400_000
"""How long the row of a period is kept in which nothing is reserved any more."""


def as_of(row: Budget, now_ms: int) -> Budget:
    """Return *row* as it is at *now_ms*; in a new period nothing is spent, reserved or owed."""
    period = row.period
    if period is None or now_ms < period.ends_ms or row.status == "CLOSED":
        return row
    starts_ms, ends_ms = _window(period.kind, period.zone, now_ms)
    return changed(
        row,
        allocated=period.amount,
        remaining=period.amount,
        reserved=0,
        spent=0,
        debt=0,
        is_over_limit=False,
        updated_at_ms=starts_ms,
        period=period._replace(starts_ms=starts_ms, ends_ms=ends_ms),
        renewals=row.renewals + 1,
    )


def charged_by(books: Books, hold: Hold, scope_path: str, number: int) -> Budget | None:
    """Return the row at *scope_path*, the *number*th scope of *hold*, of the period in which the hold was made."""
    row = books.budget(scope_path, hold.unit)
    if row is None or not row.renewals:
        return row
    made_in = 0 if hold.renewals is None else hold.renewals[number]
    if row.renewals == made_in:
        return row
    return books.past(scope_path, hold.unit, made_in) or row


def made_in(rows: list[Budget]) -> tuple[int, ...] | None:
    """Return what a hold in *rows* notes about their periods; None where none of them ever began anew."""
    found = tuple(row.renewals for row in rows)
    return found if any(found) else None


def put(books: Books, row: Budget) -> None:
    """Write *row*, of whichever period; the row of a period that it ends is kept."""
    if row.period is None and not row.renewals:
        books.put_budget(row)
        return
    before = books.budget(row.scope_path, row.unit)
    if before is not None and before.renewals > row.renewals:
        books.put_past(row)
        return
    if before is not None and before.renewals < row.renewals:
        books.put_past(before)
    books.put_budget(row)


def period_of(row: Budget, kind: str | None, zone: str | None, *, amount: int, now_ms: int) -> Period | None:
    """Return the period of *row* from now on, each with *amount*; None: it does not begin anew.

    Args:
        row: As of *now_ms*.
        kind: See KINDS; NEVER; None keeps the kind that there is.
        zone: None keeps the zone that there is; UTC at first.
        amount: What each period begins with.
        now_ms: The time.

    Raises:
        Refusal: when there is no such kind or zone.
    """
    known = row.period
    if kind == NEVER or (kind is None and zone is None and known is None):
        return None
    if kind is None and known is None:
        raise Refusal(400, "INVALID_REQUEST", f"zone={zone!r}: give a period too: {', '.join(KINDS)}")
    kind = kind or (known.kind if known is not None else NEVER)
    zone = zone or (known.zone if known is not None else "UTC")
    if known is not None and (kind, zone) == (known.kind, known.zone) and known.starts_ms <= now_ms:
        return known._replace(amount=amount)
    return begun(kind, zone, amount, now_ms)


def begun(kind: str, zone: str, amount: int, now_ms: int) -> Period:
    """Return the period that *now_ms* is in.

    Raises:
        Refusal: when there is no such kind or zone.
    """
    if kind not in KINDS:
        raise Refusal(400, "INVALID_REQUEST", f"period={kind!r}: choose one of {', '.join(KINDS)}, {NEVER}")
    try:
        return Period(kind, zone, amount, *_window(kind, zone, now_ms))
    except ValueError:
        message = f"zone={zone!r}: give UTC, or a name of the IANA database such as Europe/Berlin"
        raise Refusal(400, "INVALID_REQUEST", message) from None


def _window(kind: str, zone: str, now_ms: int) -> tuple[int, int]:
    try:
        return window(kind, zone, now_ms)
    except OverflowError:
        message = f"the authority's clock shows {now_ms} ms since 1970, which no calendar knows: set it right"
        raise Refusal(500, "INTERNAL_ERROR", message) from None


def retry_after(row: Budget, wanted: int, now_ms: int) -> dict[str, int]:
    """Return how long it is until a new period has room for *wanted*; nothing where no period of *row* ever has."""
    period = row.period
    if period is None or wanted > period.amount:
        return {}
    return {"retry_after_ms": max(0, period.ends_ms - now_ms)}
