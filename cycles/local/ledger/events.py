"""The protocol's event: spend that is charged without a reservation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cycles.local.ledger import notices
from cycles.local.ledger.bodies import amount_body, balance_body
from cycles.local.ledger.charging import put_all, spend
from cycles.local.ledger.encoding import Answer
from cycles.local.ledger.idempotency import EVENT_KEPT_MS, digest_of, replayed_body
from cycles.local.ledger.reservations import open_tenant
from cycles.local.ledger.scopes import budgets_on, event_gate, scopes_of
from cycles.local.ledger.values import ChargedEvent, Replay, changed

if TYPE_CHECKING:
    from cycles.local.ledger.books import Books

Body = dict[str, Any]

_NOTES: Final = ("metrics", "client_time_ms", "metadata")


def event(books: Books, tenant: str, body: Body, *, now_ms: int, new_id: str) -> Body:
    """Charge the actual amount; unlike a reserve, an event passes budgets that are over their limit or in debt."""
    scope, key, digest = f"event:{tenant}", body["idempotency_key"], digest_of(body)
    replayed = replayed_body(books, scope, key, digest, now_ms)
    if replayed is not None:
        return replayed
    settings = open_tenant(books, tenant)
    unit, actual = body["actual"]["unit"], body["actual"]["amount"]
    policy = body.get("overage_policy", settings.overage_policy)
    affected = tuple(scopes_of(body["subject"]))
    budgets = budgets_on(books, settings, affected, unit, event_gate(actual, policy), now_ms=now_ms)
    charged, after = spend(budgets, actual, policy)
    after = [changed(row, updated_at_ms=now_ms) for row in after]
    put_all(books, after)
    less = {"charged": amount_body(unit, charged)} if charged < actual else {}
    answer = Answer(status="APPLIED", event_id=new_id, **less, balances=[balance_body(row) for row in after])
    books.put_replay(scope, key, Replay(now_ms + EVENT_KEPT_MS, digest, answer))
    books.put_event(
        ChargedEvent(
            event_id=new_id,
            tenant=tenant,
            subject=body["subject"],
            action=body["action"],
            unit=unit,
            actual=actual,
            charged=charged,
            affected=affected,
            idempotency_key=key,
            overage_policy=policy,
            created_at_ms=now_ms,
            **{name: body[name] for name in _NOTES if name in body},
        )
    )
    if books.notices is not None:
        books.notices += notices.moved(tenant, budgets, after, now_ms)
    return answer
