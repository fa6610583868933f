"""The lease of a reservation: extend prolongs it, the sweep ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles.local.ledger import notices
from cycles.local.ledger.bodies import balance_body
from cycles.local.ledger.charging import put_all
from cycles.local.ledger.encoding import Answer
from cycles.local.ledger.idempotency import EXTEND_KEPT_MS, digest_of, replayed_body
from cycles.local.ledger.reservations import budgeted, given_back, must_be_active, must_be_in_time, open_tenant
from cycles.local.ledger.values import Hold, Refusal, Replay, changed

if TYPE_CHECKING:
    from cycles.local.ledger.books import Books

Body = dict[str, Any]

SWEPT_AT_ONCE: Final = 1000
"""Holds that one sweep expires at most."""


def extend(books: Books, hold: Hold, body: Body, *, now_ms: int) -> Body:
    """Prolong the lease from its present expiry on, not from now on."""
    scope, key, digest = f"extend:{hold.tenant}:{hold.reservation_id}", body["idempotency_key"], digest_of(body)
    replayed = replayed_body(books, scope, key, digest, now_ms)
    if replayed is not None:
        return replayed
    open_tenant(books, hold.tenant)
    must_be_active(hold)
    must_be_in_time(hold, hold.expires_at_ms, now_ms)
    if hold.extensions >= hold.max_extensions:
        raise Refusal(
            409, "MAX_EXTENSIONS_EXCEEDED", f"the reservation was extended {hold.extensions} times, which is the most"
        )
    expires = hold.expires_at_ms + body["extend_by_ms"]
    books.put_hold(changed(hold, expires_at_ms=expires, extensions=hold.extensions + 1))
    answer = Answer(
        status="ACTIVE",
        expires_at_ms=expires,
        remaining_ttl_ms=expires - now_ms,
        balances=[balance_body(row) for row in budgeted(books, hold)],
    )
    books.put_replay(scope, key, Replay(expires + EXTEND_KEPT_MS, digest, answer, hold.reservation_id))
    return answer


def sweep(books: Books, now_ms: int, most: int = SWEPT_AT_ONCE) -> int:
    """Expire up to *most* holds whose grace is over, give their estimates back, and return how many."""
    late = books.overdue(now_ms, most)
    for hold in late:
        put_all(books, given_back(books, hold, now_ms))
        books.put_hold(changed(hold, status="EXPIRED"))
        if books.notices is not None:
            books.notices.append(notices.expired(hold, now_ms))
    return len(late)


def release_all(books: Books, tenant_id: str, now_ms: int) -> None:
    """Release every live hold of a tenant that is being closed; no request did it, so no key replays it."""
    for hold in books.live_holds_of(tenant_id):
        put_all(books, given_back(books, hold, now_ms))
        books.put_hold(changed(hold, status="RELEASED", finalized_at_ms=now_ms))
