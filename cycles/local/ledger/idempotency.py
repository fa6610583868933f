"""Idempotency: a success is kept under its key, and a retry gets the same answer again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from cycles.local.ledger.encoding import canonical
from cycles.local.ledger.values import Refusal

if TYPE_CHECKING:
    from cycles.local.ledger.books import Books
    from cycles.local.ledger.values import Hold

Body = dict[str, Any]

DEFAULT_GRACE_MS: Final = 5_000
"""The grace of a reserve that names none; a request that states it is the same request."""

DAY_MS: Final = 86_400_000
KEPT_MS: Final = DAY_MS
"""How long the key of a decide, a dry run or a reserve is remembered; a reserve's at least as long as its hold."""

EVENT_KEPT_MS: Final = 7 * DAY_MS
EXTEND_KEPT_MS: Final = 31 * DAY_MS
"""From the new expiry on: longer than the reservation itself is kept."""


def digest_of(body: Body) -> str:
    """Return the hash of a request in canonical form, to which the order of fields and stated defaults don't matter."""
    stated = {"grace_period_ms": DEFAULT_GRACE_MS, "dry_run": False, **body}
    return hashlib.sha256(canonical(stated).encode()).hexdigest()


def replayed_body(books: Books, scope: str, key: str, digest: str, now_ms: int) -> Body | None:
    """Return the original success under *key*, verbatim but for `remaining_ttl_ms`, or None when there is none.

    Raises:
        Refusal: when the key was used with another payload.
    """
    kept = books.replay(scope, key)
    if kept is None or kept.keep_until_ms < now_ms:
        return None
    if kept.payload_hash != digest:
        raise _mismatch(key)
    if "remaining_ttl_ms" not in kept.body:
        return kept.body
    hold = None if kept.reservation_id is None else books.hold(kept.reservation_id)
    live = hold is not None and hold.status == "ACTIVE"
    return kept.body | {"remaining_ttl_ms": max(0, kept.body["expires_at_ms"] - now_ms) if live else 0}


def final_replay(hold: Hold, status: str, body: Body) -> Body | None:
    """Return the original success of the commit or release that ended *hold*, when *body* is that request again.

    Raises:
        Refusal: when it has the same key with another payload.
    """
    if hold.status != status or hold.final_key != body["idempotency_key"]:
        return None
    if hold.final_hash != digest_of(body):
        raise _mismatch(body["idempotency_key"])
    return hold.final_body


def _mismatch(key: str) -> Refusal:
    return Refusal(409, "IDEMPOTENCY_MISMATCH", f"the idempotency key {key!r} was used before, with another payload")
