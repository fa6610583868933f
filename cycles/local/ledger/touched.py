"""Which rows an operation reads and writes, as far as its request says so.

A store that locks rows, not the whole ledger, reads and locks them all at once, before the operation begins. An
operation that touches a row which is not named here is no less right: the store then runs it alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from cycles.local.ledger.estimates import holds_nothing
from cycles.local.ledger.scopes import scopes_of

Body = dict[str, Any]


class Touched(NamedTuple):
    """The rows of one operation.

    Attributes:
        tenant: The tenant whose settings count; None: that of the reservation.
        replay: Scope and key of the replay that answers the same request again.
        scopes, unit: The budgets along a subject; those of a reservation are its own.
        reservation_id: The reservation that changes.
        moves_money: Whether budgets change, and not only are read.
        key_hash: The hash of the API key that the operation confirms first; None: it confirms none.
    """

    tenant: str | None = None
    replay: tuple[str, str] | None = None
    scopes: tuple[str, ...] = ()
    unit: str = ""
    reservation_id: str | None = None
    moves_money: bool = True
    key_hash: str | None = None


NOTHING = Touched()
"""An operation that adds a row of its own, and reads none."""


def by_reserve(tenant: str, body: Body) -> Touched:
    """Return what a reserve touches; a dry run changes no budget."""
    return _along("reserve", tenant, body, body["estimate"]["unit"], moves_money=not holds_nothing(body))


def by_decide(tenant: str, body: Body) -> Touched:
    """Return what a decide touches."""
    return _along("decide", tenant, body, body["estimate"]["unit"], moves_money=False)


def by_event(tenant: str, body: Body) -> Touched:
    """Return what an event touches."""
    return _along("event", tenant, body, body["actual"]["unit"], moves_money=True)


def _along(what: str, tenant: str, body: Body, unit: str, *, moves_money: bool) -> Touched:
    replay = (f"{what}:{tenant}", body["idempotency_key"])
    return Touched(tenant, replay, scopes_of(body["subject"]), unit, moves_money=moves_money)


def by_settlement(reservation_id: str) -> Touched:
    """Return what a commit or a release touches."""
    return Touched(reservation_id=reservation_id)


def by_extend(tenant: str | None, reservation_id: str, body: Body) -> Touched:
    """Return what an extend touches; the administrator's (*tenant* None) finds its replay by a look of its own."""
    replay = None if tenant is None else (f"extend:{tenant}:{reservation_id}", body["idempotency_key"])
    return Touched(reservation_id=reservation_id, replay=replay, moves_money=False)
